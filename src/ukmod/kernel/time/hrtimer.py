"""High-resolution timers: kernel/time/hrtimer.c.

Their expiry, state and clock base are in guest memory, because hrtimer_set_expires(), hrtimer_is_queued() and
hrtimer_forward_now() are inlined into modules. They fire in hardirq context, exactly at the nanosecond they
are set to.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import EINTR
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.sched.core import TASK_RUNNING
from ukmod.kernel.softirq import HRTIMER_SOFTIRQ
from ukmod.kernel.time.clock import Event
from ukmod.kernel.time.time import KTIME_MAX
from ukmod.kernel.watchdog import deadlock
from ukmod.machine.abi import S64, Bool, Int, Ptr, UInt, ULong
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

# enum hrtimer_mode
MODE_REL: Final = 1
MODE_SOFT: Final = 4
MODE_HARD: Final = 8
INTERRUPT_NS: Final = 20_000
"""The time that a timer's interrupt takes: one that starts its own timer again does so that much later."""
STATE_INACTIVE: Final = 0
STATE_ENQUEUED: Final = 1
RESTART: Final = 1
CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI = 0, 1, 7, 11

NO_FUNCTION: Final = Site("kernel/time/hrtimer.c", 1335, "hrtimer_start_range_ns", nth=0, of=2)
OTHER_MODE: Final = Site("kernel/time/hrtimer.c", 1343, "hrtimer_start_range_ns", nth=1, of=2)
FORWARD_QUEUED: Final = Site("kernel/time/hrtimer.c", 1061, "hrtimer_forward")

_BASES: Final = (
    # In the order of enum hrtimer_base_type: the clock, and the function that reads it.
    (CLOCK_MONOTONIC, "ktime_get"),
    (CLOCK_REALTIME, "ktime_get_real_fast_ns"),
    (CLOCK_BOOTTIME, "ktime_get_boot_fast_ns"),
    (CLOCK_TAI, "ktime_get_tai_fast_ns"),
)


