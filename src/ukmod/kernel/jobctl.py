"""Processes that a signal has stopped: the bits of kernel/signal.c and include/linux/sched/jobctl.h.

The image's get_signal() stops a process; here it is continued, and looked at by those that wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.list import list_entries
from ukmod.kernel.pid import PIDTYPE_PGID, PIDTYPE_SID
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, TASK_STOPPED, TASK_TRACED, Task
from ukmod.kernel.signal_numbers import SIGCONT, SIGHUP
from ukmod.kernel.task import INIT_PID

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

JOBCTL_STOP_DEQUEUED: Final = 1 << 16
_STOP_PENDING: Final = 1 << 17
_TRAP_STOP: Final = 1 << 19
_STOP: Final = JOBCTL_STOP_DEQUEUED | _STOP_PENDING | 1 << 18 | 1 << 26
"""The bits of a process that is stopped or about to be, include/linux/sched/jobctl.h."""
_TRAP_NOTIFY: Final = 1 << 20
"""It is to tell its tracer that the stop of its process has begun or ended."""
_LISTENING: Final = 1 << 22
"""Its tracer has called PTRACE_LISTEN: it wants to be told while the task stands still."""
_PTRACE_FROZEN: Final = 1 << 24
"""A request of its tracer is being worked on."""
_TRACED: Final = 1 << 27
"""It is stopped for its tracer."""
PT_SEIZED: Final = 0x10000
"""``task->ptrace``: the tracer uses PTRACE_SEIZE, include/linux/ptrace.h."""
_STOP_STOPPED, _STOP_CONTINUED, _CLD_STOPPED, _CLD_CONTINUED = 0x1, 0x2, 0x10, 0x20
_STOP_MASK: Final = _STOP_STOPPED | _STOP_CONTINUED | _CLD_STOPPED | _CLD_CONTINUED
"""signal_struct.flags, include/linux/sched/signal.h."""


def _jobctl(k: Core, task: Task) -> int:
    """The address of ``task->jobctl``."""
    return task.address + k.types.offset("task_struct", "jobctl")


def set_dequeued(k: Core, task: Task) -> None:
    """A stop signal was taken from the queue: the process is about to stop."""
    at = _jobctl(k, task)
    k.memory.set_u64(at, k.memory.u64(at) | JOBCTL_STOP_DEQUEUED)


def set_trap_stop(k: Core, task: Task) -> None:
    """JOBCTL_TRAP_STOP: a task is to stop for a tracer that uses PTRACE_SEIZE."""
    at = _jobctl(k, task)
    k.memory.set_u64(at, k.memory.u64(at) | _TRAP_STOP)


def is_to_stop(k: Core, task: Task) -> bool:
    """JOBCTL_PENDING_MASK: it is to stop with its process, or for its tracer."""
    return bool(k.memory.u64(_jobctl(k, task)) & (_STOP_PENDING | _TRAP_STOP | _TRAP_NOTIFY))


def clear_stop(k: Core, task: Task) -> None:
    """signal_wake_up_state(): the process is no longer stopped or traced, nor about to be."""
    _clear(k, task, _STOP | _TRACED)


def _clear(k: Core, task: Task, bits: int) -> None:
    at = _jobctl(k, task)
    k.memory.set_u64(at, k.memory.u64(at) & ~bits)


def resume(k: Core, task: Task) -> None:
    """prepare_signal(), of SIGCONT: the process runs again, and will say so to its parent.

    A thread that stands still for its tracer continues to do so; its tracer hears of it after PTRACE_SEIZE.
    """
    for thread in task.group.threads:
        _clear(k, thread, _STOP)
        if is_ptraced(k, thread) and ptrace_bits(k, thread) & PT_SEIZED:
            _trap_notify(k, thread)
        else:
            k.sched.wake(thread, TASK_STOPPED)
    flags, count = _signal(k, task, "flags"), _signal(k, task, "group_stop_count")
    before = k.memory.u32(flags)
    if before & _STOP_STOPPED or k.memory.u32(count):
        why = _CLD_CONTINUED if before & _STOP_STOPPED else _CLD_STOPPED
        k.memory.set_u32(flags, before & ~_STOP_MASK | why | _STOP_CONTINUED)
        k.memory.set_u32(count, 0)
        k.memory.set_u32(_signal(k, task, "group_exit_code"), 0)


def _trap_notify(k: Core, task: Task) -> None:
    """ptrace_trap_notify(): a task is to stop once more for its tracer, at once if that listens for it."""
    at = _jobctl(k, task)
    bits = k.memory.u64(at) | _TRAP_NOTIFY
    listens = bits & (_LISTENING | _PTRACE_FROZEN) == _LISTENING
    k.memory.set_u64(at, bits & ~_TRACED if listens else bits)
    k.tasks.set_flag(task, k.tasks.tif.sigpending)
    k.sched.wake(task, TASK_INTERRUPTIBLE | (TASK_TRACED if listens else 0))


def is_stopped(k: Core, task: Task) -> bool:
    """SIGNAL_STOP_STOPPED."""
    return bool(k.memory.u32(_signal(k, task, "flags")) & _STOP_STOPPED)


def stopped_by(k: Core, task: Task, *, take: bool) -> int:
    """wait_task_stopped(): the signal that has stopped it, once if it is to be taken; or 0."""
    at = _signal(k, task, "group_exit_code")
    signal = k.memory.u32(at) if is_stopped(k, task) else 0
    if signal and take:
        k.memory.set_u32(at, 0)
    return signal


def is_ptraced(k: Core, task: Task) -> bool:
    """``task->ptrace``: true if another process traces it by ptrace(2)."""
    return k.types.has("task_struct", "ptrace") and bool(ptrace_bits(k, task))


def ptrace_bits(k: Core, task: Task) -> int:
    """``task->ptrace``: PT_SEIZED and the options of its tracer; 0 if there is none."""
    return k.memory.u32(task.address + k.types.offset("task_struct", "ptrace"))


def trapped_by(k: Core, task: Task, *, take: bool) -> int:
    """wait_task_stopped(), of a traced process: the signal and event that it stands at, once; or 0."""
    at = task.address + k.types.offset("task_struct", "exit_code")
    code = k.memory.u32(at) if k.tasks.state(task) & TASK_TRACED else 0
    if code and take:
        k.memory.set_u32(at, 0)
    return code


def tracees(k: Core, tracer: Task) -> list[Task]:
    """``task->ptraced``: the processes that it traces."""
    return on_ptrace_list(k, tracer.address + k.types.offset("task_struct", "ptraced"))


def on_ptrace_list(k: Core, head: int) -> list[Task]:
    """The tasks on a list by their ``ptrace_entry``."""
    entry = k.types.offset("task_struct", "ptrace_entry")
    return [k.tasks.at(at - entry) for at in list_entries(k.memory, head)]


def tracer_of(k: Core, task: Task) -> Task:
    """``task->parent``: the tracer of a task, or its parent."""
    return k.tasks.at(k.memory.u64(task.address + k.types.offset("task_struct", "parent")))


def other_tracer(k: Core, task: Task) -> Task | None:
    """ptrace_reparented(): the tracer of a task, unless that is its parent; None if there is none."""
    if not is_ptraced(k, task):
        return None
    parent = k.tasks.at(k.memory.u64(task.address + k.types.offset("task_struct", "real_parent")))
    found = tracer_of(k, task)
    return found if found.group is not parent.group else None


def was_continued(k: Core, task: Task, *, take: bool) -> bool:
    """wait_task_continued(): true, once if it is to be taken, after SIGCONT."""
    at = _signal(k, task, "flags")
    flags = k.memory.u32(at)
    if flags & _STOP_CONTINUED and take:
        k.memory.set_u32(at, flags & ~_STOP_CONTINUED)
    return bool(flags & _STOP_CONTINUED)


def _signal(k: Core, task: Task, member: str) -> int:
    """The address of a member of a task's signal_struct."""
    signal = k.memory.u64(task.address + k.types.offset("task_struct", "signal"))
    return signal + k.types.offset("signal_struct", member)


