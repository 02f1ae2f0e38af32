"""Mutexes: kernel/locking/mutex.c.

``lock->owner``, a task and flag bits, is in guest memory. The waiters are kept here, as no inlined code needs
them; only ww_mutex_lock(), which is the image's, puts its waiters on the lock's own list.
"""

from __future__ import annotations

from collections import deque
from errno import EINTR
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.locking.lockdep import CHECKED_LOCKS
from ukmod.kernel.sched.core import (
    TASK_INTERRUPTIBLE,
    TASK_KILLABLE,
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    Task,
    cond_resched,
)
from ukmod.machine.abi import Bool, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WAITERS: Final = 0x01
HANDOFF: Final = 0x02
PICKUP: Final = 0x04
FLAGS: Final = 0x07


class Mutexes:
    """The tasks that wait for each struct mutex."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "mutex")
        self._waiters: dict[int, deque[Task]] = {}

    def init(self, lock: int) -> None:
        """__mutex_init()."""
        memory = self._k.memory
        memory.fill(lock, 0, self._k.types.sizeof("mutex"))
        if self._layout.has("wait_list"):
            init_list_head(memory, lock + self._layout.wait_list)

    def owner(self, lock: int) -> int:
        """``lock->owner``: the address of a task_struct, or 0, and flags."""
        return self._k.memory.u64(lock + self._layout.owner)

    def _set_owner(self, lock: int, owner: int) -> None:
        self._k.memory.set_u64(lock + self._layout.owner, owner)

    def trylock(self, lock: int, *, handoff: bool = False) -> bool:
        """Take the mutex if it is free or was handed to the current task; True if taken.

        handoff: if it cannot be taken, request that it be handed to this task.
        """
        owner, current = self.owner(lock), self._k.sched.task().address
        task, flags = owner & ~FLAGS, owner & FLAGS
        if not task or (task == current and flags & PICKUP):
            self._set_owner(lock, current | (flags & ~PICKUP))
            return True
        if handoff and not flags & PICKUP:
            self._set_owner(lock, owner | HANDOFF)
        return False

    def lock(self, lock: int, state: int) -> int:
        """Take the mutex, sleeping in ``state`` while another task holds it. 0, or -EINTR on a signal."""
        cond_resched(self._k)  # might_sleep()
        if self.trylock(lock):
            return 0
        k, task = self._k, self._k.sched.task()
        waiters = self._waiters.setdefault(lock, deque())
        waiters.append(task)
        self._set_owner(lock, self.owner(lock) | WAITERS)
        try:
            handoff = False
            while not self.trylock(lock, handoff=handoff):
                if k.tasks.signal_pending_state(state, task):
                    return -EINTR
                k.tasks.set_state(task, state)
                k.sched.schedule()
                # The first waiter was woken but another task was faster: request that it be handed over next
                # time.
                handoff = waiters[0] is task
        finally:
            waiters.remove(task)
            k.tasks.set_state(task, TASK_RUNNING)
            if not waiters:
                self._waiters.pop(lock, None)
                if self._images_waiter(lock) is None:
                    self._set_owner(lock, self.owner(lock) & ~(WAITERS | HANDOFF))
        return 0

    def unlock(self, lock: int) -> None:
        """Release the mutex, whichever task holds it, and wake the task that has waited longest."""
        owner, waiters = self.owner(lock), self._waiters.get(lock)
        following = waiters[0] if waiters else self._images_waiter(lock)
        if owner & HANDOFF and following is not None:
            self._set_owner(lock, following.address | PICKUP | WAITERS)
        else:
            self._set_owner(lock, owner & WAITERS)
        if following is not None:
            self._k.sched.wake(following)

    def _images_waiter(self, lock: int) -> Task | None:
        """The task that has waited longest in ww_mutex_lock(), which is the image's."""
        k, layout = self._k, self._layout
        if k.image is None or not self.owner(lock) & WAITERS:
            return None
        if layout.has("first_waiter"):  # since v7.1
            waiter = k.memory.u64(lock + layout.first_waiter)
        else:
            head = lock + layout.wait_list
            first = k.memory.u64(head)
            waiter = first - k.types.offset("mutex_waiter", "list") if first != head else 0
        task = k.memory.u64(waiter + k.types.offset("mutex_waiter", "task")) if waiter else 0
        return k.tasks.at(task) if task else None