class HrTimers:
    """The enqueued timers, by the address of their struct hrtimer."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "hrtimer")
        self._base = Layout(kernel.types, "hrtimer_clock_base")
        self._state = "state" if self._layout.has("state") else "is_queued"
        """The byte that says whether a timer is enqueued: a bool since v7.0."""
        self._events: dict[int, Event] = {}
        self._bases: dict[int, int] = {}
        self._running = 0
        self._is_rt = kernel.types.has("task_struct", "softirq_disable_cnt")
        """CONFIG_PREEMPT_RT, which asks that hard timers, not soft ones, are started as they were made."""

    # -- clock bases ----------------------------------------------------------------------------------

    def _make_bases(self) -> None:
        """Create each clock's struct hrtimer_clock_base, which an inlined hrtimer_cb_get_time() uses."""
        k, memory, base = self._k, self._k.memory, self._base
        size = k.types.sizeof("hrtimer_clock_base")
        at = memory.map_direct(memory.alloc_frames(-(-4 * size // PAGE_SIZE)), 4 * size)
        for index, (clock, get_time) in enumerate(_BASES):
            address = at + index * size
            memory.set_u32(address + base.index, index)
            memory.set_u32(address + base.clockid, clock)
            if base.has("get_time"):
                memory.set_u64(address + base.get_time, k.symbols.address(get_time))
            self._bases[clock] = address

    def _offset(self, timer: int) -> int:
        """How far the timer's clock is ahead of the monotonic one, in nanoseconds."""
        clock = self._k.memory.u32(self._k.memory.u64(timer + self._layout.base) + self._base.clockid)
        return self._k.timekeeping.real_offset if clock in {CLOCK_REALTIME, CLOCK_TAI} else 0

    def now(self, timer: int) -> int:
        """hrtimer_cb_get_time(), in nanoseconds."""
        return self._k.clock.now + self._offset(timer)

    # -- timers ---------------------------------------------------------------------------------------

    def init(self, timer: int, clock: int, mode: int) -> None:
        """hrtimer_init()."""
        if not self._bases:
            self._make_bases()
        memory = self._k.memory
        memory.fill(timer, 0, self._k.types.sizeof("hrtimer"))
        node = timer + self._layout["node.node"]
        memory.set_u64(node, node)  # RB_CLEAR_NODE()
        memory.set_u64(timer + self._layout.base, self._bases.get(clock, self._bases[CLOCK_MONOTONIC]))
        memory.set_u8(timer + self._layout.is_soft, bool(mode & MODE_SOFT))
        memory.set_u8(timer + self._layout.is_hard, not mode & MODE_SOFT)

    def expires(self, timer: int) -> int:
        """hrtimer_get_expires(), in nanoseconds of the timer's clock."""
        return self._k.memory.s64(timer + self._layout["node.expires"])

    def set_expires(self, timer: int, time: int, slack: int = 0) -> None:
        """hrtimer_set_expires_range_ns()."""
        self._k.memory.set_u64(timer + self._layout["_softexpires"], time)
        self._k.memory.set_u64(timer + self._layout["node.expires"], min(time + slack, KTIME_MAX))

    def set_function(self, timer: int, function: int) -> None:
        """Store ``timer->function``."""
        self._k.memory.set_u64(self.function_at(timer), function)

    def function_at(self, timer: int) -> int:
        """``&timer->function``."""
        return timer + self._layout.function

    def armed(self) -> Mapping[int, int]:
        """When each enqueued timer fires, in nanoseconds since boot, by its address."""
        return {timer: event.when for timer, event in self._events.items()}

    def enqueued(self, timer: int) -> bool:
        """hrtimer_is_queued()."""
        return bool(self._k.memory.u8(timer + self._layout[self._state]) & STATE_ENQUEUED)

    def active(self, timer: int) -> bool:
        """hrtimer_active(): True if it is enqueued or its function is running."""
        return self.enqueued(timer) or self._running == timer

    def start(self, timer: int, time: int, slack: int, mode: int) -> None:
        """hrtimer_start_range_ns()."""
        if not self._k.memory.u64(timer + self._layout.function):
            warn_once(self._k, NO_FUNCTION)
            return
        if bool(mode & MODE_SOFT) != self._is_soft(timer) and not self._is_rt:
            warn_once(self._k, OTHER_MODE)
        self._dequeue(timer)
        self.set_expires(timer, time + self.now(timer) if mode & MODE_REL else time, slack)
        self._enqueue(timer)

    def restart(self, timer: int, mode: int) -> None:
        """hrtimer_start_expires(): start it with the times that are set in it."""
        soft = self._k.memory.s64(timer + self._layout["_softexpires"])
        self.start(timer, soft, self.expires(timer) - soft, mode)

    def _enqueue(self, timer: int) -> None:
        k = self._k
        k.memory.set_u8(timer + self._layout[self._state], STATE_ENQUEUED)
        when = k.memory.s64(timer + self._layout["_softexpires"]) - self._offset(timer)
        soonest = k.clock.now + (INTERRUPT_NS if k.sched.in_interrupt else 0)
        self._events[timer] = k.clock.at(max(when, soonest), partial(self._expired, timer))

    def clock_was_set(self) -> None:
        """CLOCK_REALTIME has jumped: timers that expire by it do so earlier or later."""
        for timer in [timer for timer in self._events if self._offset(timer)]:
            self._events[timer].cancelled = True
            self._enqueue(timer)

    def _dequeue(self, timer: int) -> bool:
        """Remove the timer from the queue; True if it was enqueued."""
        if (event := self._events.pop(timer, None)) is not None:
            event.cancelled = True
        if not self.enqueued(timer):
            return False
        self._k.memory.set_u8(timer + self._layout[self._state], STATE_INACTIVE)
        return True

    def _expired(self, timer: int) -> None:
        if self._is_soft(timer):
            self._k.softirqs.raise_(HRTIMER_SOFTIRQ, partial(self._run, timer))
        else:
            self._run(timer)

    def _is_soft(self, timer: int) -> bool:
        """True if its function is called in a softirq."""
        return bool(self._k.memory.u8(timer + self._layout.is_soft))

    def _set_running(self, base: int, timer: int) -> None:
        """Store ``base->running``, which hrtimer_callback_running() compares."""
        self._running = timer
        self._k.memory.set_u64(base + self._base.running, timer)

    def _run(self, timer: int) -> None:
        """__run_hrtimer(). The timer's function may free it, and then returns HRTIMER_NORESTART."""
        k = self._k
        event = self._events.get(timer)
        if event is None or event.when > k.clock.now:
            return
        self._dequeue(timer)
        base = k.memory.u64(timer + self._layout.base)
        self._set_running(base, timer)
        try:
            restart = k.cpu.call(k.memory.u64(timer + self._layout.function), timer) & 0xFFFF_FFFF
        finally:
            self._set_running(base, 0)
        if restart == RESTART and not self.enqueued(timer):
            self._enqueue(timer)

    def try_cancel(self, timer: int) -> int:
        """hrtimer_try_to_cancel(): 1 if it was active, 0 if not, -1 if its function is running."""
        if self._running == timer:
            return -1
        return int(self._dequeue(timer))

    def forward(self, timer: int, now: int, interval: int) -> int:
        """hrtimer_forward(): move the expiry past ``now`` by whole intervals; returns their number."""
        behind = now - self.expires(timer)
        if behind < 0:
            return 0
        if self.enqueued(timer):
            warn(self._k, FORWARD_QUEUED)
            return 0
        overruns = behind // max(interval, 1) + 1
        step = overruns * max(interval, 1)
        memory = self._k.memory
        for member in ("node.expires", "_softexpires"):
            at = timer + self._layout[member]
            memory.set_u64(at, min(memory.s64(at) + step, KTIME_MAX))
        return overruns

    def sleep_until(self, when: int) -> bool:
        """Sleep in the current task state until ``when`` nanoseconds since boot; False if woken earlier."""
        k, task = self._k, self._k.sched.task()
        fired: list[bool] = []

        def wakeup() -> None:
            fired.append(True)
            k.sched.wake(task)

        event = k.clock.at(max(when, k.clock.now), wakeup)
        try:
            k.sched.schedule()
        finally:
            event.cancelled = True
        k.tasks.set_state(task, TASK_RUNNING)
        return bool(fired)


@export("hrtimer_init", "hrtimer_init_on_stack", gpl=True)
def hrtimer_init(k: Core, timer: Ptr, clock: Int, mode: UInt) -> None:
    """void hrtimer_init(struct hrtimer *, clockid_t, enum hrtimer_mode)."""
    k.hrtimers.init(timer, clock, mode)


@export("hrtimer_setup", "hrtimer_setup_on_stack", gpl=True)
def hrtimer_setup(k: Core, timer: Ptr, function: Ptr, clock: Int, mode: UInt) -> None:
    """void hrtimer_setup(struct hrtimer *, function, clockid_t, enum hrtimer_mode): since v6.13."""
    k.hrtimers.init(timer, clock, mode)
    k.hrtimers.set_function(timer, function)


@export(gpl=True)
def hrtimer_cb_get_time(k: Core, timer: Ptr) -> S64:
    """ktime_t hrtimer_cb_get_time(const struct hrtimer *): inlined before v6.18."""
    return k.hrtimers.now(timer)


@export(gpl=True)
def destroy_hrtimer_on_stack(k: Core, timer: Ptr) -> None:
    """void destroy_hrtimer_on_stack(struct hrtimer *): only debug objects use it."""
    del k, timer


@export(gpl=True)
def hrtimer_start_range_ns(k: Core, timer: Ptr, time: S64, slack: ULong, mode: UInt) -> None:
    """void hrtimer_start_range_ns(struct hrtimer *, ktime_t tim, u64 delta_ns, const enum hrtimer_mode)."""
    k.hrtimers.start(timer, time, slack, mode)


@export(gpl=True)
def hrtimer_start_range_ns_user(k: Core, timer: Ptr, time: S64, slack: ULong, mode: UInt) -> Bool:
    """``bool hrtimer_start_range_ns_user(timer, ktime_t, u64, mode)``: false if its time has come (v7.2).

    Then the timer is not enqueued, and the caller does what its function would do.
    """
    k.hrtimers.start(timer, time, slack, mode)
    if k.hrtimers.expires(timer) > k.hrtimers.now(timer):
        return True
    k.hrtimers.try_cancel(timer)
    return False


@export()
def hrtimer_wakeup(k: Core, timer: Ptr) -> Int:
    """``enum hrtimer_restart hrtimer_wakeup(struct hrtimer *)``: wake a struct hrtimer_sleeper's task."""
    at = timer - k.types.offset("hrtimer_sleeper", "timer") + k.types.offset("hrtimer_sleeper", "task")
    if task := k.memory.u64(at):
        k.memory.set_u64(at, 0)
        k.sched.wake(k.tasks.at(task))
    return 0


@export("hrtimer_init_sleeper", "hrtimer_setup_sleeper_on_stack", "hrtimer_init_sleeper_on_stack", gpl=True)
def hrtimer_init_sleeper(k: Core, sleeper: Ptr, clock: Int, mode: UInt) -> None:
    """void hrtimer_init_sleeper(struct hrtimer_sleeper *, clockid_t, enum hrtimer_mode)."""
    timer = sleeper + k.types.offset("hrtimer_sleeper", "timer")
    hrtimer_setup(k, timer, k.symbols.address("hrtimer_wakeup"), clock, mode)
    task = sleeper + k.types.offset("hrtimer_sleeper", "task")
    k.memory.set_u64(task, k.sched.task().address)


@export(gpl=True)
def hrtimer_sleeper_start_expires(k: Core, sleeper: Ptr, mode: UInt) -> None:
    """void hrtimer_sleeper_start_expires(struct hrtimer_sleeper *, enum hrtimer_mode)."""
    k.hrtimers.restart(sleeper + k.types.offset("hrtimer_sleeper", "timer"), mode)


@export(gpl=True)
def hrtimer_try_to_cancel(k: Core, timer: Ptr) -> Int:
    """``int hrtimer_try_to_cancel(struct hrtimer *)``: -1 if its function is running."""
    return k.hrtimers.try_cancel(timer)


@export(gpl=True)
def hrtimer_cancel(k: Core, timer: Ptr) -> Int:
    """``int hrtimer_cancel(struct hrtimer *)``: 1 if it was active. The timer's function must not call it."""
    cancelled = k.hrtimers.try_cancel(timer)
    if cancelled < 0:
        deadlock(k)
    return cancelled


@export(gpl=True)
def hrtimer_active(k: Core, timer: Ptr) -> Bool:
    """``bool hrtimer_active(const struct hrtimer *)``."""
    return k.hrtimers.active(timer)


@export(gpl=True)
def hrtimer_forward(k: Core, timer: Ptr, now: S64, interval: S64) -> ULong:
    """``u64 hrtimer_forward(struct hrtimer *, ktime_t now, ktime_t interval)``: the number of overruns."""
    return k.hrtimers.forward(timer, now, interval)


@export("__hrtimer_get_remaining", gpl=True)
def hrtimer_get_remaining(k: Core, timer: Ptr, adjust: Bool) -> S64:
    """ktime_t __hrtimer_get_remaining(const struct hrtimer *, bool adjust)."""
    del adjust
    k.clock.read()
    return k.hrtimers.expires(timer) - k.hrtimers.now(timer)


def _sleep(k: Core, expires: int, mode: int, clock: int) -> int:
    """schedule_hrtimeout_range_clock(): ``expires`` is a pointer to the time, or NULL for never."""
    task = k.sched.task()
    if not expires:
        k.sched.schedule()
        return -EINTR
    if not (time := k.memory.s64(expires)):
        k.tasks.set_state(task, TASK_RUNNING)
        return 0
    if mode & MODE_REL:
        time += k.clock.now
    elif clock in {CLOCK_REALTIME, CLOCK_TAI}:
        time -= k.timekeeping.real_offset
    return 0 if k.hrtimers.sleep_until(time) else -EINTR


@export(gpl=True)
def schedule_hrtimeout_range_clock(k: Core, expires: Ptr, delta: ULong, mode: UInt, clock: Int) -> Int:
    """``int schedule_hrtimeout_range_clock(ktime_t *, u64 delta, mode, clockid_t)``: -EINTR if woken."""
    del delta
    return _sleep(k, expires, mode, clock)


@export(gpl=True)
def schedule_hrtimeout_range(k: Core, expires: Ptr, delta: ULong, mode: UInt) -> Int:
    """``int schedule_hrtimeout_range(ktime_t *expires, u64 delta, const enum hrtimer_mode)``."""
    del delta
    return _sleep(k, expires, mode, CLOCK_MONOTONIC)


@export(gpl=True)
def schedule_hrtimeout(k: Core, expires: Ptr, mode: UInt) -> Int:
    """``int schedule_hrtimeout(ktime_t *expires, const enum hrtimer_mode)``."""
    return _sleep(k, expires, mode, CLOCK_MONOTONIC)
