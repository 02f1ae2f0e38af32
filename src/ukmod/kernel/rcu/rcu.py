"""RCU: kernel/rcu/tree.c, update.c.

A reader is a task whose ``rcu_read_lock_nesting`` is not 0. When another task runs, a reader is one that was
preempted or sleeps inside its critical section. A grace period ends when every task that was a reader at its
start has left its critical section; callbacks then run in softirq context.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.mm.account import admit
from ukmod.kernel.preempt_count import SOFTIRQ_MASK
from ukmod.kernel.sched.core import Task
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.softirq import RCU_SOFTIRQ
from ukmod.machine.abi import Bool, Int, Ptr, ULong
from ukmod.record import mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

GRACE_PERIOD_TICKS: Final = 3
"""The minimum length of a grace period in ticks. On an idle kernel it takes about as long."""
SEQ_CTR_SHIFT: Final = 2
"""RCU_SEQ_CTR_SHIFT: a cookie's lowest bits are no part of its number."""
COMPLETED: Final = 1
"""RCU_GET_STATE_COMPLETED: the cookie of a grace period that is over."""
_VOLUNTARY: Final = Site("kernel/rcu/tree_plugin.h", 320, "rcu_note_context_switch", nth=7, of=10)
_OFFSETS: Final = 4096
"""Before v6.2, kvfree_call_rcu()'s second argument was the offset of the rcu_head, always less than this."""


@mutable
class _Callback:
    """A callback that waits for a grace period, which ends when none of ``readers`` is a reader any more."""

    action: Callable[[], object]
    readers: list[Task]
    ready: bool = False


class Rcu:
    """The grace periods in progress."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._head = Layout(kernel.types, "callback_head")
        self._waiting = 0
        """The number of callbacks that have not run."""
        self.heads: set[int] = set()
        """The addresses of the struct rcu_heads whose functions have not been called."""
        self._callbacks: deque[_Callback] = deque()
        """Callbacks whose grace period, or that of an earlier callback, has not ended: they run in order."""
        self._blocked: set[Task] = set()
        """rcu_node::blkd_tasks: those that were switched away from inside of a critical section."""
        self._waiters = Waiters(kernel)
        self._completed = 0
        """The number of callbacks that have run, each after a grace period; they run in order."""
        self._nesting: int | None = None
        if kernel.types.has("task_struct", "rcu_read_lock_nesting"):
            self._nesting = kernel.types.offset("task_struct", "rcu_read_lock_nesting")
            self._export(self._nesting)

    def _export(self, offset: int) -> None:
        """Export the functions rcu_read_lock() calls with CONFIG_PREEMPT_RCU; without it, all is inlined."""
        kernel, nesting = self._k, struct.pack("<I", offset)
        # mov %gs:current,%rax; incl or decl nesting(%rax); ret
        at = struct.pack("<I", kernel.percpu.current_offset & 0xFFFF_FFFF)
        current = kernel.percpu.prefix + b"\x48\x8b\x04\x25" + at
        add = kernel.symbols.add_native
        add("__rcu_read_lock", current + b"\xff\x80" + nesting + b"\xc3", gpl=True)
        add("__rcu_read_unlock", current + b"\xff\x88" + nesting + b"\xc3", gpl=True)

    def nesting(self, task: Task) -> int:
        """``task->rcu_read_lock_nesting``."""
        return 0 if self._nesting is None else self._k.memory.s32(task.address + self._nesting)

    def check_voluntary_switch(self, task: Task) -> None:
        """rcu_note_context_switch(): a reader may be preempted, but not sleep or yield."""
        if self.nesting(task) > 0:
            warn_once(self._k, _VOLUNTARY, "Voluntary context switch within RCU read-side critical section!")

    def note_context_switch(self, task: Task) -> None:
        """rcu_note_context_switch(): another task runs instead of this one."""
        if self.nesting(task) > 0:
            self._blocked.add(task)

    def _are_readers(self, tasks: Iterable[Task]) -> list[Task]:
        return [task for task in tasks if not task.exited and self.nesting(task) > 0]

    def _readers(self) -> list[Task]:
        """The tasks that are readers; besides those that are blocked, only one that runs can be."""
        blocked = self._are_readers(self._blocked)
        self._blocked = set(blocked)
        running = (self._k.idle, *((self._k.sched.current,) if self._k.sched.current is not None else ()))
        return blocked + [task for task in self._are_readers(running) if task not in self._blocked]

    def call(self, action: Callable[[], object]) -> None:
        """call_rcu(): call ``action`` in softirq context after a grace period."""
        admit(self._k, len(self._callbacks), "RCU callbacks")
        callback = _Callback(action, self._readers())
        clock = self._k.clock
        end = (clock.now // clock.tick + GRACE_PERIOD_TICKS) * clock.tick
        clock.at(end, partial(self._look, callback))
        self._waiting += 1
        self._callbacks.append(callback)

    def _look(self, callback: _Callback) -> None:
        callback.readers = self._are_readers(callback.readers)
        if callback.readers:
            clock = self._k.clock
            clock.at(clock.now + clock.tick, partial(self._look, callback))
            return
        callback.ready = True
        while self._callbacks and self._callbacks[0].ready:
            action = self._callbacks.popleft().action
            self._k.softirqs.raise_(RCU_SOFTIRQ, partial(self._invoke, action))

    def _invoke(self, action: Callable[[], object]) -> None:
        try:
            action()
        finally:
            self._waiting -= 1
            self._completed += 1
            self._waiters.wake_all()

    def synchronize(self) -> None:
        """synchronize_rcu(): wait for a grace period; for ever if the caller itself is a reader."""
        done: list[bool] = []
        self.call(lambda: done.append(True))
        self._waiters.wait_event(lambda: bool(done))

    def barrier(self) -> None:
        """rcu_barrier(): wait until all callbacks that are now pending have run."""
        target = self._last()
        self._waiters.wait_event(lambda: self._completed >= target)

    def _last(self) -> int:
        """The value of ``_completed`` once all callbacks that are now pending have run."""
        return self._completed + self._waiting

    def state(self) -> int:
        """get_state_synchronize_rcu(): a cookie for the next grace period that anything starts."""
        return self._last() + 1 << SEQ_CTR_SHIFT

    def poll_start(self) -> int:
        """start_poll_synchronize_rcu(): start a grace period; returns its cookie."""
        cookie = self.state()
        self.call(int)
        return cookie

    def poll(self, cookie: int) -> bool:
        """poll_state_synchronize_rcu(): true if the cookie's grace period is over."""
        return self._completed >= cookie >> SEQ_CTR_SHIFT

    def call_head(self, head: int, function: int) -> None:
        """call_rcu() of a struct rcu_head in guest memory."""
        memory = self._k.memory
        memory.set_u64(self.function_at(head), function)
        memory.set_u64(head + self._head.next, 0)
        self.call(partial(self._call_head, head))
        self.heads.add(head)

    def function_at(self, head: int) -> int:
        """``&head->func``."""
        return head + self._head.func

    def _call_head(self, head: int) -> None:
        self.heads.discard(head)
        self._k.cpu.call(self._k.memory.u64(self.function_at(head)), head)


