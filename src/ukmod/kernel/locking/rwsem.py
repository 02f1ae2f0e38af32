"""Read-write semaphores: kernel/locking/rwsem.c.

``sem->count`` and ``sem->wait_list`` are in guest memory, as rwsem_is_locked() and rwsem_is_contended() are
inlined into modules; the waiters themselves are kept here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from errno import EINTR
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import init_list_head, list_add_tail, list_del_init
from ukmod.kernel.locking.lockdep import CHECKED_LOCKS
from ukmod.kernel.sched.core import (
    TASK_INTERRUPTIBLE,
    TASK_KILLABLE,
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    Task,
    cond_resched,
)
from ukmod.machine.abi import Int, Ptr
from ukmod.record import mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WRITER_LOCKED: Final = 1 << 0
FLAG_WAITERS: Final = 1 << 1
FLAG_HANDOFF: Final = 1 << 2
READER_BIAS: Final = 1 << 8
LOCK_MASK: Final = WRITER_LOCKED | ~(READER_BIAS - 1)
_LIST_HEAD: Final = 16
"""The size of a struct list_head in bytes."""
READER_OWNED: Final = 1 << 0
"""In ``sem->owner``: the task is or was a reader."""


@mutable
class RwsemWaiter:
    """struct rwsem_waiter."""

    task: Task
    for_write: bool
    granted: bool = False
    """A reader that has been given the lock, or a writer that has been woken."""
    node: int = 0
    """The address of its entry in ``sem->wait_list``; 0 if it is not there."""


class RwSemaphores:
    """The tasks that wait for each struct rw_semaphore."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "rw_semaphore")
        self._waiters: dict[int, deque[RwsemWaiter]] = {}

    def init(self, sem: int) -> None:
        """__init_rwsem()."""
        self._k.memory.fill(sem, 0, self._k.types.sizeof("rw_semaphore"))
        if self._layout.has("wait_list"):
            init_list_head(self._k.memory, sem + self._layout.wait_list)

    def _count(self, sem: int) -> int:
        return self._k.memory.s64(sem + self._layout.count)

    def _add(self, sem: int, value: int) -> int:
        count = self._count(sem) + value
        self._k.memory.set_u64(sem + self._layout.count, count)
        return count

    def _set_owner(self, sem: int, owner: int) -> None:
        self._k.memory.set_u64(sem + self._layout.owner, owner)

    # -- taking it ------------------------------------------------------------------------------------

    def try_read(self, sem: int) -> bool:
        """down_read_trylock(): fails if a writer holds it or any task waits for it."""
        if self._count(sem) & (WRITER_LOCKED | FLAG_WAITERS | FLAG_HANDOFF):
            return False
        self._take_read(sem)
        return True

    def _take_read(self, sem: int) -> None:
        self._add(sem, READER_BIAS)
        self._set_owner(sem, self._k.sched.task().address | READER_OWNED)

    def try_write(self, sem: int) -> bool:
        """down_write_trylock(): succeeds only if no task holds it or waits for it."""
        return not self._count(sem) and self._take_write(sem)

    def _take_write(self, sem: int) -> bool:
        count = self._count(sem)
        if count & LOCK_MASK:
            return False
        self._k.memory.set_u64(sem + self._layout.count, (count | WRITER_LOCKED) & ~FLAG_HANDOFF)
        self._set_owner(sem, self._k.sched.task().address)
        return True

    def read(self, sem: int, state: int) -> int:
        """down_read(): 0, or -EINTR if a signal came before the lock was taken."""
        cond_resched(self._k)  # might_sleep()
        if self.try_read(sem):
            return 0
        if not self._count(sem) & (LOCK_MASK | FLAG_HANDOFF):
            # It is free, and its waiters have not been scheduled yet.
            self._take_read(sem)
            return 0
        waiter = self._enqueue(sem, for_write=False)
        return self._wait(sem, waiter, state, lambda: waiter.granted)

    def write(self, sem: int, state: int) -> int:
        """down_write(): 0, or -EINTR if a signal came before the lock was taken."""
        cond_resched(self._k)  # might_sleep()
        if self.try_write(sem) or self._steal_write(sem):
            return 0
        waiter = self._enqueue(sem, for_write=True)
        return self._wait(sem, waiter, state, lambda: self._write_turn(sem, waiter))

    def _steal_write(self, sem: int) -> bool:
        return not self._count(sem) & FLAG_HANDOFF and self._take_write(sem)

    def _write_turn(self, sem: int, waiter: RwsemWaiter) -> bool:
        """rwsem_try_write_lock(): the first waiter reserves the lock if it was woken but came too late."""
        first = self._waiters[sem][0] is waiter
        if self._count(sem) & FLAG_HANDOFF and not first:
            return False
        if self._take_write(sem):
            return True
        if first and waiter.granted:
            self._k.memory.set_u64(sem + self._layout.count, self._count(sem) | FLAG_HANDOFF)
        return False

    def _enqueue(self, sem: int, *, for_write: bool) -> RwsemWaiter:
        waiter = RwsemWaiter(self._k.sched.task(), for_write)
        if self._layout.has("wait_list"):
            waiter.node = self._k.slab.kernel_object(_LIST_HEAD, fenced=False)
            list_add_tail(self._k.memory, waiter.node, sem + self._layout.wait_list)
        self._waiters.setdefault(sem, deque()).append(waiter)
        self._k.memory.set_u64(sem + self._layout.count, self._count(sem) | FLAG_WAITERS)
        return waiter

    def _remove(self, sem: int, waiter: RwsemWaiter) -> None:
        """rwsem_del_waiter(), apart from the flags."""
        self._waiters[sem].remove(waiter)
        if waiter.node:
            list_del_init(self._k.memory, waiter.node)
            self._k.slab.kfree(waiter.node)
            waiter.node = 0

    def _wait(self, sem: int, waiter: RwsemWaiter, state: int, done: Callable[[], bool]) -> int:
        k, task = self._k, waiter.task
        try:
            while not done():
                if k.tasks.signal_pending_state(state, task):
                    return -EINTR
                k.tasks.set_state(task, state)
                k.sched.schedule()
        finally:
            k.tasks.set_state(task, TASK_RUNNING)
            self._leave(sem, waiter)
        return 0

    def _leave(self, sem: int, waiter: RwsemWaiter) -> None:
        waiters = self._waiters.get(sem, deque())
        if waiter in waiters:
            was_first = waiters[0] is waiter
            self._remove(sem, waiter)
            if was_first and waiters and not self._count(sem) & WRITER_LOCKED:
                self._wake(sem)
        if not waiters:
            self._waiters.pop(sem, None)
            count = self._count(sem) & ~(FLAG_WAITERS | FLAG_HANDOFF)
            self._k.memory.set_u64(sem + self._layout.count, count)

    # -- releasing it ---------------------------------------------------------------------------------

    def _wake(self, sem: int, *, only_readers: bool = False) -> None:
        """rwsem_mark_wake(): wake the first waiter if it is a writer, or give the lock to all readers."""
        waiters = self._waiters.get(sem)
        if not waiters:
            return
        if waiters[0].for_write:
            if not only_readers:
                waiters[0].granted = True
                self._k.sched.wake(waiters[0].task)
            return
        readers = [waiter for waiter in waiters if not waiter.for_write]
        for reader in readers:
            reader.granted = True
            self._remove(sem, reader)
            self._add(sem, READER_BIAS)
            self._set_owner(sem, reader.task.address | READER_OWNED)
            self._k.sched.wake(reader.task)

    def up_read(self, sem: int) -> None:
        """up_read()."""
        count = self._add(sem, -READER_BIAS)
        if count & (LOCK_MASK | FLAG_WAITERS) == FLAG_WAITERS:
            self._wake(sem)

    def up_write(self, sem: int) -> None:
        """up_write()."""
        self._set_owner(sem, 0)
        if self._add(sem, -WRITER_LOCKED) & FLAG_WAITERS:
            self._wake(sem)

    def downgrade(self, sem: int) -> None:
        """downgrade_write()."""
        count = self._add(sem, READER_BIAS - WRITER_LOCKED)
        self._set_owner(sem, self._k.sched.task().address | READER_OWNED)
        if count & FLAG_WAITERS:
            self._wake(sem, only_readers=True)


