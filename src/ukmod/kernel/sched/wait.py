"""Wait queues: kernel/sched/wait.c.

A queue and its entries are in guest memory, as ``wait_event()`` and ``waitqueue_active()`` are inlined into
modules. The kernel takes the queue's spinlock around each change. That is not needed here, because tasks are
switched only in ``schedule``.

Kernel code written in Python waits with ``sched.Waiters``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import (
    init_list_head,
    list_add,
    list_add_tail,
    list_del,
    list_del_init,
    list_empty,
    list_entries,
)
from ukmod.kernel.locking.lockdep import CHECKED_LOCKS
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE, TASK_NORMAL, TASK_RUNNING
from ukmod.machine.abi import Bool, Int, Long, Ptr, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

# include/linux/wait.h
WQ_FLAG_EXCLUSIVE: Final = 0x01
WQ_FLAG_WOKEN: Final = 0x02
WQ_FLAG_BOOKMARK: Final = 0x04
WQ_FLAG_PRIORITY: Final = 0x20
WF_SYNC: Final = 0x10
_POLLHUP_POLLFREE: Final = 0x4010
_POLLERS_LEFT: Final = Site("kernel/sched/wait.c", 248, "__wake_up_pollfree")


class WaitQueues:
    """The layout of struct wait_queue_head and wait_queue_entry, and operations on queues."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.queue = Layout(kernel.types, "wait_queue_head")
        self.waiter = Layout(kernel.types, "wait_queue_entry")

    def insert(self, queue: int, waiter: int, *, first: bool = False) -> None:
        """Add an entry at the tail of the queue, or (``first``) at its head but after priority entries."""
        memory = self._k.memory
        if not first:
            list_add_tail(memory, waiter + self.waiter.entry, queue + self.queue.head)
            return
        after = queue + self.queue.head
        if not memory.u32(waiter + self.waiter.flags) & WQ_FLAG_PRIORITY:
            for entry in list_entries(memory, after):
                if not memory.u32(entry - self.waiter.entry + self.waiter.flags) & WQ_FLAG_PRIORITY:
                    break
                after = entry
        list_add(memory, waiter + self.waiter.entry, after)

    def remove(self, waiter: int) -> None:
        """list_del_init() of an entry."""
        list_del_init(self._k.memory, waiter + self.waiter.entry)

    def queued(self, waiter: int) -> bool:
        """True if the entry is on a queue."""
        return not list_empty(self._k.memory, waiter + self.waiter.entry)

    def set_exclusive(self, waiter: int, *, to: bool, also: int = 0) -> None:
        """Set or clear WQ_FLAG_EXCLUSIVE in an entry."""
        at = waiter + self.waiter.flags
        flags = self._k.memory.u32(at) & ~WQ_FLAG_EXCLUSIVE
        self._k.memory.set_u32(at, flags | also | (WQ_FLAG_EXCLUSIVE if to else 0))

    def wake(self, queue: int, mode: int, nr_exclusive: int, flags: int = 0, key: int = 0) -> int:
        """__wake_up_common(): call the entries' functions; returns the number of exclusive ones woken.

        nr_exclusive: stop after waking that many exclusive entries; 0 wakes all.
        """
        k, left = self._k, nr_exclusive
        for waiter in self._waiters(queue):
            found = k.memory.u32(waiter + self.waiter.flags)
            if found & WQ_FLAG_BOOKMARK:
                continue
            woken = (
                k.cpu.call(k.memory.u64(waiter + self.waiter.func), waiter, mode, flags, key) & 0xFFFF_FFFF
            )
            if woken >> 31:
                break
            if woken and found & WQ_FLAG_EXCLUSIVE:
                left -= 1
                if not left:
                    break
        return nr_exclusive - left

    def _waiters(self, queue: int) -> Iterator[int]:
        for entry in list_entries(self._k.memory, queue + self.queue.head):
            yield entry - self.waiter.entry


@export(native=True, unless=CHECKED_LOCKS)
def __init_waitqueue_head(k: Core, queue: Ptr, name: Ptr, key: Ptr) -> None:
    """void __init_waitqueue_head(struct wait_queue_head *, const char *name, struct lock_class_key *)."""
    del name, key
    k.memory.set_u32(queue + k.waitqueues.queue.lock, 0)
    init_list_head(k.memory, queue + k.waitqueues.queue.head)


@export()
def add_wait_queue(k: Core, queue: Ptr, waiter: Ptr) -> None:
    """void add_wait_queue(struct wait_queue_head *, struct wait_queue_entry *)."""
    k.waitqueues.set_exclusive(waiter, to=False)
    k.waitqueues.insert(queue, waiter, first=True)


