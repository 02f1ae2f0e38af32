"""fork(2), vfork(2) and clone(2) of programs: kernel/fork.c.

The image's copy_process() makes tasks of its own, and tasks are Python's here. So a child is a task like any
other, for which the image's functions copy what its parent has: dup_mmap(), dup_fd(), copy_creds(). A thread
shares that instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EAGAIN, EINVAL, ENOMEM
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.switch import mm_of
from ukmod.kernel.mm.uaccess import put_user
from ukmod.kernel.pid_namespace import (
    add_numbers,
    level_of,
    namespace_member,
    of_children,
    pid_nr_ns,
    pid_vnr,
    refusal,
    task_active_pid_ns,
)
from ukmod.kernel.sched.core import ERESTARTNOINTR, TASK_KILLABLE, Task
from ukmod.kernel.signal import SIGNAL_UNKILLABLE
from ukmod.kernel.uapi import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_CLEAR_SIGHAND,
    CLONE_DETACHED,
    CLONE_FILES,
    CLONE_FS,
    CLONE_IO,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_PTRACE,
    CLONE_SETTLS,
    CLONE_SIGHAND,
    CLONE_SYSVSEM,
    CLONE_THREAD,
    CLONE_UNTRACED,
    CLONE_VFORK,
    CLONE_VM,
)
from ukmod.kernel.user.context import inherit
from ukmod.kernel.user.exit import count_thread, exit_notify, inherit_subreaper, release_thread
from ukmod.kernel.user.pidfd import PIDFD_THREAD, names_threads, open_pidfd
from ukmod.kernel.user.ptrace import (
    PTRACE_EVENT_VFORK_DONE,
    event_of_clone,
    ptrace_event,
    ptrace_init_task,
)
from ukmod.kernel.x86.entry import UserThread

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_KNOWN: Final = (
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK | CLONE_THREAD | CLONE_SYSVSEM
    | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_DETACHED
    | CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP
    | CLONE_NEWPID | CLONE_NEWTIME
    | CLONE_PTRACE | CLONE_UNTRACED | CLONE_PARENT | CLONE_PIDFD | CLONE_IO | CLONE_CLEAR_SIGHAND
)  # fmt: skip


class _Arguments:
    """A struct kernel_clone_args."""

    def __init__(self, k: Core, address: int) -> None:
        def word(member: str) -> int:
            return k.memory.u64(address + k.types.offset("kernel_clone_args", member))

        self.flags = word("flags")
        self.exit_signal = k.memory.u32(address + k.types.offset("kernel_clone_args", "exit_signal"))
        self.child_tid, self.parent_tid = word("child_tid"), word("parent_tid")
        self.pidfd = word("pidfd")
        self.set_tid, self.set_tid_size = word("set_tid"), word("set_tid_size")
        self.stack = word("stack")
        self.tls = word("tls")

    @property
    def is_sibling(self) -> bool:
        """True if the child's parent is that of the caller."""
        return bool(self.flags & (CLONE_THREAD | CLONE_PARENT))


def _refused(k: Core, image: MappedImage, task: Task, arguments: _Arguments) -> int:
    """copy_process(): a negative errno for flags that do not fit together, or are not known here; or 0."""
    flags = arguments.flags
    needed = {CLONE_THREAD: CLONE_SIGHAND, CLONE_SIGHAND: CLONE_VM}
    of_thread = 0 if names_threads(image) else CLONE_THREAD
    excluded = {
        CLONE_FS: CLONE_NEWNS | CLONE_NEWUSER,
        CLONE_THREAD: CLONE_NEWUSER | CLONE_NEWPID,
        CLONE_PIDFD: CLONE_DETACHED | of_thread,
    }
    if any(flags & one and not flags & other for one, other in needed.items()):
        return -EINVAL
    if any(flags & one and flags & other for one, other in excluded.items()):
        return -EINVAL
    if flags & CLONE_PIDFD and flags & CLONE_PARENT_SETTID and arguments.pidfd == arguments.parent_tid:
        return -EINVAL
    if flags & CLONE_PARENT and k.signals.is_unkillable(task):
        return -EINVAL  # an init must not get siblings
    if flags & CLONE_THREAD and of_children(k, task) != task_active_pid_ns(k, task):
        return -EINVAL
    if flags & (CLONE_THREAD | CLONE_VM) and _leaves_time_namespace(k, task):
        return -EINVAL
    if flags & ~_KNOWN:
        return -EAGAIN
    k.signals.recalc(task)
    return -ERESTARTNOINTR if k.tasks.flags(task) & k.tasks.tif.sigpending else 0


def _leaves_time_namespace(k: Core, task: Task) -> bool:
    """True if the children of a task have another time namespace than its own."""
    nsproxy = k.memory.u64(task.address + k.types.offset("task_struct", "nsproxy"))
    names = ("time_ns", "time_ns_for_children")
    return len({k.memory.u64(nsproxy + k.types.offset("nsproxy", name)) for name in names}) > 1


def _wanted_numbers(k: Core, arguments: _Arguments) -> tuple[int, ...]:
    """The pids that clone3(2) has asked for: the first is that in the deepest namespace."""
    return tuple(
        signed(k.memory.u32(arguments.set_tid + 4 * index), 4) for index in range(arguments.set_tid_size)
    )


def _chosen_pid(k: Core, parent: Task, wanted: Sequence[int], flags: int) -> int:
    """The pid of choice in the initial namespace, the last of all; 0 for any."""
    levels = level_of(k, of_children(k, parent)) + bool(flags & CLONE_NEWPID) + 1
    return wanted[-1] if len(wanted) == levels else 0


