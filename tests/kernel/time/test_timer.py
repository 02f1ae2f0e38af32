"""Timers that count in jiffies: include/linux/timer.h, kernel/time/timer.c."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call

from ukmod.errors import KernelPanic
from ukmod.kernel.core import Core
from ukmod.kernel.preempt_count import SOFTIRQ_OFFSET


class Timer:
    """A timer_list whose function notes when, and in what context, it was called."""

    def __init__(self, guest: Guest, init: str = "init_timer_key") -> None:
        self.guest, self.k = guest, guest.kernel
        self.fired: list[tuple[int, int]] = []
        self.then: Callable[[], object] = lambda: None
        self.address = guest.put(b"", self.k.types.sizeof("timer_list"))
        guest.call(init, self.address, guest.python(self._fire, 1), 0, 0, 0)

    def _fire(self, timer: int) -> int:
        assert timer == self.address
        self.fired.append((self.k.clock.jiffies, self.k.percpu.preempt_count()))
        self.then()
        return 0

    def set_expires(self, jiffies: int) -> None:
        """``timer->expires = jiffies``, as before add_timer()."""
        self.k.memory.set_u64(self.address + self.k.types.offset("timer_list", "expires"), jiffies)

    def mod(self, ticks: int, function: str = "mod_timer") -> int:
        """mod_timer(timer, jiffies + ticks), or a relative of that."""
        return self.do(function, self.k.clock.jiffies + ticks)

    def do(self, function: str, *arguments: int) -> int:
        """Call one of the functions that take a timer and return an int."""
        return self.guest.call_int(function, self.address, *arguments)


@pytest.fixture
def timer(guest: Guest) -> Timer:
    return Timer(guest)


DELETES = pytest.mark.parametrize(
    "function",
    [
        *("timer_delete", "del_timer", "timer_delete_sync", "del_timer_sync", "del_singleshot_timer_sync"),
        *("try_to_del_timer_sync", "timer_shutdown", "timer_shutdown_sync"),
    ],
)
SHUTDOWNS = pytest.mark.parametrize("function", ["timer_shutdown", "timer_shutdown_sync"])


class TestFiring:
    @pytest.mark.parametrize("init", ["init_timer_key", "timer_init_key", "init_timer_on_stack_key"])
    def test_a_timer_fires_once_at_its_tick_in_softirq_context(self, guest: Guest, init: str) -> None:
        timer, due = Timer(guest, init), guest.kernel.clock.jiffies + 10
        assert timer.do("mod_timer", due) == 0
        assert guest.kernel.timers.pending(timer.address)
        guest.kernel.run(1)
        assert timer.fired == [(due, SOFTIRQ_OFFSET + 1)], "the idle task is not preempted"
        assert not guest.kernel.timers.pending(timer.address)
        timer.do("destroy_timer_on_stack")

    @pytest.mark.parametrize(
        "add", [("add_timer",), ("add_timer_local",), ("add_timer_global",), ("add_timer_on", 0)]
    )
    def test_an_added_timer_fires_when_its_field_says(
        self, kernel: Core, timer: Timer, add: tuple[str, *tuple[int, ...]]
    ) -> None:
        due = kernel.clock.jiffies + 3
        timer.set_expires(due)
        timer.do(*add)
        kernel.run(1)
        assert [when for when, _ in timer.fired] == [due]

    def test_adding_a_timer_that_is_pending_is_warned_of(self, kernel: Core, timer: Timer) -> None:
        due = kernel.clock.jiffies + 3
        timer.do("mod_timer", due)
        timer.do("add_timer")
        assert [w.file for w in kernel.warnings] == ["kernel/time/timer.c"]
        kernel.run(1)
        assert [when for when, _ in timer.fired] == [due], "and it stays as it was"

    def test_a_timer_whose_tick_has_passed_fires_at_the_next(self, kernel: Core, timer: Timer) -> None:
        now = kernel.clock.jiffies
        timer.mod(-5)
        kernel.run(0.1)
        (fired,) = timer.fired
        assert now <= fired[0] <= now + 1

    def test_a_function_may_start_its_own_timer_again(self, kernel: Core, timer: Timer) -> None:
        begun = kernel.clock.jiffies

        def again() -> None:
            if len(timer.fired) < 3:
                kernel.timers.mod(timer.address, kernel.clock.jiffies + 10)

        timer.then = again
        timer.do("mod_timer", begun + 10)
        kernel.run(1)
        assert [when - begun for when, _ in timer.fired] == [10, 20, 30]

    def test_a_function_that_leaves_preemption_disabled_is_warned_of(
        self, kernel: Core, timer: Timer
    ) -> None:
        timer.then = lambda: kernel.percpu.add_preempt(1)
        timer.mod(1)
        kernel.run(1)
        (warning,) = kernel.warnings
        assert "preempt leak: 00000101 -> 00000102" in warning.message
        assert kernel.percpu.preempt_count() == 0


class TestModifying:
    @pytest.mark.parametrize(
        ("function", "ticks", "moved"),
        [
            ("mod_timer", 90, True),
            ("mod_timer", 20, True),
            ("mod_timer_pending", 90, True),
            ("timer_reduce", 90, False),
            ("timer_reduce", 20, True),
        ],
    )
    def test_a_pending_timer_is_moved(
        self, kernel: Core, timer: Timer, function: str, ticks: int, moved: bool
    ) -> None:
        due = kernel.clock.jiffies + 50
        timer.do("mod_timer", due)
        new = kernel.clock.jiffies + ticks
        assert timer.do(function, new) == 1
        kernel.run(1)
        assert [when for when, _ in timer.fired] == [new if moved else due]

    @pytest.mark.parametrize(
        ("function", "fires"), [("mod_timer", 1), ("mod_timer_pending", 0), ("timer_reduce", 1)]
    )
    def test_a_timer_that_is_not_pending_is_started_except_by_mod_timer_pending(
        self, kernel: Core, timer: Timer, function: str, fires: int
    ) -> None:
        assert timer.mod(5, function) == 0
        kernel.run(1)
        assert len(timer.fired) == fires


class TestDeleting:
    @DELETES
    def test_deleting_tells_whether_the_timer_was_pending(
        self, kernel: Core, timer: Timer, function: str
    ) -> None:
        timer.mod(10)
        assert timer.do(function) == 1
        assert not kernel.timers.pending(timer.address)
        assert timer.do(function) == 0
        kernel.run(1)
        assert timer.fired == []

    @DELETES
    def test_a_deleted_timer_may_be_started_again_unless_it_was_shut_down(
        self, kernel: Core, timer: Timer, function: str
    ) -> None:
        timer.mod(10)
        timer.do(function)
        assert timer.mod(10) == 0
        kernel.run(1)
        assert len(timer.fired) == ("shutdown" not in function)

    @SHUTDOWNS
    def test_a_timer_that_was_shut_down_may_be_set_up_again(
        self, kernel: Core, timer: Timer, function: str
    ) -> None:
        before = kernel.timers.function(timer.address)
        timer.do(function)
        timer.do("init_timer_key", before, 0, 0, 0)
        timer.mod(10)
        kernel.run(1)
        assert len(timer.fired) == 1

    @pytest.mark.parametrize("function", ["try_to_del_timer_sync", "timer_delete_sync_try"])
    def test_try_to_del_timer_sync_fails_while_the_function_runs(
        self, kernel: Core, timer: Timer, function: str
    ) -> None:
        seen: list[int] = []
        timer.then = lambda: seen.append(call(kernel, function, timer.address))
        timer.mod(1)
        kernel.run(1)
        assert seen == [-1]

    def test_a_function_may_delete_its_own_timer_but_not_wait_for_it(
        self, kernel: Core, timer: Timer
    ) -> None:
        seen: list[int] = []
        timer.then = lambda: seen.append(call(kernel, "timer_delete", timer.address))
        timer.mod(1)
        kernel.run(1)
        assert seen == [0]
        timer.then = lambda: call(kernel, "timer_delete_sync", timer.address)
        timer.mod(1)
        with pytest.raises(KernelPanic, match="LOCKUP"):
            kernel.run(1)
