"""struct pid: kernel/pid.c. The numbers below the initial pid namespace are pid_namespace.py's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.lib.list import hlist_add_head, hlist_del_init, hlist_nodes, init_list_head
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.kernel.pid_namespace import (
    SIZEOF_UPID,
    find_pid_ns,
    level_of,
    of_children,
    pid_nr_ns,
    put_namespace,
    remove_numbers,
    task_active_pid_ns,
)
from ukmod.kernel.sched.core import Task
from ukmod.machine.abi import Int, PidT, Ptr, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_OPAQUE: Final = 128
"""The size of a struct pid in bytes if its layout is unknown, as no loaded module accesses one."""
PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID = range(4)
"""enum pid_type, include/linux/pid.h"""


class Pids:
    """A struct pid for each task, in guest memory and with the kernel's reference counts.

    task_pid() is inlined and reads ``task->thread_pid``. If the layout lacks that, a task gets its struct pid
    when it is first asked for.
    """

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        types = kernel.types
        known = types.has("pid", "count")
        self._size = types.sizeof("pid") if known else _OPAQUE
        self._count = types.offset("pid", "count") if known else 0
        self._level = types.offset("pid", "level") if known else None
        self._numbers = types.offset("pid", "numbers") if known else None
        self._links = types.has("pid", "tasks") and types.has("task_struct", "pid_links")
        self._of_task: dict[Task, int] = {}
        self._tasks: dict[int, Task | None] = {}
        self._numbers_of: dict[int, int] = {}
        self._published: set[Task] = set()
        """The tasks that the image finds by number, too."""
        kernel.tasks.on_create.append(self._attach)

    def _attach(self, task: Task) -> None:
        if self._k.types.has("task_struct", "thread_pid"):
            self.of(task)

    def of(self, task: Task) -> int:
        """The address of a task's struct pid."""
        if (address := self._of_task.get(task)) is not None:
            return address
        k = self._k
        address = k.slab.kernel_object(self._size + self._room(), fenced=False)
        k.memory.set_u32(address + self._count, 1)
        if self._numbers is not None:
            k.memory.set_u32(address + self._numbers, task.pid)
            if k.image is not None:
                k.memory.set_u64(address + self._numbers + 8, k.image.address("init_pid_ns"))
        self._of_task[task], self._tasks[address], self._numbers_of[address] = address, task, task.pid
        if k.types.has("pid", "wait_pidfd"):
            init_list_head(k.memory, address + k.types.offset("pid", "wait_pidfd.head"))
        self._set_thread_pid(task, address)
        self._link(task, address)
        if k.image is None and k.types.has("signal_struct", "pids"):
            for kind in (PIDTYPE_PGID, PIDTYPE_SID):  # an image's init_task has those of the idle task
                k.memory.set_u64(self._group_at(task, kind), self.of(k.idle) if task.parent else address)
        task.on_exit.append(self._detach)
        return address

    def _room(self) -> int:
        """The size of the numbers that follow a new struct pid: one a level, and one to begin a namespace."""
        current = self._k.sched.current
        known = self._k.image is not None and current is not None
        level = level_of(self._k, of_children(self._k, current)) if known and current is not None else 0
        return (level + 2) * SIZEOF_UPID

    def _set_thread_pid(self, task: Task, address: int) -> None:
        if self._k.types.has("task_struct", "thread_pid"):
            self._k.memory.set_u64(task.address + self._k.types.offset("task_struct", "thread_pid"), address)

    def _link(self, task: Task, address: int) -> None:
        """attach_pid(): as the only one of its hlists, for its pid and, as a leader, its thread group."""
        for kind in (PIDTYPE_PID, PIDTYPE_TGID) if self._links else ():
            self._k.memory.set_u64(self._head(address, kind), 0)
            if kind == PIDTYPE_PID or task.group.leader is task:
                hlist_add_head(self._k.memory, self._node(task, kind), self._head(address, kind))

    def _head(self, address: int, kind: int) -> int:
        return address + self._k.types.offset("pid", "tasks") + 8 * kind

    def _node(self, task: Task, kind: int) -> int:
        return task.address + self._k.types.offset("task_struct", "pid_links") + 16 * kind

    def _detach(self, task: Task) -> None:
        """__unhash_process(): the struct pid stays as long as a process group or a session has its number."""
        if task in self._published:
            self._withdraw(task)
        address = self._of_task.pop(task)
        self._set_thread_pid(task, 0)
        for kind in (PIDTYPE_PID, PIDTYPE_TGID) if self._links else ():
            self._k.memory.set_u64(self._head(address, kind), 0)
        self._tasks[address] = None
        for kind in (PIDTYPE_PGID, PIDTYPE_SID):
            if (group := self._leave(task, kind)) not in (0, address):
                self.release(group)
        self.release(address)

    # -- the image's tree of numbers ----------------------------------------------------------------------

    def publish(self, image: MappedImage, task: Task) -> bool:
        """The part of alloc_pid() after which the image's own pidfd_open(2) finds the task; False for ENOMEM.

        Only in a task. All other look-ups are Python's.
        """
        k = self._k
        if task in self._published:
            return True
        number = k.slab.kernel_object(4)
        k.memory.set_u32(number, task.pid)
        tree = self._tree(image)
        with k.slab.as_kernel():
            failed = k.cpu.call(
                image.address("idr_alloc_u32"), tree, self.of(task), number, task.pid, GFP_KERNEL
            )
        k.slab.kfree(number)
        if not failed:
            self._published.add(task)
        return not failed

    def _withdraw(self, task: Task) -> None:
        """The part of free_pid() after which it is no longer found there."""
        self._published.remove(task)
        if (image := self._k.image) is not None:
            self._k.cpu.call(image.address("idr_remove"), self._tree(image), task.pid)

    def begin(self, task: Task) -> None:
        """Have the image find the current task, which begins, as soon as it finds any."""
        if self._published and self._k.image is not None:
            self.publish(self._k.image, task)

    def _tree(self, image: MappedImage) -> int:
        return image.address("init_pid_ns") + self._k.types.offset("pid_namespace", "idr")

    # -- process groups and sessions --------------------------------------------------------------------

    def join(self, task: Task, kind: int, pid: int) -> None:
        """attach_pid(), after detach_pid(): a process becomes a member of a group or a session."""
        self._leave(task, kind)
        self._k.memory.set_u64(self._group_at(task, kind), pid)
        if self._links:
            hlist_add_head(self._k.memory, self._node(task, kind), self._head(pid, kind))

    def _leave(self, task: Task, kind: int) -> int:
        """The struct pid of the group of which the process was a member until now, or 0."""
        if not self._links or not self._k.memory.u64((node := self._node(task, kind)) + 8):
            return 0
        hlist_del_init(self._k.memory, node)
        return self.group(task, kind)

    def _group_at(self, task: Task, kind: int) -> int:
        types = self._k.types
        signal = self._k.memory.u64(task.address + types.offset("task_struct", "signal"))
        return signal + types.offset("signal_struct", "pids") + 8 * kind

    def group(self, task: Task, kind: int) -> int:
        """task_pid_type(): the struct pid of a task's group or session; its own if it is in no other."""
        if kind == PIDTYPE_PID:
            return self.of(task)
        leader = task.group.leader
        if kind == PIDTYPE_TGID or not self._k.types.has("signal_struct", "pids"):
            return self.of(leader)
        return self._k.memory.u64(self._group_at(task, kind)) or self.of(leader)

    def members(self, pid: int, kind: int) -> list[Task]:
        """do_each_pid_task(): the tasks that have this struct pid as theirs, or as their group's."""
        if not pid or not self._links or kind in (PIDTYPE_PID, PIDTYPE_TGID):
            task = self.task(pid)
            is_member = task is not None and (kind == PIDTYPE_PID or task.group.leader is task)
            return [task] if task is not None and is_member else []
        offset = self._k.types.offset("task_struct", "pid_links") + 16 * kind
        nodes = hlist_nodes(self._k.memory, self._head(pid, kind))
        found = [self._k.tasks.at(node - offset) for node in nodes]
        return found or [task for task in self._k.tasks.all() if self._is_of(task, pid, kind)]

    def _is_of(self, task: Task, pid: int, kind: int) -> bool:
        """True for a task that has joined no group, and so is in the idle task's, such as a kernel thread."""
        return task.group.leader is task and self.group(task, kind) == pid

    def exchange(self, left: Task, right: Task) -> None:
        """exchange_tids(): give each of two tasks the struct pid of the other."""
        for task, address in ((left, self.of(right)), (right, self.of(left))):
            self._of_task[task], self._tasks[address] = address, task
            self._set_thread_pid(task, address)
            if self._links:
                self._k.memory.set_u64(self._head(address, PIDTYPE_PID), 0)
                hlist_add_head(
                    self._k.memory, self._node(task, PIDTYPE_PID), self._head(address, PIDTYPE_PID)
                )

    def transfer(self, old: Task, new: Task, kind: int) -> None:
        """transfer_pid(): a task takes the place of another in a group."""
        pid = self.group(old, kind)
        hlist_del_init(self._k.memory, self._node(old, kind))
        hlist_add_head(self._k.memory, self._node(new, kind), self._head(pid, kind))

    def find(self, number: int) -> int:
        """find_vpid(): the struct pid of a task, or of a group whose leader has exited; 0 without one."""
        if (task := self._k.tasks.by_pid(number)) is not None:
            return self.of(task)
        left = (pid for pid, own in self._numbers_of.items() if own == number)
        return next(filter(self._is_named, left), 0)

    def _is_named(self, pid: int) -> bool:
        heads = (self._head(pid, kind) for kind in (PIDTYPE_PGID, PIDTYPE_SID)) if self._links else ()
        return any(self._k.memory.u64(head) for head in heads)

    def release(self, pid: int) -> None:
        """free_pid(): drop a task's own reference once it has exited and no group has its number."""
        if pid in self._tasks and self._tasks[pid] is None and not self._is_named(pid):
            if self._k.image is not None:
                remove_numbers(self._k, self._k.image, pid)
            self.put(pid)

    def task(self, address: int) -> Task | None:
        """The task of a struct pid; None for a null pointer, or if the task has exited."""
        return self._tasks.get(address) if address else None

    def number(self, address: int) -> int:
        """pid_nr()."""
        return self._numbers_of.get(address, 0) if address else 0

    def get(self, address: int) -> int:
        """get_pid()."""
        if address:
            at = address + self._count
            self._k.memory.set_u32(at, self._k.memory.u32(at) + 1)
        return address

    def put(self, address: int) -> None:
        """put_pid(): the last reference frees it."""
        if not address:
            return
        at = address + self._count
        left = self._k.memory.u32(at) - 1
        self._k.memory.set_u32(at, left)
        if left == 0 and self._tasks.pop(address, None) is None:
            del self._numbers_of[address]
            if self._k.image is not None:
                put_namespace(self._k, self._k.image, address)
            self._k.slab.free(address)


