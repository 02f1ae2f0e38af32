"""fork(2), vfork(2) and wait4(2) of programs: kernel/fork.c and kernel/exit.c.

The image's copy_process() makes tasks of its own, and tasks are Python's here. So a child is a task like any
other, for which the image's functions copy what its parent has: dup_mmap(), dup_fd(), copy_creds(). A child
that has ended leaves its wait status with its parent. Threads are not made: EAGAIN.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN, ECHILD, EFAULT, EINVAL, ENOMEM, ESRCH
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.coredump import DUMPED
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.mm.switch import mm_of
from ukmod.kernel.pid import PIDTYPE_PGID
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE, TASK_KILLABLE, Task
from ukmod.kernel.user.context import inherit
from ukmod.kernel.x86.entry import UserThread, Zombie
from ukmod.machine.memory import Fault

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

CLONE_VM, CLONE_VFORK, CLONE_SETTLS = 0x100, 0x4000, 0x8_0000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x10_0000, 0x20_0000, 0x100_0000
"""include/uapi/linux/sched.h"""
_EXIT_SIGNAL: Final = 0xFF
_KNOWN: Final = (
    CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID
    | _EXIT_SIGNAL
)  # fmt: skip
WNOHANG: Final = 1
P_ALL, P_PID, P_PGID = 0, 1, 2
"""include/uapi/linux/wait.h"""
CLD_EXITED, CLD_KILLED, CLD_DUMPED = 1, 2, 3
"""si_code of SIGCHLD, include/uapi/asm-generic/siginfo.h."""
_Wanted = Callable[[int, int], bool]
"""Whether a child of this pid and process group is one that its parent waits for."""


class _Arguments:
    """A struct kernel_clone_args."""

    def __init__(self, k: Core, address: int) -> None:
        def word(member: str) -> int:
            return k.memory.u64(address + k.types.offset("kernel_clone_args", member))

        self.flags = word("flags")
        self.child_tid, self.parent_tid = word("child_tid"), word("parent_tid")
        self.stack = word("stack")
        self.tls = word("tls")


def clone(k: Core, image: MappedImage, thread: UserThread, address: int) -> int:
    """kernel_clone(), of the current task: the child's pid, or a negative errno."""
    arguments = _Arguments(k, address)
    flags = arguments.flags
    if flags & ~_KNOWN or bool(flags & CLONE_VM) != bool(flags & CLONE_VFORK):
        return -EAGAIN
    parent = k.sched.task()
    try:
        child = k.processes.fork(k.tasks.comm(parent), lambda: _live(k, arguments), wake=False)
    except LimitError as error:
        return -(error.errno or ENOMEM)
    try:
        inherit(k, image, child, shares_mm=bool(flags & CLONE_VM))
    except LimitError as error:
        k.sched.wake_new(child)  # to its end
        return -(error.errno or ENOMEM)
    thread.children.append(child)
    child.on_exit.insert(0, lambda _: _ended(k, thread, child))  # before the child leaves its group
    child.thread = UserThread(k, image, child, parent=thread)  # from here on, a signal ends it as a program
    if flags & CLONE_CHILD_CLEARTID:
        at = child.address + k.types.offset("task_struct", "clear_child_tid")
        k.memory.set_u64(at, arguments.child_tid)
    if flags & CLONE_PARENT_SETTID:
        with suppress(Fault):  # the result of put_user() in kernel_clone() is not looked at
            k.memory.set_u32(arguments.parent_tid, child.pid)
    k.sched.wake_new(child)
    if flags & CLONE_VFORK:
        mm = mm_of(k, child)
        thread.wait_event(lambda: child.exited or mm_of(k, child) != mm, TASK_KILLABLE)
    return child.pid


def _live(k: Core, arguments: _Arguments) -> int:
    """The main function of a child: ret_from_fork(), unless there was no memory for all that it needs."""
    if (thread := k.sched.task().thread) is None:
        return 0
    if arguments.flags & CLONE_SETTLS:
        thread.set_tls(arguments.tls)
    thread.begin_child(arguments.stack)
    if arguments.flags & CLONE_CHILD_SETTID:
        with suppress(Fault):  # as in schedule_tail()
            k.memory.set_u32(arguments.child_tid, k.sched.task().pid)
    thread.run()
    return 0


def _ended(k: Core, parent: UserThread, child: Task) -> None:
    parent.children.remove(child)
    parent.zombies.append(Zombie(child.pid, _group_of(k, child), child.exit_code))
    parent.wake_all()


def wait4(k: Core, thread: UserThread | None, upid: int, status: int, options: int) -> int:
    """kernel_wait4(), of the current task: the child's pid, 0 with WNOHANG, or a negative errno."""
    if upid == -(1 << 31):
        return -ESRCH
    kind = P_PID if upid > 0 else P_ALL if upid == -1 else P_PGID
    found = _reap(k, thread, _wanted(k, kind, abs(upid)), options)
    if isinstance(found, int):
        return found
    try:
        if status:
            k.memory.set_u32(status, found.wait_status)
    except Fault:
        return -EFAULT
    return found.pid


def waitid(k: Core, thread: UserThread | None, which: int, upid: int, info: int, options: int) -> int:
    """kernel_waitid(), of the current task; ``info`` is a struct waitid_info of the kernel's."""
    lowest = {P_ALL: upid, P_PID: 1, P_PGID: 0}.get(which)
    if lowest is None or upid < lowest:
        return -EINVAL
    found = _reap(k, thread, _wanted(k, which, upid), options)
    if isinstance(found, int):
        return found
    pid, code = found.pid, found.wait_status
    if info:
        signal = code & 0x7F
        cause = CLD_DUMPED if code & DUMPED else CLD_KILLED if signal else CLD_EXITED
        for member, value in (("pid", pid), ("status", signal or code >> 8), ("cause", cause), ("uid", 0)):
            k.memory.set_u32(info + k.types.offset("waitid_info", member), value)
    return pid


def _group_of(k: Core, task: Task) -> int:
    return k.pids.number(k.pids.group(task, PIDTYPE_PGID))


def _wanted(k: Core, kind: int, number: int) -> _Wanted:
    """eligible_pid(), of a child's pid and group: with P_PGID, 0 is the group that the caller is in now."""
    if kind == P_PGID:
        group = number or _group_of(k, k.sched.task())
        return lambda _, pgrp: pgrp == group
    return lambda pid, _: kind == P_ALL or pid == number


def _reap(k: Core, thread: UserThread | None, wanted: _Wanted, options: int) -> Zombie | int:
    """do_wait(): the child that has ended, 0 with WNOHANG, or a negative errno."""

    def found() -> Zombie | None:
        zombies = thread.zombies if thread is not None else []
        return next((zombie for zombie in zombies if wanted(zombie.pid, zombie.pgrp)), None)

    def is_over() -> bool:
        return (
            found() is not None
            or thread is None
            or not any(wanted(one.pid, _group_of(k, one)) for one in thread.children)
        )

    if thread is not None and not options & WNOHANG and thread.wait_event(is_over, TASK_INTERRUPTIBLE) < 0:
        return -ERESTARTSYS
    if (zombie := found()) is not None and thread is not None:
        thread.zombies.remove(zombie)
        return zombie
    return -ECHILD if is_over() else 0