@export(gpl=True)
def call_rcu(k: Core, head: Ptr, function: Ptr) -> None:
    """void call_rcu(struct rcu_head *, rcu_callback_t func)."""
    k.rcu.call_head(head, function)


@export(gpl=True)
def kvfree_call_rcu(k: Core, head: Ptr, function: Ptr) -> None:
    """void kvfree_call_rcu(struct rcu_head *, rcu_callback_t func).

    ``func`` is the offset of the head in the object to free, or, since v6.2, the object itself. Without a
    head it is always the object.
    """
    kvfree = k.symbols.find("kvfree") or k.symbols.find("kfree")
    assert kvfree is not None
    address = kvfree.address
    if head:
        target = head - function if function < _OFFSETS else function
        k.rcu.call(lambda: k.cpu.call(address, target))
    else:
        k.rcu.synchronize()
        k.cpu.call(address, function)


@export("synchronize_rcu", "synchronize_rcu_expedited", "synchronize_rcu_tasks", gpl=True)
def synchronize_rcu(k: Core) -> None:
    """void synchronize_rcu(void)."""
    k.rcu.synchronize()


@export(gpl=True)
def rcu_barrier(k: Core) -> None:
    """void rcu_barrier(void)."""
    k.rcu.barrier()


@export(gpl=True)
def get_state_synchronize_rcu(k: Core) -> ULong:
    """``unsigned long get_state_synchronize_rcu(void)``: a cookie; starts no grace period."""
    return k.rcu.state()


@export(gpl=True)
def get_completed_synchronize_rcu(k: Core) -> ULong:
    """``unsigned long get_completed_synchronize_rcu(void)``: the cookie of a grace period that is over."""
    del k
    return COMPLETED


