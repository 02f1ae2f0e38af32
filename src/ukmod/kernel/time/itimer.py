"""The timer of alarm(2) and setitimer(2), ITIMER_REAL: kernel/time/itimer.c. The calls are the image's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.layout import Layout

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task


def real_timer(k: Core, task: Task) -> int:
    """``&task->signal->real_timer``, a struct hrtimer that all threads of a process share."""
    return _signal_struct(k, task) + Layout(k.types, "signal_struct").real_timer


def rearm(k: Core, task: Task) -> None:
    """posixtimer_rearm_itimer(): a periodic timer runs again once its SIGALRM has been dequeued."""
    if k.image is None:
        return
    timer = real_timer(k, task)
    interval = k.memory.s64(_signal_struct(k, task) + Layout(k.types, "signal_struct").it_real_incr)
    if interval and not k.hrtimers.enqueued(timer):
        k.hrtimers.forward(timer, k.hrtimers.now(timer), interval)
        k.hrtimers.restart(timer, 0)


def _signal_struct(k: Core, task: Task) -> int:
    return k.memory.u64(task.address + Layout(k.types, "task_struct").signal)