_export = partial(export, unless=("mutex.rtmutex", *CHECKED_LOCKS))
"""With PREEMPT_RT, mutexes are rt_mutexes, and in a debugging kernel they check themselves: they are the
image's own, which sleep in schedule()."""


@_export("__mutex_init", native=True)
def mutex_init(k: Core, lock: Ptr, name: Ptr, key: Ptr) -> None:
    """void __mutex_init(struct mutex *, const char *name, struct lock_class_key *)."""
    del name, key
    k.mutexes.init(lock)


@_export(native=True)
def mutex_init_generic(k: Core, lock: Ptr) -> None:
    """void mutex_init_generic(struct mutex *): __mutex_init() without lockdep, since v7.0."""
    k.mutexes.init(lock)


@_export(native=True)
def mutex_is_locked(k: Core, lock: Ptr) -> Bool:
    """``bool mutex_is_locked(struct mutex *)``."""
    return bool(k.mutexes.owner(lock) & ~FLAGS)


@_export("mutex_lock", "mutex_lock_io", "mutex_lock_nested", "mutex_lock_io_nested", "_mutex_lock_nest_lock")
def mutex_lock(k: Core, lock: Ptr) -> None:
    """void mutex_lock(struct mutex *)."""
    k.mutexes.lock(lock, TASK_UNINTERRUPTIBLE)


@_export("mutex_lock_interruptible", "mutex_lock_interruptible_nested")
def mutex_lock_interruptible(k: Core, lock: Ptr) -> Int:
    """``int mutex_lock_interruptible(struct mutex *)``: 0 or -EINTR."""
    return k.mutexes.lock(lock, TASK_INTERRUPTIBLE)


@_export("mutex_lock_killable", "mutex_lock_killable_nested")
def mutex_lock_killable(k: Core, lock: Ptr) -> Int:
    """``int mutex_lock_killable(struct mutex *)``: 0 or -EINTR."""
    return k.mutexes.lock(lock, TASK_KILLABLE)


@_export()
def mutex_trylock(k: Core, lock: Ptr) -> Int:
    """``int mutex_trylock(struct mutex *)``: 1 if it was taken."""
    return k.mutexes.trylock(lock)


@_export()
def mutex_unlock(k: Core, lock: Ptr) -> None:
    """void mutex_unlock(struct mutex *)."""
    k.mutexes.unlock(lock)


@_export()
def ww_mutex_unlock(k: Core, lock: Ptr) -> None:
    """void ww_mutex_unlock(struct ww_mutex *): it has been taken by mutex_lock() or by the image."""
    at = lock + k.types.offset("ww_mutex", "ctx")
    if context := k.memory.u64(at):
        acquired = context + k.types.offset("ww_acquire_ctx", "acquired")
        k.memory.set_u32(acquired, k.memory.u32(acquired) - 1 & 0xFFFF_FFFF)
        k.memory.set_u64(at, 0)
    k.mutexes.unlock(lock)


@_export()
def atomic_dec_and_mutex_lock(k: Core, count: Ptr, lock: Ptr) -> Int:
    """``int atomic_dec_and_mutex_lock(atomic_t *, struct mutex *)``: 1, with it held, if the count is 0."""
    if k.memory.u32(count) != 1:
        _decrement(k, count)
        return 0
    k.mutexes.lock(lock, TASK_UNINTERRUPTIBLE)
    if _decrement(k, count):  # another task has taken a reference while this one waited for the mutex
        k.mutexes.unlock(lock)
        return 0
    return 1


def _decrement(k: Core, count: int) -> int:
    """atomic_dec_return()."""
    left = (k.memory.u32(count) - 1) & 0xFFFF_FFFF
    k.memory.set_u32(count, left)
    return left