@export()
def add_wait_queue_exclusive(k: Core, queue: Ptr, waiter: Ptr) -> None:
    """void add_wait_queue_exclusive(struct wait_queue_head *, struct wait_queue_entry *)."""
    k.waitqueues.set_exclusive(waiter, to=True)
    k.waitqueues.insert(queue, waiter)


@export(gpl=True)
def add_wait_queue_priority(k: Core, queue: Ptr, waiter: Ptr) -> None:
    """void add_wait_queue_priority(struct wait_queue_head *, struct wait_queue_entry *)."""
    k.waitqueues.set_exclusive(waiter, to=True, also=WQ_FLAG_PRIORITY)
    k.waitqueues.insert(queue, waiter, first=True)


@export()
def remove_wait_queue(k: Core, queue: Ptr, waiter: Ptr) -> None:
    """void remove_wait_queue(struct wait_queue_head *, struct wait_queue_entry *)."""
    del queue
    list_del(k.memory, waiter + k.waitqueues.waiter.entry)


@export(native=True)
def init_wait_entry(k: Core, waiter: Ptr, flags: Int) -> None:
    """void init_wait_entry(struct wait_queue_entry *, int flags)."""
    queues, memory = k.waitqueues, k.memory
    memory.set_u32(waiter + queues.waiter.flags, flags)
    memory.set_u64(waiter + queues.waiter.private, k.sched.task().address)
    memory.set_u64(waiter + queues.waiter.func, k.symbols.address("autoremove_wake_function"))
    init_list_head(memory, waiter + queues.waiter.entry)


@export()
def prepare_to_wait(k: Core, queue: Ptr, waiter: Ptr, state: Int) -> None:
    """void prepare_to_wait(struct wait_queue_head *, struct wait_queue_entry *, int state)."""
    k.waitqueues.set_exclusive(waiter, to=False)
    if not k.waitqueues.queued(waiter):
        k.waitqueues.insert(queue, waiter, first=True)
    k.tasks.set_state(k.sched.task(), state)


@export()
def prepare_to_wait_exclusive(k: Core, queue: Ptr, waiter: Ptr, state: Int) -> Bool:
    """``bool prepare_to_wait_exclusive(wq_head, wq_entry, int state)``: true if the queue was empty."""
    first = False
    k.waitqueues.set_exclusive(waiter, to=True)
    if not k.waitqueues.queued(waiter):
        first = list_empty(k.memory, queue + k.waitqueues.queue.head)
        k.waitqueues.insert(queue, waiter)
    k.tasks.set_state(k.sched.task(), state)
    return first


@export()
def prepare_to_wait_event(k: Core, queue: Ptr, waiter: Ptr, state: Int) -> Long:
    """``long prepare_to_wait_event(wq_head, wq_entry, int state)``: -ERESTARTSYS if a signal is pending."""
    queues, task = k.waitqueues, k.sched.task()
    if k.tasks.signal_pending_state(state, task):
        queues.remove(waiter)
        return -ERESTARTSYS
    if not queues.queued(waiter):
        exclusive = k.memory.u32(waiter + queues.waiter.flags) & WQ_FLAG_EXCLUSIVE
        queues.insert(queue, waiter, first=not exclusive)
    k.tasks.set_state(task, state)
    return 0


def _do_wait(k: Core, queue: int, waiter: int, unlock: str, lock: str) -> int:
    """Wait once; the caller holds the queue's lock."""
    task = k.sched.task()
    if not k.waitqueues.queued(waiter):
        k.waitqueues.insert(queue, waiter)
    k.tasks.set_state(task, TASK_INTERRUPTIBLE)
    if k.tasks.signal_pending(task):
        return -ERESTARTSYS
    k.cpu.call(k.symbols.address(unlock), queue + k.waitqueues.queue.lock)
    k.sched.schedule()
    k.cpu.call(k.symbols.address(lock), queue + k.waitqueues.queue.lock)
    return 0


@export()
def do_wait_intr(k: Core, queue: Ptr, waiter: Ptr) -> Int:
    """``int do_wait_intr(wait_queue_head_t *, wait_queue_entry_t *)``: the lock is held before and after."""
    return _do_wait(k, queue, waiter, "_raw_spin_unlock", "_raw_spin_lock")


@export()
def do_wait_intr_irq(k: Core, queue: Ptr, waiter: Ptr) -> Int:
    """``int do_wait_intr_irq(wait_queue_head_t *, wait_queue_entry_t *)``: likewise, interrupts disabled."""
    return _do_wait(k, queue, waiter, "_raw_spin_unlock_irq", "_raw_spin_lock_irq")


