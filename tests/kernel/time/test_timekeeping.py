"""Clocks, conversions and sleeps; tests/golden has what modules see of them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Kernel
from ukmod.kernel.softirq import HARDIRQ_OFFSET
from ukmod.kernel.time.time import civil_from_days, days_from_civil

_LOAD_JIFFIES = b"\x48\x8b\x04\x25"  # mov jiffies,%rax


@given(st.dates())
def test_dates_agree_with_the_calendar(day: dt.date) -> None:
    days = (day - dt.date(1970, 1, 1)).days
    assert civil_from_days(days) == (day.year, day.month, day.day)
    assert days_from_civil(day.year, day.month, day.day) == days


@pytest.mark.parametrize(
    ("function", "argument", "result"),
    [
        ("jiffies_to_msecs", 1, 4),
        ("jiffies_to_usecs", 3, 12_000),
        ("__msecs_to_jiffies", 1, 1),
        ("__msecs_to_jiffies", 1000, 250),
        ("__msecs_to_jiffies", 0xFFFF_FFFF, (2**63 - 1) // 2 - 1),
        ("__usecs_to_jiffies", 4001, 2),
        ("__usecs_to_jiffies", 0xFFFF_FFFF, (2**63 - 1) // 2 - 1),
        ("jiffies_to_clock_t", 250, 100),
        ("jiffies_to_clock_t", 2**63 - 1, (2**64 - 4_000_000) // 10_000_000),  # 64 bits of nanoseconds
        ("clock_t_to_jiffies", 100, 250),
        ("nsecs_to_jiffies", 8_000_000, 2),
    ],
)
def test_conversions_at_250_hz(guest: Guest, function: str, argument: int, result: int) -> None:
    assert guest.call(function, argument) == result


def test_polling_jiffies_ends(kernel: Kernel) -> None:
    address = kernel.symbols.address("jiffies") & 0xFFFF_FFFF
    load = kernel.cpu.add_native(_LOAD_JIFFIES + address.to_bytes(4, "little") + b"\xc3")
    seen: list[int] = []

    def body() -> int:
        end = kernel.cpu.call(load) + 250
        while not seen or seen[-1] < end:
            seen.append(kernel.cpu.call(load))
        return 0

    kernel.run_task("poller", body)
    assert seen == sorted(seen)
    assert len(seen) < 1000


@pytest.mark.parametrize(
    ("function", "arguments", "least", "most"),
    [
        ("msleep", (20,), 20e6, 24e6),
        ("usleep_range_state", (100, 200, 2), 100e3, 200e3),
        ("__udelay", (50,), 50e3, 50e3),
        ("__const_udelay", (50 * 0x10C7,), 49e3, 51e3),
        ("__ndelay", (70,), 70, 70),
    ],
)
def test_sleeps_last_as_long_as_they_say(
    kernel: Kernel, function: str, arguments: tuple[int, ...], least: float, most: float
) -> None:
    took: list[int] = []

    def body() -> int:
        begun = kernel.clock.now
        call(kernel, function, *arguments)
        took.append(kernel.clock.now - begun)
        return 0

    kernel.run_task("t", body)
    assert least <= took[0] <= most


def test_interrupts_come_while_a_task_spins_unless_it_disabled_them(kernel: Kernel, guest: Guest) -> None:
    lock = guest.words(0)
    seen: list[str] = []

    def spin(name: str) -> None:
        call(kernel, "__udelay", 5000)
        seen.append(name)

    def body() -> None:
        kernel.clock.at(kernel.clock.now + 1000, lambda: seen.append(f"{kernel.percpu.preempt_count():#x}"))
        spin("enabled")
        flags = call(kernel, "_raw_spin_lock_irqsave", lock)
        kernel.clock.at(kernel.clock.now + 1000, lambda: seen.append("late"))
        spin("disabled")
        call(kernel, "_raw_spin_unlock_irqrestore", lock, flags)

    start(kernel, "spinner", body)
    kernel.run(1)
    assert seen == [f"{HARDIRQ_OFFSET:#x}", "enabled", "disabled", "late"]


def test_a_grace_period_waits_for_readers(kernel: Kernel) -> None:
    seen: list[str] = []

    def reader() -> None:
        call(kernel, "__rcu_read_lock")
        call(kernel, "schedule_timeout_uninterruptible", 50)
        seen.append("reader leaves")
        call(kernel, "__rcu_read_unlock")

    start(kernel, "reader", reader)
    kernel.run(0.01)
    start(kernel, "updater", lambda: (call(kernel, "synchronize_rcu"), seen.append("synchronized")))
    kernel.run(1)
    assert seen == ["reader leaves", "synchronized"]


def test_complete_lets_one_go_and_complete_all_everyone(kernel: Kernel, guest: Guest) -> None:
    size = kernel.types.sizeof("completion")
    x, seen = guest.put(bytes(size)), []
    for name in "abc":
        start(kernel, name, lambda name=name: (call(kernel, "wait_for_completion", x), seen.append(name)))
    kernel.run(0.01)
    guest.call("complete", x)
    kernel.run(0.01)
    assert seen == ["a"]
    assert guest.call("completion_done", x) == 0
    guest.call("complete_all", x)
    kernel.run(0.01)
    assert seen == ["a", "b", "c"]
    assert guest.call("wait_for_completion_timeout", x, 7) == 7
