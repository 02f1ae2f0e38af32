"""Counting semaphores: kernel/locking/semaphore.c. ``sem->count`` is in guest memory, not the waiters."""

from __future__ import annotations

from collections import deque
from errno import EINTR, ETIME
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.sched.core import (
    MAX_SCHEDULE_TIMEOUT,
    TASK_INTERRUPTIBLE,
    TASK_KILLABLE,
    TASK_UNINTERRUPTIBLE,
    Task,
    block,
    cond_resched,
)
from ukmod.machine.abi import Int, Long, Ptr
from ukmod.record import mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@mutable
class SemaphoreWaiter:
    """struct semaphore_waiter."""

    task: Task
    up: bool = False
    """up() has been called for this waiter."""


class Semaphores:
    """The tasks that wait for each struct semaphore."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "semaphore")
        self._waiters: dict[int, deque[SemaphoreWaiter]] = {}

    def try_down(self, sem: int) -> bool:
        """Decrement the count if it is not 0; True if it was decremented."""
        count = self._k.memory.u32(sem + self._layout.count)
        if count:
            self._k.memory.set_u32(sem + self._layout.count, count - 1)
        return count > 0

    def down(self, sem: int, state: int, timeout: int = MAX_SCHEDULE_TIMEOUT) -> int:
        """Decrement the count, sleeping in ``state`` while it is 0. 0, -EINTR, or -ETIME on timeout."""
        cond_resched(self._k)  # might_sleep()
        if self.try_down(sem):
            return 0
        k, waiter = self._k, SemaphoreWaiter(self._k.sched.task())
        waiters = self._waiters.setdefault(sem, deque())
        waiters.append(waiter)
        try:
            while not waiter.up:
                if k.tasks.signal_pending_state(state, waiter.task):
                    return -EINTR
                if timeout <= 0:
                    return -ETIME
                timeout = block(k, state, timeout)
        finally:
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(sem, None)
        return 0

    def up(self, sem: int) -> None:
        """Let the task that has waited longest proceed, or else increment the count."""
        if waiters := self._waiters.get(sem):
            waiter = waiters.popleft()
            waiter.up = True
            self._k.sched.wake(waiter.task)
        else:
            at = sem + self._layout.count
            self._k.memory.set_u32(at, self._k.memory.u32(at) + 1)


@export()
def down(k: Core, sem: Ptr) -> None:
    """void down(struct semaphore *)."""
    k.semaphores.down(sem, TASK_UNINTERRUPTIBLE)


@export()
def down_interruptible(k: Core, sem: Ptr) -> Int:
    """``int down_interruptible(struct semaphore *)``: 0 or -EINTR."""
    return k.semaphores.down(sem, TASK_INTERRUPTIBLE)


@export()
def down_killable(k: Core, sem: Ptr) -> Int:
    """``int down_killable(struct semaphore *)``: 0 or -EINTR."""
    return k.semaphores.down(sem, TASK_KILLABLE)


@export()
def down_trylock(k: Core, sem: Ptr) -> Int:
    """``int down_trylock(struct semaphore *)``: 0 if it was taken, 1 if not."""
    return not k.semaphores.try_down(sem)


@export()
def down_timeout(k: Core, sem: Ptr, timeout: Long) -> Int:
    """``int down_timeout(struct semaphore *, long timeout)``: 0 or -ETIME; ``timeout`` in jiffies."""
    return k.semaphores.down(sem, TASK_UNINTERRUPTIBLE, timeout)


@export()
def up(k: Core, sem: Ptr) -> None:
    """void up(struct semaphore *)."""
    k.semaphores.up(sem)
