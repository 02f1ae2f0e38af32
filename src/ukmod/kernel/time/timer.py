"""Timers that count in jiffies: kernel/time/timer.c.

``timer_pending()`` is inlined into modules and reads ``entry.pprev``, so that field is authoritative. Timers
fire in softirq context, exactly at the tick they were set for. The kernel's timer wheel may be some ticks
late, more so for distant timers; no code may rely on that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import LIST_POISON2
from ukmod.kernel.softirq import TIMER_SOFTIRQ
from ukmod.kernel.time.clock import Event
from ukmod.kernel.watchdog import deadlock
from ukmod.machine.abi import Int, Ptr, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_SIGN: Final = 1 << 63
ADD_PENDING: Final = Site("kernel/time/timer.c", 1242, "add_timer")
PREEMPT_LEAK: Final = Site("kernel/time/timer.c", 1707, "call_timer_fn")


def time_before(a: int, b: int) -> bool:
    """time_before(): True if tick ``a`` is earlier than ``b``, allowing for wrap-around."""
    return bool((a - b) & _SIGN)


class Timers:
    """The pending timers, by the address of their struct timer_list."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "timer_list")
        self._events: dict[int, Event] = {}
        self._running = 0
        """The timer whose function is running, or 0."""

    def init(self, timer: int, function: int, flags: int) -> None:
        """timer_setup()."""
        memory = self._k.memory
        memory.set_u64(timer + self._layout["entry.pprev"], 0)
        memory.set_u64(timer + self._layout.function, function)
        memory.set_u32(timer + self._layout.flags, flags)

    def pending(self, timer: int) -> bool:
        """timer_pending()."""
        return self._k.memory.u64(timer + self._layout["entry.pprev"]) != 0

    def armed(self) -> Mapping[int, int]:
        """When each pending timer fires, in nanoseconds since boot, by its address."""
        return {timer: event.when for timer, event in self._events.items()}

    def expires(self, timer: int) -> int:
        """``timer->expires``, in jiffies."""
        return self._k.memory.u64(timer + self._layout.expires)

    def function(self, timer: int) -> int:
        """``timer->function``; 0 after a shutdown."""
        return self._k.memory.u64(self.function_at(timer))

    def function_at(self, timer: int) -> int:
        """``&timer->function``."""
        return timer + self._layout.function

    def mod(self, timer: int, expires: int, *, only_pending: bool = False, reduce: bool = False) -> int:
        """__mod_timer(): set the timer to ``expires`` jiffies; returns 1 if it was pending, else 0.

        only_pending: ignore a timer that is not pending. reduce: never postpone a pending timer.
        """
        if not self.function(timer):
            return 0
        was_pending = self.pending(timer)
        if was_pending and reduce and not time_before(expires, self.expires(timer)):
            return 1
        if not was_pending and only_pending:
            return 0
        self._detach(timer)
        self._k.memory.set_u64(timer + self._layout.expires, expires)
        self._enqueue(timer)
        return int(was_pending)

    def add(self, timer: int) -> None:
        """add_timer()."""
        if self.pending(timer):
            warn_once(self._k, ADD_PENDING)
            return
        self.mod(timer, self.expires(timer))

    def delete(self, timer: int, *, shutdown: bool = False) -> int:
        """timer_delete(), timer_shutdown(): returns 1 if it was pending."""
        was_pending = self.pending(timer)
        if was_pending:
            self._detach(timer)
        if shutdown:
            self._k.memory.set_u64(timer + self._layout.function, 0)
        return int(was_pending)

    def delete_sync(self, timer: int, *, shutdown: bool = False) -> int:
        """timer_delete_sync(): delete the timer and wait for its function to end.

        On one CPU the function can be running only if it is the caller; the kernel then waits for ever.
        """
        if self._running == timer:
            deadlock(self._k)
        return self.delete(timer, shutdown=shutdown)

    def try_delete_sync(self, timer: int) -> int:
        """try_to_del_timer_sync(): -1 if its function is running."""
        return -1 if self._running == timer else self.delete(timer)

    def _enqueue(self, timer: int) -> None:
        k = self._k
        # No code follows pprev; timer_pending() only checks that it is not NULL.
        k.memory.set_u64(timer + self._layout["entry.pprev"], timer + self._layout["entry.next"])
        when = k.clock.time_of(self.expires(timer))
        if k.sched.in_interrupt and when <= k.clock.now:
            when = (k.clock.now // k.clock.tick + 1) * k.clock.tick  # base->clk has passed the current tick
        self._events[timer] = k.clock.at(when, partial(self._expired, timer))

    def _expired(self, timer: int) -> None:
        self._k.softirqs.raise_(TIMER_SOFTIRQ, partial(self._fire, timer))

    def _detach(self, timer: int) -> None:
        if (event := self._events.pop(timer, None)) is not None:
            event.cancelled = True
        self._k.memory.set_u64(timer + self._layout["entry.pprev"], 0)
        self._k.memory.set_u64(timer + self._layout["entry.next"], LIST_POISON2)

    def _fire(self, timer: int) -> None:
        """call_timer_fn(), unless the timer was changed since its interrupt."""
        k = self._k
        event = self._events.get(timer)
        if event is None or event.when > k.clock.now:
            return
        self._detach(timer)
        function, count = self.function(timer), k.percpu.preempt_count()
        self._running = timer
        try:
            k.cpu.call(function, timer)
        finally:
            self._running = 0
        if (now := k.percpu.preempt_count()) != count:
            name = k.kallsyms.sprint(function)
            warn_once(k, PREEMPT_LEAK, f"timer: {name} preempt leak: {count:08x} -> {now:08x}")
            k.percpu.set_preempt(count)


@export("init_timer_key", "timer_init_key")
def init_timer_key(k: Core, timer: Ptr, function: Ptr, flags: UInt, name: Ptr, key: Ptr) -> None:
    """void timer_init_key(struct timer_list *, void (*func)(), unsigned int flags, name, key)."""
    del name, key
    k.timers.init(timer, function, flags)


@export(gpl=True)
def init_timer_on_stack_key(k: Core, timer: Ptr, function: Ptr, flags: UInt, name: Ptr, key: Ptr) -> None:
    """void init_timer_on_stack_key(struct timer_list *, void (*func)(), unsigned int flags, name, key)."""
    init_timer_key(k, timer, function, flags, name, key)


@export(gpl=True)
def destroy_timer_on_stack(k: Core, timer: Ptr) -> None:
    """void destroy_timer_on_stack(struct timer_list *)."""
    del k, timer


@export()
def mod_timer(k: Core, timer: Ptr, expires: ULong) -> Int:
    """``int mod_timer(struct timer_list *, unsigned long expires)``: 1 if it was pending."""
    return k.timers.mod(timer, expires)


@export()
def mod_timer_pending(k: Core, timer: Ptr, expires: ULong) -> Int:
    """``int mod_timer_pending(struct timer_list *, unsigned long expires)``."""
    return k.timers.mod(timer, expires, only_pending=True)


@export()
def timer_reduce(k: Core, timer: Ptr, expires: ULong) -> Int:
    """``int timer_reduce(struct timer_list *, unsigned long expires)``."""
    return k.timers.mod(timer, expires, reduce=True)


@export("add_timer", "add_timer_local", "add_timer_global")
def add_timer(k: Core, timer: Ptr) -> None:
    """void add_timer(struct timer_list *)."""
    k.timers.add(timer)


@export(gpl=True)
def add_timer_on(k: Core, timer: Ptr, cpu: Int) -> None:
    """void add_timer_on(struct timer_list *, int cpu)."""
    del cpu
    k.timers.add(timer)


@export("timer_delete", "del_timer")
def timer_delete(k: Core, timer: Ptr) -> Int:
    """``int timer_delete(struct timer_list *)``: 1 if it was pending. del_timer() until v6.1."""
    return k.timers.delete(timer)


@export("timer_delete_sync", "del_timer_sync", "del_singleshot_timer_sync")
def timer_delete_sync(k: Core, timer: Ptr) -> Int:
    """``int timer_delete_sync(struct timer_list *)``: 1 if it was pending. del_timer_sync() until v6.1."""
    return k.timers.delete_sync(timer)


@export("timer_shutdown", gpl=True)
def timer_shutdown(k: Core, timer: Ptr) -> Int:
    """``int timer_shutdown(struct timer_list *)``: delete it; it cannot be started again."""
    return k.timers.delete(timer, shutdown=True)


@export("timer_shutdown_sync", gpl=True)
def timer_shutdown_sync(k: Core, timer: Ptr) -> Int:
    """``int timer_shutdown_sync(struct timer_list *)``."""
    return k.timers.delete_sync(timer, shutdown=True)


@export("try_to_del_timer_sync", "timer_delete_sync_try")
def try_to_del_timer_sync(k: Core, timer: Ptr) -> Int:
    """``int try_to_del_timer_sync(struct timer_list *)``: -1 if its function is running."""
    return k.timers.try_delete_sync(timer)
