"""fork(2) and vfork(2) of programs: kernel/fork.c.

The image's copy_process() makes tasks of its own, and tasks are Python's here. So a child is a task like any
other, for which the image's functions copy what its parent has: dup_mmap(), dup_fd(), copy_creds(). Threads
are not made: EAGAIN.
"""

from __future__ import annotations

from errno import EAGAIN, ENOMEM
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.mm.switch import mm_of
from ukmod.kernel.mm.uaccess import put_user
from ukmod.kernel.sched.core import TASK_KILLABLE
from ukmod.kernel.user.context import inherit
from ukmod.kernel.user.wait import abandon_children, exit_notify
from ukmod.kernel.x86.entry import UserThread

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

CLONE_VM, CLONE_VFORK, CLONE_SETTLS = 0x100, 0x4000, 0x8_0000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x10_0000, 0x20_0000, 0x100_0000
"""include/uapi/linux/sched.h"""
_KNOWN: Final = (
    CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID
)  # fmt: skip


class _Arguments:
    """A struct kernel_clone_args."""

    def __init__(self, k: Core, address: int) -> None:
        def word(member: str) -> int:
            return k.memory.u64(address + k.types.offset("kernel_clone_args", member))

        self.flags = word("flags")
        self.exit_signal = k.memory.u32(address + k.types.offset("kernel_clone_args", "exit_signal"))
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
    child.thread = UserThread(k, image, child, parent=thread)  # from here on, a signal ends it as a program
    child.leaving.append(partial(abandon_children, k, child.thread))
    child.leaving.append(partial(exit_notify, k, image, thread, child, arguments.exit_signal))
    if flags & CLONE_CHILD_CLEARTID:
        at = child.address + k.types.offset("task_struct", "clear_child_tid")
        k.memory.set_u64(at, arguments.child_tid)
    if flags & CLONE_PARENT_SETTID:
        put_user(k, arguments.parent_tid, child.pid)  # whose result kernel_clone() does not look at
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
        put_user(k, arguments.child_tid, k.sched.task().pid)  # as in schedule_tail()
    thread.run()
    return 0