@export(gpl=True)
def find_get_pid(k: Core, number: PidT) -> Ptr:
    """``struct pid *find_get_pid(pid_t nr)``: with a reference, or NULL if there is no such process."""
    return k.pids.get(find_vpid(k, number))


@export("find_vpid", gpl=True)
def find_vpid(k: Core, number: Int) -> Ptr:
    """``struct pid *find_vpid(int nr)``."""
    return find_pid_ns(k, number, task_active_pid_ns(k, k.sched.task()))


@export()
def pid_task(k: Core, pid: Ptr, kind: UInt) -> Ptr:
    """``struct task_struct *pid_task(struct pid *pid, enum pid_type type)``: the first of them, or NULL."""
    members = k.pids.members(pid, kind)
    return members[0].address if members else 0


@export(gpl=True)
def get_pid_task(k: Core, pid: Ptr, kind: UInt) -> Ptr:
    """``struct task_struct *get_pid_task(struct pid *pid, enum pid_type type)``: with a reference."""
    members = k.pids.members(pid, kind)
    if not members:
        return 0
    k.tasks.get(members[0])
    return members[0].address


@export(gpl=True)
def get_task_pid(k: Core, task: Ptr, kind: UInt) -> Ptr:
    """``struct pid *get_task_pid(struct task_struct *task, enum pid_type type)``: with a reference."""
    return k.pids.get(k.pids.group(k.tasks.at(task), kind))


