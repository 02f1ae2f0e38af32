"""The numbers of tasks in pid namespaces below the initial one: kernel/pid_namespace.c.

The image makes and frees a namespace, and keeps its table of numbers. A struct pid has a number for each
level, from the initial namespace down to the one in which its task lives. Those below the initial one are
given here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from errno import EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSPC, EPERM
from typing import TYPE_CHECKING, Final

from ukmod.kernel.cred import CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN
from ukmod.kernel.export import export
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.kernel.sched.core import Task
from ukmod.kernel.task import PID_MAX, RESERVED_PIDS
from ukmod.machine.abi import Int, PidT, Ptr
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

MAX_PID_NS_LEVEL: Final = 32
"""include/linux/pid_namespace.h; a forged level is no greater, either."""
PIDNS_ADDING: Final = 1 << 31
"""In ``pid_allocated``: the namespace takes new tasks."""
SIZEOF_UPID: Final = 16


@record
class Number:
    """A struct upid: a number, and the namespace in which it is one."""

    address: int
    value: int
    namespace: int


def namespace_member(k: Core, namespace: int, name: str) -> int:
    """The address of a member of a struct pid_namespace."""
    return namespace + k.types.offset("pid_namespace", name)


def level_of(k: Core, namespace: int) -> int:
    """How many namespaces are above one: 0 for the initial one."""
    level = k.memory.u32(namespace_member(k, namespace, "level")) if namespace else 0
    return min(level, MAX_PID_NS_LEVEL)


def of_children(k: Core, task: Task) -> int:
    """``nsproxy->pid_ns_for_children``: where the next children of a task will live; 0 if it ends."""
    nsproxy = k.memory.u64(task.address + k.types.offset("task_struct", "nsproxy"))
    return k.memory.u64(nsproxy + k.types.offset("nsproxy", "pid_ns_for_children")) if nsproxy else 0


def numbers(k: Core, pid: int) -> Iterator[Number]:
    """The numbers of a struct pid, from the initial namespace down."""
    first = pid + k.types.offset("pid", "numbers")
    level = min(k.memory.u32(pid + k.types.offset("pid", "level")), MAX_PID_NS_LEVEL)
    for at in range(first, first + (level + 1) * SIZEOF_UPID, SIZEOF_UPID):
        yield Number(at, k.memory.u32(at), k.memory.u64(at + 8))


def task_active_pid_ns(k: Core, task: Task) -> int:
    """The namespace in which a task lives; 0 without an image, and for one that is gone."""
    if k.image is None:
        return 0
    pid = k.memory.u64(task.address + k.types.offset("task_struct", "thread_pid"))
    level = k.memory.u32(pid + k.types.offset("pid", "level")) if pid else 0
    if not level:
        return k.image.address("init_pid_ns")
    return list(numbers(k, pid))[-1].namespace


def is_initial(k: Core, namespace: int) -> bool:
    """True for the namespace whose numbers are those of the tasks themselves; it is all there are for 0."""
    return k.image is None or namespace in (0, k.image.address("init_pid_ns"))


@export(gpl=True)
def find_pid_ns(k: Core, number: Int, namespace: Ptr) -> Ptr:
    """``struct pid *find_pid_ns(int nr, struct pid_namespace *ns)``."""
    if k.image is None or is_initial(k, namespace):
        return k.pids.find(number)
    return k.cpu.call(k.image.address("idr_find"), namespace_member(k, namespace, "idr"), number)


@export(gpl=True)
def find_ge_pid(k: Core, number: Int, namespace: Ptr) -> Ptr:
    """``struct pid *find_ge_pid(int nr, struct pid_namespace *ns)``: the first from this number on."""
    if k.image is None or is_initial(k, namespace):
        tasks = [task for task in k.tasks.all() if task.pid >= max(number, 1)]
        return k.pids.of(min(tasks, key=lambda task: task.pid)) if tasks else 0
    least = k.slab.kernel_object(4)
    k.memory.set_u32(least, number)
    tree = namespace_member(k, namespace, "idr")
    found = k.cpu.call(k.image.address("idr_get_next"), tree, least)
    k.slab.kfree(least)
    return found


@export(gpl=True)
def pid_nr_ns(k: Core, pid: Ptr, namespace: Ptr) -> PidT:
    """``pid_t pid_nr_ns(struct pid *pid, struct pid_namespace *ns)``: 0 if it has no number there."""
    if not pid or is_initial(k, namespace):
        return k.pids.number(pid)
    return next((one.value for one in numbers(k, pid) if one.namespace == namespace), 0)


def pid_vnr(k: Core, task: Task) -> int:
    """task_pid_vnr(): the number of a task, as the current one sees it."""
    return pid_nr_ns(k, k.pids.of(task), task_active_pid_ns(k, k.sched.task()))


def child_reaper(k: Core, task: Task) -> Task:
    """The task that gets the children of others that end in a task's namespace: init, if it is not below."""
    namespace = task_active_pid_ns(k, task)
    if is_initial(k, namespace):
        return k.tasks.init
    return k.tasks.at(k.memory.u64(namespace_member(k, namespace, "child_reaper")))


# -- alloc_pid() ------------------------------------------------------------------------------------------


def refusal(k: Core, image: MappedImage, wanted: Sequence[int], *, begins: bool) -> int:
    """Why a child of the current task may not have numbers of choice: a negative errno, or 0.

    They are given from its deepest namespace up. With ``begins``, that is one that does not exist yet.
    """
    left, namespace = list(wanted), of_children(k, k.sched.task())
    if begins and left and left.pop(0) != 1:
        return -EINVAL
    if len(left) > level_of(k, namespace) + 1:
        return -EINVAL
    for number in left:
        if error := _refusal_in(k, image, number, namespace):
            return error
        namespace = k.memory.u64(namespace_member(k, namespace, "parent"))
    return 0