def kill_orphaned_pgrp(k: Core, task: Task, parent: Task | None, gone: Task) -> None:
    """End the stopped jobs of a process group that nobody of its session can continue, once ``gone`` exits.

    ``task`` is in that group, and its parent is outside of it, as far as that matters.
    """
    if parent is None or not _controls(k, parent, task):
        return
    members = k.pids.members(k.pids.group(task, PIDTYPE_PGID), PIDTYPE_PGID)
    left = [one for one in members if one is not gone and not one.exited]
    if any(one.parent not in (None, gone) and _controls(k, one.parent, one) for one in left):
        return
    if any(is_stopped(k, one) for one in left):
        for signal in (SIGHUP, SIGCONT):
            for one in left:
                k.signals.send(one, signal)


def _controls(k: Core, parent: Task | None, task: Task) -> bool:
    """True if a parent is in another process group of its child's session."""
    if parent is None or parent.pid == INIT_PID:
        return False
    pairs = {
        kind: [k.pids.group(one, kind) for one in (parent, task)] for kind in (PIDTYPE_PGID, PIDTYPE_SID)
    }
    return pairs[PIDTYPE_PGID][0] != pairs[PIDTYPE_PGID][1] and pairs[PIDTYPE_SID][0] == pairs[PIDTYPE_SID][1]