_export = partial(export, unless=("mutex.rtmutex", *CHECKED_LOCKS))
"""With PREEMPT_RT, rw_semaphores are rt_mutexes, and in a debugging kernel they check themselves: they are
the image's own, which sleep in schedule()."""


@_export("__init_rwsem", native=True)
def init_rwsem(k: Core, sem: Ptr, name: Ptr, key: Ptr) -> None:
    """void __init_rwsem(struct rw_semaphore *, const char *name, struct lock_class_key *)."""
    del name, key
    k.rwsems.init(sem)


@_export("down_read", "down_read_nested", "down_read_non_owner")
def down_read(k: Core, sem: Ptr) -> None:
    """void down_read(struct rw_semaphore *)."""
    k.rwsems.read(sem, TASK_UNINTERRUPTIBLE)


@_export()
def down_read_interruptible(k: Core, sem: Ptr) -> Int:
    """``int down_read_interruptible(struct rw_semaphore *)``: 0 or -EINTR."""
    return k.rwsems.read(sem, TASK_INTERRUPTIBLE)


@_export("down_read_killable", "down_read_killable_nested")
def down_read_killable(k: Core, sem: Ptr) -> Int:
    """``int down_read_killable(struct rw_semaphore *)``: 0 or -EINTR."""
    return k.rwsems.read(sem, TASK_KILLABLE)


@_export()
def down_read_trylock(k: Core, sem: Ptr) -> Int:
    """``int down_read_trylock(struct rw_semaphore *)``: 1 if it was taken."""
    return k.rwsems.try_read(sem)


@_export("down_write", "down_write_nested", "_down_write_nest_lock")
def down_write(k: Core, sem: Ptr) -> None:
    """void down_write(struct rw_semaphore *)."""
    k.rwsems.write(sem, TASK_UNINTERRUPTIBLE)


@_export("down_write_killable", "down_write_killable_nested")
def down_write_killable(k: Core, sem: Ptr) -> Int:
    """``int down_write_killable(struct rw_semaphore *)``: 0 or -EINTR."""
    return k.rwsems.write(sem, TASK_KILLABLE)


@_export()
def down_write_trylock(k: Core, sem: Ptr) -> Int:
    """``int down_write_trylock(struct rw_semaphore *)``: 1 if it was taken."""
    return k.rwsems.try_write(sem)


@_export("up_read", "up_read_non_owner")
def up_read(k: Core, sem: Ptr) -> None:
    """void up_read(struct rw_semaphore *)."""
    k.rwsems.up_read(sem)


@_export()
def up_write(k: Core, sem: Ptr) -> None:
    """void up_write(struct rw_semaphore *)."""
    k.rwsems.up_write(sem)


@_export()
def downgrade_write(k: Core, sem: Ptr) -> None:
    """void downgrade_write(struct rw_semaphore *)."""
    k.rwsems.downgrade(sem)
