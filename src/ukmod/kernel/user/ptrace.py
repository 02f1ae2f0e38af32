"""Events of ptrace(2): the children and the end of a tracee, as in include/linux/ptrace.h.

ptrace(2) itself, its stops, and the event of execve(2) are the image's own. Tasks begin and end in Python,
so those events are reported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.jobctl import PT_SEIZED, ptrace_bits, set_trap_stop
from ukmod.kernel.signal import sigmask
from ukmod.kernel.signal_numbers import SIGCHLD, SIGSTOP, SIGTRAP
from ukmod.kernel.uapi import CLONE_PTRACE, CLONE_UNTRACED, CLONE_VFORK

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.sched.core import Task

PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_EVENT_CLONE = 1, 2, 3
PTRACE_EVENT_VFORK_DONE, PTRACE_EVENT_EXIT = 5, 6
"""include/uapi/linux/ptrace.h"""
_PT_OPT_FLAG_SHIFT: Final = 3
"""``task->ptrace``, include/linux/ptrace.h."""


def _is_enabled(k: Core, task: Task, event: int) -> bool:
    """ptrace_event_enabled(): true if the tracer of a task has asked for an event by an option."""
    return bool(ptrace_bits(k, task) >> (_PT_OPT_FLAG_SHIFT + event) & 1)


def ptrace_event(k: Core, image: MappedImage, event: int, message: int) -> None:
    """Have the current task stop for its tracer, if that has asked for the event; returns when it continues.

    The tracer reads ``message`` by PTRACE_GETEVENTMSG.
    """
    task = k.sched.task()
    if _is_enabled(k, task, event):
        # Until v5.17 this was the caller's to store; since then it is an argument.
        k.memory.set_u64(task.address + k.types.offset("task_struct", "ptrace_message"), message)
        k.cpu.call(image.address("ptrace_notify"), event << 8 | SIGTRAP, message)


def event_of_clone(k: Core, parent: Task, flags: int, exit_signal: int) -> int:
    """kernel_clone(): the event that a tracer of ``parent`` has asked for; 0 if it has not."""
    if flags & CLONE_UNTRACED:
        return 0
    event = PTRACE_EVENT_CLONE if exit_signal != SIGCHLD else PTRACE_EVENT_FORK
    if flags & CLONE_VFORK:
        event = PTRACE_EVENT_VFORK
    return event if _is_enabled(k, parent, event) else 0


def ptrace_init_task(k: Core, image: MappedImage, child: Task, flags: int, event: int) -> None:
    """Attach the tracer of the current task to its new child, for an event or CLONE_PTRACE.

    The child begins with a stop.
    """
    parent = k.sched.task()
    if not (event or flags & CLONE_PTRACE) or not ptrace_bits(k, parent):
        return
    k.memory.set_u32(child.address + k.types.offset("task_struct", "ptrace"), ptrace_bits(k, parent))
    tracer, cred = (
        k.memory.u64(parent.address + k.types.offset("task_struct", member))
        for member in ("parent", "ptracer_cred")
    )
    k.cpu.call(image.address("__ptrace_link"), child.address, tracer, cred)
    if ptrace_bits(k, child) & PT_SEIZED:
        set_trap_stop(k, child)
    else:
        k.tasks.set_pending(child, k.tasks.pending(child) | sigmask(SIGSTOP))
    k.tasks.set_flag(child, k.tasks.tif.sigpending)