@export()
def finish_wait(k: Core, queue: Ptr, waiter: Ptr) -> None:
    """void finish_wait(struct wait_queue_head *, struct wait_queue_entry *)."""
    del queue
    k.tasks.set_state(k.sched.task(), TASK_RUNNING)
    if k.waitqueues.queued(waiter):
        k.waitqueues.remove(waiter)


@export()
def default_wake_function(k: Core, waiter: Ptr, mode: UInt, flags: Int, key: Ptr) -> Int:
    """``int default_wake_function(wait_queue_entry_t *, unsigned mode, int flags, void *key)``."""
    del flags, key
    return k.sched.wake(k.tasks.at(k.memory.u64(waiter + k.waitqueues.waiter.private)), mode)


@export()
def autoremove_wake_function(k: Core, waiter: Ptr, mode: UInt, flags: Int, key: Ptr) -> Int:
    """``int autoremove_wake_function(struct wait_queue_entry *, unsigned mode, int sync, void *key)``."""
    woken = default_wake_function(k, waiter, mode, flags, key)
    if woken:
        k.waitqueues.remove(waiter)
    return woken


@export()
def wait_woken(k: Core, waiter: Ptr, mode: UInt, timeout: Long) -> Long:
    """``long wait_woken(struct wait_queue_entry *, unsigned mode, long timeout)``: jiffies left."""
    at, task = waiter + k.waitqueues.waiter.flags, k.sched.task()
    k.tasks.set_state(task, mode)
    thread = task.kthread
    stopping = thread is not None and thread.should_stop
    if not k.memory.u32(at) & WQ_FLAG_WOKEN and not stopping:
        timeout = k.sched.schedule_timeout(timeout)
    k.tasks.set_state(task, TASK_RUNNING)
    k.memory.set_u32(at, k.memory.u32(at) & ~WQ_FLAG_WOKEN)
    return timeout


@export()
def woken_wake_function(k: Core, waiter: Ptr, mode: UInt, sync: Int, key: Ptr) -> Int:
    """``int woken_wake_function(struct wait_queue_entry *, unsigned mode, int sync, void *key)``."""
    at = waiter + k.waitqueues.waiter.flags
    k.memory.set_u32(at, k.memory.u32(at) | WQ_FLAG_WOKEN)
    return default_wake_function(k, waiter, mode, sync, key)


@export("__wake_up")
def wake_up(k: Core, queue: Ptr, mode: UInt, nr_exclusive: Int, key: Ptr) -> Int:
    """``int __wake_up(struct wait_queue_head *, unsigned mode, int nr_exclusive, void *key)``."""
    return k.waitqueues.wake(queue, mode, nr_exclusive, 0, key)


@export("__wake_up_locked", gpl=True)
def wake_up_locked(k: Core, queue: Ptr, mode: UInt, nr: Int) -> None:
    """void __wake_up_locked(struct wait_queue_head *, unsigned mode, int nr)."""
    k.waitqueues.wake(queue, mode, nr)


@export("__wake_up_locked_key", "__wake_up_locked_key_bookmark", gpl=True)
def wake_up_locked_key(k: Core, queue: Ptr, mode: UInt, key: Ptr) -> None:
    """void __wake_up_locked_key(struct wait_queue_head *, unsigned mode, void *key)."""
    k.waitqueues.wake(queue, mode, 1, 0, key)


@export("__wake_up_sync_key", "__wake_up_locked_sync_key", gpl=True)
def wake_up_sync_key(k: Core, queue: Ptr, mode: UInt, key: Ptr) -> None:
    """void __wake_up_sync_key(struct wait_queue_head *, unsigned mode, void *key)."""
    if queue:
        k.waitqueues.wake(queue, mode, 1, WF_SYNC, key)


@export("__wake_up_sync", gpl=True)
def wake_up_sync(k: Core, queue: Ptr, mode: UInt) -> None:
    """void __wake_up_sync(struct wait_queue_head *, unsigned mode)."""
    wake_up_sync_key(k, queue, mode, 0)


@export("__wake_up_pollfree", gpl=True)
def wake_up_pollfree(k: Core, queue: Ptr) -> None:
    """void __wake_up_pollfree(struct wait_queue_head *): the waiters' functions must have left the queue."""
    k.waitqueues.wake(queue, TASK_NORMAL, 0, 0, _POLLHUP_POLLFREE)
    if not list_empty(k.memory, queue + k.waitqueues.queue.head):
        warn_once(k, _POLLERS_LEFT)
