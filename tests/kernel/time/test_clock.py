"""Virtual time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ukmod.kernel.time.clock import NSEC_PER_SEC, Clock


def test_jiffies_begin_five_minutes_before_they_wrap() -> None:
    clock = Clock(hz=250)
    assert clock.jiffies == 2**32 - 300 * 250
    clock.advance_to(300 * NSEC_PER_SEC)
    assert clock.jiffies == 2**32


def test_reading_the_clock_moves_it_so_that_polling_ends() -> None:
    clock = Clock()
    assert clock.read() < clock.read()


def test_time_never_goes_back() -> None:
    clock = Clock()
    clock.advance_to(5)
    clock.advance_to(3)
    assert clock.now == 5


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans())))
def test_events_come_by_time_then_in_the_order_they_were_set(times: list[tuple[int, bool]]) -> None:
    clock, seen = Clock(), []
    for order, (when, cancelled) in enumerate(times):
        event = clock.at(when, lambda when=when, order=order: seen.append((when, order)))
        event.cancelled = cancelled
    clock.advance_to(100)
    while due := clock.due():
        due.action()
    assert seen == sorted((when, order) for order, (when, gone) in enumerate(times) if not gone)
    assert clock.next_event() is None


@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_a_tick_is_reached_exactly_when_the_counter_shows_it(now: int, ahead: int) -> None:
    clock = Clock()
    clock.advance_to(now)
    target = clock.jiffies + ahead
    when = clock.time_of(target)
    clock.advance_to(when - 1)
    assert clock.jiffies == target - 1
    clock.advance_to(when)
    assert clock.jiffies == target