def _refusal_in(k: Core, image: MappedImage, number: int, namespace: int) -> int:
    """Why a new task may not have a number of choice in a namespace."""
    reaper = k.memory.u64(namespace_member(k, namespace, "child_reaper"))
    if not 1 <= number < PID_MAX or (number != 1 and not reaper and not is_initial(k, namespace)):
        return -EINVAL
    user_ns = k.memory.u64(namespace_member(k, namespace, "user_ns"))
    may = (
        k.cpu.call(image.address("ns_capable"), user_ns, capability) & 0xFF
        for capability in (CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN)
    )
    if not any(may):
        return -EPERM
    return -EEXIST if find_pid_ns(k, number, namespace) else 0


def add_numbers(k: Core, image: MappedImage, task: Task, wanted: Sequence[int]) -> int:
    """Give a new task its numbers below the initial namespace; 0, or a negative errno.

    ``wanted`` are those of choice, from the deepest namespace up.
    """
    namespace = deepest = of_children(k, task)
    if is_initial(k, deepest):
        return 0
    pid, depth = k.pids.of(task), level_of(k, deepest)
    k.memory.set_u32(pid + k.types.offset("pid", "level"), depth)
    first = pid + k.types.offset("pid", "numbers")
    for level in range(depth, 0, -1):
        index = depth - level
        number = _allocate(k, image, pid, namespace, wanted[index] if index < len(wanted) else 0)
        at = first + level * SIZEOF_UPID
        k.memory.set_u32(at, max(number, 0))
        k.memory.set_u64(at + 8, namespace if number > 0 else 0)
        if number < 0:
            _give_back(k, image, pid, deepest)
            return number
        namespace = k.memory.u64(namespace_member(k, namespace, "parent"))
    if not k.memory.u32(namespace_member(k, deepest, "pid_allocated")) & PIDNS_ADDING:
        _give_back(k, image, pid, deepest)
        return -ENOMEM
    _count_in(k, pid, deepest)
    return 0


def _allocate(k: Core, image: MappedImage, pid: int, namespace: int, wanted: int) -> int:
    """A number of a struct pid in one namespace, or a negative errno."""
    tree = namespace_member(k, namespace, "idr")
    if not wanted:
        cursor = k.memory.u32(tree + k.types.offset("idr", "idr_next"))
        least = RESERVED_PIDS if cursor > RESERVED_PIDS else 1
        function, first, end, full = "idr_alloc_cyclic", least, PID_MAX, -EAGAIN
    else:
        function, first, end, full = "idr_alloc", wanted, wanted + 1, -EEXIST
    with k.slab.as_kernel():
        number = signed(k.cpu.call(image.address(function), tree, pid, first, end, GFP_KERNEL), 4)
    return full if number == -ENOSPC else number


def _free(k: Core, image: MappedImage, number: Number) -> None:
    """Take a number out of its namespace's table."""
    k.cpu.call(image.address("idr_remove"), namespace_member(k, number.namespace, "idr"), number.value)


def _give_back(k: Core, image: MappedImage, pid: int, deepest: int) -> None:
    """Take a struct pid that could not be made out of all tables: it has a number in no lower namespace."""
    for number in list(numbers(k, pid))[1:]:
        if number.namespace:
            _free(k, image, number)
    k.memory.set_u32(pid + k.types.offset("pid", "level"), 0)
    if k.memory.u32(namespace_member(k, deepest, "pid_allocated")) == PIDNS_ADDING:
        tree = namespace_member(k, deepest, "idr")
        k.memory.set_u32(tree + k.types.offset("idr", "idr_next"), 0)


def _count_in(k: Core, pid: int, deepest: int) -> None:
    """The namespaces have one task more, and the deepest one a user more."""
    for number in list(numbers(k, pid))[1:]:
        at = namespace_member(k, number.namespace, "pid_allocated")
        k.memory.set_u32(at, k.memory.u32(at) + 1)
    users = namespace_member(k, deepest, _users(k))
    k.memory.set_u32(users, k.memory.u32(users) + 1)


def _users(k: Core) -> str:
    """The count of references to a namespace: in its own struct until v5.10."""
    names = ("ns.__ns_ref", "ns.count", "kref")
    return next(name for name in names if k.types.has("pid_namespace", name))


# -- free_pid() -------------------------------------------------------------------------------------------


def remove_numbers(k: Core, image: MappedImage, pid: int) -> None:
    """No task and no group has this struct pid any longer: its numbers are free.

    The init of a namespace, which may wait for the end of all others, is woken for the last one.
    """
    for number in list(numbers(k, pid))[1:]:
        at = namespace_member(k, number.namespace, "pid_allocated")
        left = k.memory.u32(at) - 1 & 0xFFFF_FFFF
        k.memory.set_u32(at, 0 if left == PIDNS_ADDING else left)
        if left in (1, 2):
            k.sched.wake(k.tasks.at(k.memory.u64(namespace_member(k, number.namespace, "child_reaper"))))
        _free(k, image, number)


def put_namespace(k: Core, image: MappedImage, pid: int) -> None:
    """put_pid_ns(), of a struct pid that is about to be freed."""
    if len(lower := list(numbers(k, pid))[1:]):
        k.cpu.call(image.address("put_pid_ns"), lower[-1].namespace)
