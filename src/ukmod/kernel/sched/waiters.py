"""The wait queues of kernel code written in Python; wait.py has those that modules have in their memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ukmod.kernel.sched.core import (
    ERESTARTSYS,
    MAX_SCHEDULE_TIMEOUT,
    TASK_NORMAL,
    TASK_UNINTERRUPTIBLE,
    TASK_WAKEKILL,
    Task,
    block,
)

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


class Waiters:
    """A wait queue: wait_event() and wake_up_all()."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._tasks: list[Task] = []

    def wait_event(
        self,
        condition: Callable[[], bool],
        state: int = TASK_UNINTERRUPTIBLE,
        timeout: int = MAX_SCHEDULE_TIMEOUT,
    ) -> int:
        """Sleep in ``state`` until ``condition()`` holds.

        Returns the jiffies left of ``timeout`` (at least 1), 0 if it ran out, or -ERESTARTSYS if a signal
        that ``state`` allows came first.
        """
        k = self._k
        while not condition():
            task = k.sched.task()
            if k.tasks.signal_pending_state(state, task):
                return -ERESTARTSYS
            self._tasks.append(task)
            try:
                timeout = block(k, state, timeout)
            finally:
                self._tasks.remove(task)
            if timeout == 0:
                return int(condition())
        return timeout

    def wake_all(self) -> None:
        """Wake all waiters, so that they check their conditions again."""
        for task in self._tasks:
            self._k.sched.wake(task, TASK_NORMAL | TASK_WAKEKILL)
