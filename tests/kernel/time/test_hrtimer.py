"""High-resolution timers: Documentation/timers/hrtimers.rst, kernel/time/hrtimer.c."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import EINTR

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.kernel.structs import kernel_with
from tests.kernel.tasks import call, kill, start

from ukmod.errors import KernelPanic
from ukmod.kernel.core import Core
from ukmod.kernel.preempt_count import SOFTIRQ_OFFSET, PreemptCount
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE
from ukmod.kernel.time.hrtimer import (
    CLOCK_BOOTTIME,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    CLOCK_TAI,
    MODE_REL,
    MODE_SOFT,
    RESTART,
)

MS = 10**6
SECOND = 10**9
MODE_ABS = NORESTART = 0
Results = list[tuple[int, int]]


class HrTimer:
    """A struct hrtimer whose function notes when, and in what context, it was called."""

    def __init__(self, guest: Guest, clock: int = CLOCK_MONOTONIC, mode: int = MODE_REL) -> None:
        self.guest, self.k = guest, guest.kernel
        self.fired: list[int] = []
        self.contexts: list[int] = []
        self.then: Callable[[], int] = lambda: NORESTART
        self.address = guest.put(b"", self.k.types.sizeof("hrtimer"))
        guest.call("hrtimer_setup", self.address, guest.python(self._fire, 1), clock, mode)

    def _fire(self, timer: int) -> int:
        assert timer == self.address
        self.fired.append(self.k.clock.now)
        self.contexts.append(self.k.percpu.preempt_count())
        return self.then()

    def start(self, time: int, mode: int = MODE_REL, slack: int = 0) -> int:
        """hrtimer_start_range_ns(); the time of the timer's clock at which it is due."""
        self.guest.call("hrtimer_start_range_ns", self.address, time, slack, mode)
        return self.k.hrtimers.expires(self.address) - slack

    def do(self, function: str, *arguments: int) -> int:
        """Call one of the functions that take a timer."""
        return self.guest.call(function, self.address, *arguments)


