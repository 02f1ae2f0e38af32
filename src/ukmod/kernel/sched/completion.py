"""Completions: kernel/sched/completion.c.

``struct completion`` is in guest memory and its ``done`` is authoritative, since init_completion() and
reinit_completion() are inlined into modules. The waiters are kept here, as no inlined code needs them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.sched.core import (
    ERESTARTSYS,
    MAX_SCHEDULE_TIMEOUT,
    TASK_INTERRUPTIBLE,
    TASK_KILLABLE,
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    Task,
    cond_resched,
)
from ukmod.kernel.sched.waiters import Waiters
from ukmod.machine.abi import Bool, Int, Long, Ptr, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_ALL: Final = 0xFFFF_FFFF
"""``done`` after complete_all(): UINT_MAX, which waiters do not decrement."""


class Completion:
    """A completion for kernel code written in Python."""

    __slots__ = ("_waiters", "done")

    def __init__(self, kernel: Core) -> None:
        self.done = 0
        self._waiters = Waiters(kernel)

    def complete(self) -> None:
        """complete(): let one waiter proceed."""
        self.done += 1
        self._waiters.wake_all()

    def wait(self, state: int = TASK_UNINTERRUPTIBLE, timeout: int = MAX_SCHEDULE_TIMEOUT) -> int:
        """Wait in ``state`` for at most ``timeout`` jiffies; returns the result of ``Waiters.wait_event``."""
        left = self._waiters.wait_event(lambda: self.done > 0, state, timeout)
        if left > 0:
            self.done -= 1
        return left


class Completions:
    """The tasks that wait for each struct completion."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "completion")
        self._waiters: dict[int, deque[Task]] = {}

    def done(self, address: int) -> int:
        """``x->done``."""
        return self._k.memory.u32(address + self._layout.done)

    def set_done(self, address: int, value: int) -> None:
        """Store ``x->done``."""
        self._k.memory.set_u32(address + self._layout.done, value)

    def wake_one(self, address: int) -> None:
        """swake_up_locked(): remove the first waiter from the queue and wake it."""
        if waiters := self._waiters.get(address):
            self._k.sched.wake(waiters.popleft())

    def wake_all(self, address: int) -> None:
        """swake_up_all_locked()."""
        while self._waiters.get(address):
            self.wake_one(address)

    def wait(self, address: int, timeout: int, state: int) -> int:
        """wait_for_common(): the jiffies left (at least 1), 0 on timeout, or -ERESTARTSYS."""
        cond_resched(self._k)  # might_sleep()
        if not self.done(address):
            timeout = self._sleep(address, timeout, state)
            if not self.done(address):
                return timeout
        if (done := self.done(address)) != _ALL:
            self.set_done(address, done - 1)
        return timeout or 1

    def _sleep(self, address: int, timeout: int, state: int) -> int:
        k, task = self._k, self._k.sched.task()
        waiters = self._waiters.setdefault(address, deque())
        try:
            while True:
                if k.tasks.signal_pending_state(state, task):
                    timeout = -ERESTARTSYS
                    break
                if task not in waiters:
                    waiters.append(task)
                k.tasks.set_state(task, state)
                timeout = k.sched.schedule_timeout(timeout)
                if self.done(address) or not timeout:
                    break
        finally:
            if task in waiters:
                waiters.remove(task)
            if not waiters:
                self._waiters.pop(address, None)
        k.tasks.set_state(task, TASK_RUNNING)
        return timeout


@export()
def complete(k: Core, x: Ptr) -> None:
    """void complete(struct completion *x)."""
    if (done := k.completions.done(x)) != _ALL:
        k.completions.set_done(x, done + 1)
    k.completions.wake_one(x)


@export()
def complete_all(k: Core, x: Ptr) -> None:
    """void complete_all(struct completion *x)."""
    k.completions.set_done(x, _ALL)
    k.completions.wake_all(x)


@export("wait_for_completion", "wait_for_completion_io")
def wait_for_completion(k: Core, x: Ptr) -> None:
    """void wait_for_completion(struct completion *x)."""
    k.completions.wait(x, MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE)


@export("wait_for_completion_timeout", "wait_for_completion_io_timeout")
def wait_for_completion_timeout(k: Core, x: Ptr, timeout: ULong) -> ULong:
    """``unsigned long wait_for_completion_timeout(x, unsigned long timeout)``: jiffies left, or 0."""
    return k.completions.wait(x, timeout, TASK_UNINTERRUPTIBLE)


def _wait_in(k: Core, x: int, state: int) -> int:
    return min(0, k.completions.wait(x, MAX_SCHEDULE_TIMEOUT, state))


@export()
def wait_for_completion_interruptible(k: Core, x: Ptr) -> Int:
    """``int wait_for_completion_interruptible(struct completion *x)``: 0 or -ERESTARTSYS."""
    return _wait_in(k, x, TASK_INTERRUPTIBLE)


@export()
def wait_for_completion_killable(k: Core, x: Ptr) -> Int:
    """``int wait_for_completion_killable(struct completion *x)``: 0 or -ERESTARTSYS."""
    return _wait_in(k, x, TASK_KILLABLE)


@export()
def wait_for_completion_state(k: Core, x: Ptr, state: UInt) -> Int:
    """``int wait_for_completion_state(struct completion *x, unsigned int state)``: 0 or -ERESTARTSYS."""
    return _wait_in(k, x, state)


@export()
def wait_for_completion_interruptible_timeout(k: Core, x: Ptr, timeout: ULong) -> Long:
    """``long wait_for_completion_interruptible_timeout(x, timeout)``: jiffies left, 0, or -ERESTARTSYS."""
    return k.completions.wait(x, timeout, TASK_INTERRUPTIBLE)


@export()
def wait_for_completion_killable_timeout(k: Core, x: Ptr, timeout: ULong) -> Long:
    """``long wait_for_completion_killable_timeout(x, timeout)``: jiffies left, 0, or -ERESTARTSYS."""
    return k.completions.wait(x, timeout, TASK_KILLABLE)


@export()
def try_wait_for_completion(k: Core, x: Ptr) -> Bool:
    """``bool try_wait_for_completion(struct completion *x)``: false if it would have to wait."""
    done = k.completions.done(x)
    if done and done != _ALL:
        k.completions.set_done(x, done - 1)
    return done != 0


@export()
def completion_done(k: Core, x: Ptr) -> Bool:
    """``bool completion_done(struct completion *x)``: false if it is not done and tasks may be waiting."""
    return k.completions.done(x) != 0