@export("start_poll_synchronize_rcu", "start_poll_synchronize_rcu_expedited", gpl=True)
def start_poll_synchronize_rcu(k: Core) -> ULong:
    """``unsigned long start_poll_synchronize_rcu(void)``: a cookie for poll_state_synchronize_rcu()."""
    return k.rcu.poll_start()


@export(gpl=True)
def poll_state_synchronize_rcu(k: Core, cookie: ULong) -> Bool:
    """``bool poll_state_synchronize_rcu(unsigned long)``: true if a grace period has passed since."""
    return k.rcu.poll(cookie)


@export("cond_synchronize_rcu", "cond_synchronize_rcu_expedited", gpl=True)
def cond_synchronize_rcu(k: Core, cookie: ULong) -> None:
    """void cond_synchronize_rcu(unsigned long): wait for a grace period unless one has passed."""
    if not k.rcu.poll(cookie):
        k.rcu.synchronize()


def _store_full(k: Core, cookies: int, cookie: int) -> None:
    """Fill a struct rcu_gp_oldstate, v6.1: the cookies of normal and of expedited grace periods."""
    k.memory.set_u64(cookies, cookie)
    k.memory.set_u64(cookies + 8, cookie)


@export(gpl=True)
def get_completed_synchronize_rcu_full(k: Core, cookies: Ptr) -> None:
    """void get_completed_synchronize_rcu_full(struct rcu_gp_oldstate *)."""
    _store_full(k, cookies, COMPLETED)


@export(gpl=True)
def get_state_synchronize_rcu_full(k: Core, cookies: Ptr) -> None:
    """void get_state_synchronize_rcu_full(struct rcu_gp_oldstate *): starts no grace period."""
    _store_full(k, cookies, k.rcu.state())


@export("start_poll_synchronize_rcu_full", "start_poll_synchronize_rcu_expedited_full", gpl=True)
def start_poll_synchronize_rcu_full(k: Core, cookies: Ptr) -> None:
    """void start_poll_synchronize_rcu_full(struct rcu_gp_oldstate *)."""
    _store_full(k, cookies, k.rcu.poll_start())


@export(gpl=True)
def poll_state_synchronize_rcu_full(k: Core, cookies: Ptr) -> Bool:
    """``bool poll_state_synchronize_rcu_full(struct rcu_gp_oldstate *)``: true if either cookie's is over."""
    return k.rcu.poll(k.memory.u64(cookies)) or k.rcu.poll(k.memory.u64(cookies + 8))


@export("cond_synchronize_rcu_full", "cond_synchronize_rcu_expedited_full", gpl=True)
def cond_synchronize_rcu_full(k: Core, cookies: Ptr) -> None:
    """void cond_synchronize_rcu_full(struct rcu_gp_oldstate *)."""
    if not poll_state_synchronize_rcu_full(k, cookies):
        k.rcu.synchronize()


@export(gpl=True, native=True)
def rcu_read_lock_held(k: Core) -> Int:
    """``int rcu_read_lock_held(void)``: 1 if the current task is a reader."""
    return k.rcu.nesting(k.sched.task()) > 0


@export(gpl=True)
def rcu_read_lock_any_held(k: Core) -> Int:
    """``int rcu_read_lock_any_held(void)``: 1 for a reader of any kind, or where preemption is disabled."""
    return rcu_read_lock_held(k) or rcu_read_lock_sched_held(k)


@export(gpl=True)
def rcu_read_lock_bh_held(k: Core) -> Int:
    """``int rcu_read_lock_bh_held(void)``: 1 if softirqs or interrupts are disabled."""
    return bool(k.percpu.preempt_count() & SOFTIRQ_MASK) or not k.cpu.interrupts_enabled()


@export("rcu_read_lock_sched_held")
def rcu_read_lock_sched_held(k: Core) -> Int:
    """``int rcu_read_lock_sched_held(void)``: !preemptible()."""
    return k.percpu.preempt_count() > 0 or not k.cpu.interrupts_enabled()


@export(gpl=True, native=True)
def rcu_is_watching(k: Core) -> Bool:
    """``bool rcu_is_watching(void)``."""
    del k
    return True


@export("rcu_gp_is_normal", "rcu_gp_is_expedited", gpl=True)
def rcu_gp_is_expedited(k: Core) -> Bool:
    """``bool rcu_gp_is_expedited(void)``."""
    del k
    return False


@export("init_rcu_head", "destroy_rcu_head", "init_rcu_head_on_stack", "destroy_rcu_head_on_stack", gpl=True)
def init_rcu_head(k: Core, head: Ptr) -> None:
    """void init_rcu_head(struct rcu_head *): only debug objects use it."""
    del k, head