class TestExpiry:
    def test_a_timer_fires_once_at_its_nanosecond_in_hardirq_context(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        due = timer.start(1_234_567)
        guest.kernel.run(1)
        assert timer.fired == [due]
        assert timer.contexts == [PreemptCount().hardirq_offset + 1]

    def test_a_soft_timer_fires_in_softirq_context(self, guest: Guest) -> None:
        timer = HrTimer(guest, mode=MODE_REL | MODE_SOFT)
        timer.start(MS, MODE_REL | MODE_SOFT)
        guest.kernel.run(1)
        assert timer.contexts == [SOFTIRQ_OFFSET + 1]

    @pytest.mark.parametrize("clock", [CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI])
    def test_an_absolute_time_is_one_of_the_timers_clock(self, guest: Guest, clock: int) -> None:
        timer = HrTimer(guest, clock, MODE_ABS)
        timer.start(guest.kernel.hrtimers.now(timer.address) + 5 * MS, MODE_ABS)
        expected = guest.kernel.clock.now + 5 * MS
        guest.kernel.run(1)
        assert timer.fired == [pytest.approx(expected, abs=MS)]

    def test_an_absolute_time_that_has_passed_is_now(self, guest: Guest) -> None:
        guest.kernel.run(1)
        timer = HrTimer(guest)
        timer.start(5, MODE_ABS)
        now = guest.kernel.clock.now
        guest.kernel.run(0.001)
        assert timer.fired == [pytest.approx(now, abs=1000)]

    def test_starting_a_timer_again_moves_it(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        timer.start(MS)
        due = timer.start(7 * MS)
        guest.kernel.run(1)
        assert timer.fired == [due]

    def test_slack_makes_no_timer_early(self, guest: Guest) -> None:
        """hrtimer_set_expires_range_ns(): it may fire from the soft expiry on."""
        timer = HrTimer(guest)
        due = timer.start(MS, slack=50 * MS)
        guest.kernel.run(1)
        assert due <= timer.fired[0] <= due + 50 * MS

    def test_a_function_may_free_its_timer(self, kernel: Core, guest: Guest) -> None:
        timer = HrTimer(guest)

        def free() -> int:
            kernel.slab.kfree(timer.address)
            return NORESTART

        timer.then = free
        timer.start(MS)
        kernel.run(1)
        assert len(timer.fired) == 1
        assert kernel.reports == []

    def test_a_timer_without_a_function_is_warned_of(self, kernel: Core, guest: Guest) -> None:
        timer = guest.put(b"", kernel.types.sizeof("hrtimer"))
        guest.call("hrtimer_init", timer, CLOCK_MONOTONIC, MODE_REL)
        guest.call("hrtimer_start_range_ns", timer, MS, 0, MODE_REL)
        assert [w.file for w in kernel.warnings] == ["kernel/time/hrtimer.c"]
        assert guest.call("hrtimer_active", timer) == 0

    def test_a_timer_of_an_unknown_clock_is_monotonic(self, guest: Guest) -> None:
        timer = HrTimer(guest, clock=5)
        due = timer.start(guest.kernel.clock.now + MS, MODE_ABS)
        guest.kernel.run(1)
        assert timer.fired == [due]

    def test_a_realtime_timer_follows_the_clock_when_it_is_set(self, kernel: Core, guest: Guest) -> None:
        """clock_was_set(): an hour on, an absolute timer for in half an hour is due."""
        wall, steady = HrTimer(guest, CLOCK_REALTIME, MODE_ABS), HrTimer(guest)
        now = kernel.timekeeping.real()
        wall.start(now + 1800 * SECOND, MODE_ABS)
        steady.start(1800 * SECOND)
        later = guest.words(now // SECOND + 3600, 0)
        assert guest.call_int("do_settimeofday64", later) == 0
        kernel.run(1)
        assert (len(wall.fired), len(steady.fired)) == (1, 0)


class TestRestart:
    def test_a_function_that_forwards_its_timer_makes_it_periodic(self, guest: Guest) -> None:
        timer = HrTimer(guest)

        def again() -> int:
            timer.k.hrtimers.forward(timer.address, timer.k.clock.now, 10 * MS)
            return RESTART if len(timer.fired) < 4 else NORESTART

        timer.then = again
        due = timer.start(10 * MS)
        guest.kernel.run(1)
        assert timer.fired == [due + n * 10 * MS for n in range(4)]

    def test_the_overruns_of_a_forward_are_counted(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        timer.start(MS)
        guest.kernel.run(0.01)
        due = guest.kernel.hrtimers.expires(timer.address)
        assert timer.do("hrtimer_forward", due + 25 * MS, 10 * MS) == 3
        assert guest.kernel.hrtimers.expires(timer.address) == due + 30 * MS

    def test_a_forward_to_the_very_expiry_is_one_interval(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        due = guest.kernel.hrtimers.expires(timer.address)
        assert timer.do("hrtimer_forward", due, 10 * MS) == 1

    def test_a_timer_that_is_not_due_is_not_forwarded(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        due = guest.kernel.hrtimers.expires(timer.address)
        assert timer.do("hrtimer_forward", due - 1, 10 * MS) == 0
        assert guest.kernel.hrtimers.expires(timer.address) == due

    def test_forwarding_a_timer_that_is_queued_is_warned_of(self, kernel: Core, guest: Guest) -> None:
        timer = HrTimer(guest)
        due = timer.start(MS)
        assert timer.do("hrtimer_forward", due, MS) == 0
        assert [w.file for w in kernel.warnings] == ["kernel/time/hrtimer.c"]


class TestCancel:
    @pytest.mark.parametrize("function", ["hrtimer_cancel", "hrtimer_try_to_cancel"])
    def test_cancelling_tells_whether_the_timer_was_active(self, guest: Guest, function: str) -> None:
        timer = HrTimer(guest)
        timer.start(MS)
        assert timer.do("hrtimer_active") == 1
        assert timer.do(function) == 1
        assert timer.do("hrtimer_active") == 0
        assert timer.do(function) == 0
        guest.kernel.run(1)
        assert timer.fired == []

    def test_a_timer_is_active_while_its_function_runs_and_cannot_be_cancelled(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        functions = ("hrtimer_active", "hrtimer_try_to_cancel")
        seen: list[int] = []

        def look() -> int:
            seen.extend(call(timer.k, function, timer.address) for function in functions)
            return NORESTART

        timer.then = look
        timer.start(MS)
        guest.kernel.run(1)
        assert seen == [1, -1]
        assert timer.do("hrtimer_active") == 0

    def test_a_function_that_cancels_its_own_timer_waits_for_ever(self, kernel: Core, guest: Guest) -> None:
        timer = HrTimer(guest)
        timer.then = lambda: call(kernel, "hrtimer_cancel", timer.address)
        timer.start(MS)
        with pytest.raises(KernelPanic, match="Hard LOCKUP"):
            kernel.run(1)

    def test_the_remaining_time_is_up_to_the_expiry(self, guest: Guest) -> None:
        timer = HrTimer(guest, CLOCK_REALTIME)
        timer.start(5 * MS)
        assert timer.do("__hrtimer_get_remaining", 0) == pytest.approx(5 * MS, abs=10_000)

    def test_the_remaining_time_of_an_expired_timer_is_negative(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        timer.start(MS)
        guest.kernel.run(0.5)
        assert timer.do("__hrtimer_get_remaining", 0) < 0

    def test_a_timer_that_is_set_up_on_the_stack_works_like_another(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        function = guest.kernel.memory.u64(timer.address + guest.kernel.types.offset("hrtimer", "function"))
        timer.do("hrtimer_setup_on_stack", function, CLOCK_MONOTONIC, MODE_REL)
        due = timer.start(MS)
        guest.kernel.run(0.01)
        assert timer.fired == [due]

    def test_the_time_in_a_callback_is_that_of_the_timers_clock(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        seen: list[int] = []
        timer.then = lambda: seen.append(timer.do("hrtimer_cb_get_time")) or NORESTART
        due = timer.start(MS)
        guest.kernel.run(0.01)
        assert seen == [due]

    def test_a_timer_on_the_stack_works_like_another(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        function = guest.kernel.memory.u64(timer.address + guest.kernel.types.offset("hrtimer", "function"))
        timer.do("hrtimer_init_on_stack", CLOCK_MONOTONIC, MODE_REL)
        guest.kernel.hrtimers.set_function(timer.address, function)
        timer.start(MS)
        guest.kernel.run(0.01)
        assert len(timer.fired) == 1
        timer.do("destroy_hrtimer_on_stack")


class TestSleep:
    """schedule_hrtimeout() and its relatives: sleep in the state that the caller has set."""

    def sleep(
        self, guest: Guest, function: str, *arguments: int, expires: int | None
    ) -> list[tuple[int, int]]:
        """Have a task sleep; a list that is to hold its result and the nanoseconds it took."""
        k = guest.kernel
        results: Results = []
        pointer = guest.words(expires) if expires is not None else 0

        def body() -> None:
            begun = k.clock.now
            k.tasks.set_state(k.sched.task(), TASK_INTERRUPTIBLE)
            result = call(k, function, pointer, *arguments)
            results.append((result, k.clock.now - begun))

        self.task = start(k, "sleeper", body)
        k.run(0.001)
        return results

    SLEEPS = pytest.mark.parametrize(
        ("function", "arguments"),
        [
            ("schedule_hrtimeout", (MODE_REL,)),
            ("schedule_hrtimeout_range", (0, MODE_REL)),
            ("schedule_hrtimeout_range_clock", (0, MODE_REL, CLOCK_MONOTONIC)),
        ],
    )

    @SLEEPS
    def test_a_sleep_that_lasts_its_time_returns_zero(
        self, guest: Guest, function: str, arguments: tuple[int, ...]
    ) -> None:
        results = self.sleep(guest, function, *arguments, expires=20 * MS)
        assert results == []
        guest.kernel.run(1)
        ((result, took),) = results
        assert result == 0
        assert took == pytest.approx(20 * MS, abs=1000)

    @SLEEPS
    def test_a_sleep_that_a_signal_ends_returns_eintr(
        self, guest: Guest, function: str, arguments: tuple[int, ...]
    ) -> None:
        results = self.sleep(guest, function, *arguments, expires=20 * SECOND)
        kill(guest.kernel, self.task)
        guest.kernel.run(0.1)
        assert [result for result, _ in results] == [-EINTR]

    def test_a_timeout_of_zero_does_not_sleep(self, guest: Guest) -> None:
        assert self.sleep(guest, "schedule_hrtimeout", MODE_REL, expires=0) == [(0, 0)]

    def test_no_timeout_is_a_sleep_until_a_wakeup(self, guest: Guest) -> None:
        results = self.sleep(guest, "schedule_hrtimeout_range", 0, MODE_ABS, expires=None)
        guest.kernel.run(1000)
        assert results == []
        guest.kernel.sched.wake(self.task)
        guest.kernel.run(0.1)
        assert [result for result, _ in results] == [-EINTR]

    @pytest.mark.parametrize("clock", [CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_TAI])
    def test_an_absolute_timeout_is_of_the_given_clock(self, guest: Guest, clock: int) -> None:
        k = guest.kernel
        ahead = 0 if clock == CLOCK_MONOTONIC else k.timekeeping.real_offset
        results = self.sleep(
            guest, "schedule_hrtimeout_range_clock", 0, MODE_ABS, clock, expires=k.clock.now + ahead + 30 * MS
        )
        k.run(1)
        ((result, took),) = results
        assert result == 0
        assert took == pytest.approx(30 * MS, abs=MS)


class TestUserTimers:
    """hrtimer_start_range_ns_user(), v7.2: the caller itself acts if the time has come already."""

    def test_a_time_to_come_is_waited_for(self, guest: Guest) -> None:
        timer = HrTimer(guest)
        assert timer.do("hrtimer_start_range_ns_user", MS, 0, MODE_REL)
        guest.kernel.run(1)
        assert len(timer.fired) == 1

    def test_a_time_that_has_come_is_said_and_the_timer_is_not_started(self, guest: Guest) -> None:
        timer = HrTimer(guest, mode=MODE_ABS)
        guest.kernel.run(0.1)
        assert not timer.do("hrtimer_start_range_ns_user", MS, 0, MODE_ABS)
        assert not timer.do("hrtimer_active")
        guest.kernel.run(1)
        assert timer.fired == []


class Sleeper:
    """A struct hrtimer_sleeper, and a task that sleeps until its timer wakes it."""

    def __init__(self, guest: Guest, init: str, clock: int = CLOCK_MONOTONIC) -> None:
        self.k, self.init, self.clock = guest.kernel, init, clock
        self.address = guest.put(b"\xff" * self.k.types.sizeof("hrtimer_sleeper"))
        self.task_at = self.address + self.k.types.offset("hrtimer_sleeper", "task")
        self.woken: list[int] = []

    def sleep(self, ns: int) -> None:
        """do_nanosleep(): in the current task."""
        k = self.k
        call(k, self.init, self.address, self.clock, MODE_ABS)
        assert k.memory.u64(self.task_at) == k.sched.task().address
        k.hrtimers.set_expires(self.address, k.hrtimers.now(self.address) + ns)
        k.tasks.set_state(k.sched.task(), TASK_INTERRUPTIBLE)
        call(k, "hrtimer_sleeper_start_expires", self.address, MODE_ABS)
        k.sched.schedule()
        self.woken.append(k.clock.now)


class TestSleepers:
    @pytest.fixture
    def kernel(self) -> Iterator[Core]:
        size = layouts().sizeof("hrtimer")
        with kernel_with(hrtimer_sleeper={"timer": size, "task": 8}) as k:
            yield k

    @pytest.mark.parametrize("clock", [CLOCK_MONOTONIC, CLOCK_REALTIME])
    @pytest.mark.parametrize(
        "init",
        ["hrtimer_init_sleeper", "hrtimer_init_sleeper_on_stack", "hrtimer_setup_sleeper_on_stack"],
    )
    def test_a_sleepers_timer_wakes_its_task_and_forgets_it(
        self, kernel: Core, guest: Guest, init: str, clock: int
    ) -> None:
        sleeper, begun = Sleeper(guest, init, clock), kernel.clock.now
        start(kernel, "sleeper", lambda: sleeper.sleep(20 * MS))
        kernel.run(0.019)
        assert sleeper.woken == []
        kernel.run(0.1)
        assert sleeper.woken == [pytest.approx(begun + 20 * MS, abs=MS)]
        assert kernel.memory.u64(sleeper.task_at) == 0, "so that it is known to have been the timer"

    def test_what_another_has_woken_is_woken_by_the_timer_no_more(self, kernel: Core, guest: Guest) -> None:
        sleeper = Sleeper(guest, "hrtimer_init_sleeper")
        task = start(kernel, "sleeper", lambda: (sleeper.sleep(20 * MS), kernel.sched.schedule()))
        kernel.run(0.01)
        kernel.memory.set_u64(sleeper.task_at, 0)
        assert guest.call_int("hrtimer_wakeup", sleeper.address) == NORESTART
        kernel.run(0.1)
        assert sleeper.woken == []
        kernel.sched.wake(task)
        kernel.run(0.1)
        assert len(sleeper.woken) == 1