def _become_reaper(k: Core, child: Task) -> None:
    """is_child_reaper(): the first task of a pid namespace is its init."""
    namespace = task_active_pid_ns(k, child)
    if pid_nr_ns(k, k.pids.of(child), namespace) != 1:
        return
    k.memory.set_u64(namespace_member(k, namespace, "child_reaper"), child.address)
    signal = k.memory.u64(child.address + k.types.offset("task_struct", "signal"))
    flags = signal + k.types.offset("signal_struct", "flags")
    k.memory.set_u32(flags, k.memory.u32(flags) | SIGNAL_UNKILLABLE)


def clone(k: Core, image: MappedImage, thread: UserThread, address: int) -> int:
    """kernel_clone(), of the current task: the child's pid, or a negative errno."""
    arguments = _Arguments(k, address)
    flags, parent = arguments.flags, k.sched.task()
    if refused := _refused(k, image, parent, arguments):
        return refused
    wanted = _wanted_numbers(k, arguments)
    if refused := refusal(k, image, wanted, begins=bool(flags & CLONE_NEWPID)):
        return refused
    try:
        child = _new_task(k, parent, arguments, _chosen_pid(k, parent, wanted, flags))
    except LimitError as error:
        return -(error.errno or ENOMEM)
    if failure := _equip(k, image, child, arguments, wanted):
        k.sched.wake_new(child)  # to its end
        return failure
    child.thread = UserThread(k, image, child, parent=thread)  # from here on, a signal ends it as a program
    child.leaving.append(partial(exit_notify, k, image, child))
    _set_members(k, parent, child, arguments)
    real_parent = child.parent.thread if child.parent is not None else None
    if not flags & CLONE_THREAD and real_parent is not None:
        real_parent.children.tasks.append(child)
    if flags & CLONE_PARENT_SETTID:
        put_user(k, arguments.parent_tid, pid_vnr(k, child))  # whose result kernel_clone() does not look at
    event = event_of_clone(k, parent, flags, arguments.exit_signal)
    ptrace_init_task(k, image, child, flags, event)
    if not flags & CLONE_THREAD:
        _become_reaper(k, child)
        inherit_subreaper(k, child)
    pid = pid_vnr(k, child)
    _begin(k, image, thread, child, event, waits=bool(flags & CLONE_VFORK))
    return pid


def _new_task(k: Core, parent: Task, arguments: _Arguments, pid: int) -> Task:
    """dup_task_struct(): a task that does not run yet, and has nothing yet. Raises LimitError."""
    is_thread = bool(arguments.flags & CLONE_THREAD)
    child = k.processes.fork(
        k.tasks.comm(parent), lambda: _live(k, arguments), wake=False, pid=pid,
        parent=parent.group.leader.parent if arguments.is_sibling else parent,
        group=parent.group if is_thread else None,
    )  # fmt: skip
    if is_thread:
        count_thread(k, child)
        child.on_exit.insert(0, partial(release_thread, k))
    return child


def _equip(k: Core, image: MappedImage, child: Task, arguments: _Arguments, wanted: Sequence[int]) -> int:
    """Give a child what it inherits, and its parent a pidfd if asked for; 0, or a negative errno."""
    flags = arguments.flags
    try:
        inherit(k, image, child, flags)
    except LimitError as error:
        return -(error.errno or ENOMEM)
    if failure := add_numbers(k, image, child, wanted):
        return failure
    if not flags & CLONE_PIDFD:
        return 0
    return open_pidfd(k, image, child, arguments.pidfd, PIDFD_THREAD if flags & CLONE_THREAD else 0)


def _begin(k: Core, image: MappedImage, thread: UserThread, child: Task, event: int, *, waits: bool) -> None:
    """Have a child run, tell its parent's tracer, and with ``waits`` wait for its execve() or its end."""
    tracer = k.tasks.at(k.memory.u64(k.sched.task().address + k.types.offset("task_struct", "parent")))
    pid, mm = pid_nr_ns(k, k.pids.of(child), task_active_pid_ns(k, tracer)), mm_of(k, child)
    k.sched.wake_new(child)
    if event:
        ptrace_event(k, image, event, pid)
    if not waits:
        return
    left = thread.children.wait_event(lambda: child.exited or mm_of(k, child) != mm, TASK_KILLABLE)
    if left > 0:
        ptrace_event(k, image, PTRACE_EVENT_VFORK_DONE, pid)


def _set_members(k: Core, parent: Task, child: Task, arguments: _Arguments) -> None:
    """Store what belongs into a child's task_struct: arguments, and by whose child it is."""
    if arguments.flags & CLONE_CHILD_CLEARTID:
        at = child.address + k.types.offset("task_struct", "clear_child_tid")
        k.memory.set_u64(at, arguments.child_tid)
    exit_signal, self_exec_id, parent_exec_id = (
        k.types.offset("task_struct", name) for name in ("exit_signal", "self_exec_id", "parent_exec_id")
    )
    number = k.memory.u64(parent.address + (parent_exec_id if arguments.is_sibling else self_exec_id))
    k.memory.set_u64(child.address + parent_exec_id, number)
    if not arguments.flags & CLONE_THREAD:
        leader = parent.group.leader.address
        signal = k.memory.u32(leader + exit_signal) if arguments.is_sibling else arguments.exit_signal
        k.memory.set_u32(child.address + exit_signal, signal)


def _live(k: Core, arguments: _Arguments) -> int:
    """The main function of a child: ret_from_fork(), unless there was no memory for all that it needs."""
    if (thread := k.sched.task().thread) is None:
        return 0
    if arguments.flags & CLONE_SETTLS:
        thread.set_tls(arguments.tls)
    thread.begin_child(arguments.stack)
    if arguments.flags & CLONE_CHILD_SETTID:
        put_user(k, arguments.child_tid, pid_vnr(k, k.sched.task()))  # as in schedule_tail()
    thread.run()
    return 0