@export(gpl=True)
def put_pid(k: Core, pid: Ptr) -> None:
    """void put_pid(struct pid *pid)."""
    k.pids.put(pid)


@export()
def free_pid(k: Core, pid: Ptr) -> None:
    """``void free_pid(struct pid *pid)``: the last member has left a group whose leader has exited."""
    k.pids.release(pid)


@export()
def exchange_tids(k: Core, left: Ptr, right: Ptr) -> None:
    """void exchange_tids(struct task_struct *left, struct task_struct *right): from de_thread()."""
    tasks = k.tasks.at(left), k.tasks.at(right)
    k.pids.exchange(*tasks)
    k.tasks.exchange_pids(*tasks)


@export()
def transfer_pid(k: Core, old: Ptr, new: Ptr, kind: UInt) -> None:
    """void transfer_pid(struct task_struct *old, struct task_struct *new, enum pid_type type)."""
    k.pids.transfer(k.tasks.at(old), k.tasks.at(new), kind)


@export(gpl=True)
def pid_vnr(k: Core, pid: Ptr) -> PidT:
    """pid_t pid_vnr(struct pid *pid)."""
    return pid_nr_ns(k, pid, task_active_pid_ns(k, k.sched.task()))


@export("__task_pid_nr_ns")
def task_pid_nr_ns(k: Core, task: Ptr, kind: UInt, namespace: Ptr) -> PidT:
    """pid_t __task_pid_nr_ns(struct task_struct *task, enum pid_type type, struct pid_namespace *ns)."""
    current = k.sched.task()
    pid = k.pids.group(k.tasks.at(task or current.address), kind)
    return pid_nr_ns(k, pid, namespace or task_active_pid_ns(k, current))
