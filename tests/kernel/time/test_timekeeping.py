"""Clocks, conversions and sleeps; tests/golden has what modules see of them."""

from __future__ import annotations

import datetime as dt
from errno import EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest
from tests.kernel.structs import kernel_with
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core
from ukmod.kernel.preempt_count import PreemptCount
from ukmod.kernel.time.hrtimer import CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_TAI
from ukmod.kernel.time.time import KTIME_MAX, civil_from_days, days_from_civil, load_timespec
from ukmod.kernel.time.timekeeping import BOOT_TIME

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


def test_polling_jiffies_ends(kernel: Core) -> None:
    address = kernel.symbols.address("jiffies") & 0xFFFF_FFFF
    load = kernel.cpu.stubs.add_native(_LOAD_JIFFIES + address.to_bytes(4, "little") + b"\xc3")
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
        ("msleep", (20,), 20e6, 24.1e6),
        ("schedule_timeout_uninterruptible", (5,), 20e6, 20.1e6),
        ("usleep_range_state", (100, 200, 2), 100e3, 200e3),
        ("__udelay", (50,), 50e3, 50e3),
        ("__const_udelay", (50 * 0x10C7,), 49e3, 51e3),
        ("__ndelay", (70,), 70, 70),
        ("__delay", (70,), 70, 70),
        ("usleep_range", (100, 200), 100e3, 200e3),
    ],
)
def test_sleeps_last_as_long_as_they_say(
    kernel: Core, function: str, arguments: tuple[int, ...], least: float, most: float
) -> None:
    took: list[int] = []

    def body() -> int:
        kernel.clock.now += 3 * kernel.clock.tick // 4  # not at a tick
        begun = kernel.clock.now
        call(kernel, function, *arguments)
        took.append(kernel.clock.now - begun)
        return 0

    kernel.run_task("t", body)
    assert least <= took[0] <= most


class Timespec:
    """A struct timespec64 in guest memory."""

    def __init__(self, guest: Guest, seconds: int = 0, ns: int = 0) -> None:
        self.guest, self.address = guest, guest.words(seconds, ns)

    def ns(self) -> int:
        """Its value in nanoseconds."""
        return load_timespec(self.guest.kernel, self.address)

    def filled_by(self, function: str) -> int:
        """The value that a function stores, in nanoseconds."""
        self.guest.call(function, self.address)
        return self.ns()


NEAR = 100_000
"""Nanoseconds that pass between two readings in a test."""
_OFFSETS = {"real": 0, "boot": 1, "tai": 2}  # enum tk_offsets


class TestClocks:
    """Documentation/core-api/timekeeping.rst."""

    @pytest.fixture(autouse=True)
    def passed(self, kernel: Core) -> None:
        kernel.run(12.345)

    @pytest.mark.parametrize(
        "function",
        [
            *("ktime_get", "ktime_get_raw", "ktime_get_mono_fast_ns", "ktime_get_raw_fast_ns"),
            "ktime_get_boot_fast_ns",
        ],
    )
    def test_the_monotonic_clocks_count_from_boot(self, guest: Guest, function: str) -> None:
        first, second = guest.call(function), guest.call(function)
        assert 12.345e9 <= first < second <= 12.345e9 + NEAR

    @pytest.mark.parametrize("function", ["ktime_get_real_fast_ns", "ktime_get_tai_fast_ns"])
    def test_the_wall_clocks_count_from_1970(self, guest: Guest, function: str) -> None:
        assert guest.call(function) == pytest.approx(BOOT_TIME * 10**9 + 12_345_000_000, abs=NEAR)

    @pytest.mark.parametrize("clock", ["real", "boot", "tai"])
    def test_a_monotonic_time_is_converted_to_another_clock(self, guest: Guest, clock: str) -> None:
        ahead = 0 if clock == "boot" else BOOT_TIME * 10**9
        which, now = _OFFSETS[clock], guest.kernel.clock.now
        assert guest.call("ktime_mono_to_any", 1000, which) == 1000 + ahead
        assert guest.call("ktime_get_with_offset", which) == pytest.approx(now + ahead, abs=NEAR)

    def test_a_coarse_clock_shows_the_time_of_the_last_tick(self, guest: Guest) -> None:
        tick = guest.kernel.clock.tick
        coarse = guest.call("ktime_get_coarse_with_offset", _OFFSETS["boot"])
        assert coarse % tick == 0
        assert 0 <= guest.kernel.clock.now - coarse < tick + NEAR

    @pytest.mark.parametrize(
        ("function", "ahead", "coarse"),
        [
            ("ktime_get_ts64", 0, False),
            ("ktime_get_raw_ts64", 0, False),
            ("ktime_get_real_ts64", BOOT_TIME, False),
            ("ktime_get_coarse_ts64", 0, True),
            ("ktime_get_coarse_real_ts64", BOOT_TIME, True),
        ],
    )
    def test_a_timespec_holds_the_time_of_its_clock(
        self, guest: Guest, function: str, ahead: int, coarse: bool
    ) -> None:
        now, tick = guest.kernel.clock.now, guest.kernel.clock.tick
        expected = (now // tick * tick if coarse else now) + ahead * 10**9
        assert Timespec(guest).filled_by(function) == pytest.approx(expected, abs=NEAR)

    @pytest.mark.parametrize(
        ("clock", "ahead"),
        [(CLOCK_REALTIME, BOOT_TIME), (CLOCK_TAI, BOOT_TIME), (CLOCK_MONOTONIC, 0), (CLOCK_BOOTTIME, 0)],
    )
    def test_a_timespec_is_filled_from_the_clock_with_a_number(
        self, guest: Guest, clock: int, ahead: int
    ) -> None:
        now, ts = guest.kernel.clock.now, Timespec(guest)
        guest.call("ktime_get_clock_ts64", clock, ts.address)
        assert ts.ns() == pytest.approx(now + ahead * 10**9, abs=NEAR)

    def test_a_snapshot_holds_the_clocks_at_one_moment(self) -> None:
        """struct system_time_snapshot, with the time since boot from v6.8 on."""
        members = {"cycles": 8, "real": 8, "boot": 8, "raw": 8, "cs_id": 4, "clock_was_set_seq": 4}
        with kernel_with(system_time_snapshot=members) as k:
            k.run(12.345)
            guest = Guest(k)
            at, now = guest.put(b"\xff" * 40), k.clock.now
            guest.call("ktime_get_snapshot", at)
            cycles, real, boot, raw, rest = (k.memory.u64(at + 8 * n) for n in range(5))
        assert raw == pytest.approx(now, abs=NEAR)
        assert (cycles, boot, real, rest) == (raw, raw, raw + BOOT_TIME * 10**9, 0)

    @pytest.mark.parametrize(("clock", "ahead"), [(CLOCK_REALTIME, BOOT_TIME), (CLOCK_MONOTONIC, 0)])
    def test_a_snapshot_holds_the_clock_that_is_asked_for(self, clock: int, ahead: int) -> None:
        """Since v7.3 it has one clock, and whether there is such a clock."""
        members = {"cycles": 8, "systime": 8, "monoraw": 8, "cs_id": 4, "valid": 1}
        with kernel_with(system_time_snapshot=members) as k:
            guest = Guest(k)
            at, now = guest.put(b"\xff" * 40), k.clock.now
            guest.call("ktime_get_snapshot_id", clock, at)
            cycles, system, raw, rest = (k.memory.u64(at + 8 * n) for n in range(4))
        assert raw == cycles == pytest.approx(now, abs=NEAR)
        assert system == raw + ahead * 10**9
        assert rest & 0xFF_FFFF_FFFF == 1 << 32

    def test_seconds_are_rounded_down(self, guest: Guest) -> None:
        assert guest.call("ktime_get_seconds") == 12
        assert guest.call("ktime_get_real_seconds") == BOOT_TIME + 12

    def test_the_time_of_boot_does_not_change_as_time_passes(self, guest: Guest) -> None:
        assert Timespec(guest).filled_by("getboottime64") == BOOT_TIME * 10**9

    def test_the_clocks_have_nanoseconds(self, guest: Guest) -> None:
        assert guest.call("ktime_get_resolution_ns") == 1

    def test_get_jiffies_64_is_the_tick_counter(self, guest: Guest) -> None:
        assert guest.call("get_jiffies_64") == guest.kernel.clock.jiffies


class TestSettingTheClock:
    def test_the_wall_clock_shows_the_time_that_was_set(self, guest: Guest) -> None:
        before = guest.kernel.clock.now
        assert guest.call_int("do_settimeofday64", Timespec(guest, 2_000_000_000, 5).address) == 0
        assert guest.call("ktime_get_real_seconds") == 2_000_000_000
        assert guest.call("ktime_get") == pytest.approx(before, abs=NEAR), "the monotonic one does not jump"

    @pytest.mark.parametrize(
        ("seconds", "ns"), [(-1, 0), (2_000_000_000, -1), (2_000_000_000, 10**9), (2**63 // 10**9, 0)]
    )
    def test_a_time_that_cannot_be_is_refused(self, guest: Guest, seconds: int, ns: int) -> None:
        """timespec64_valid_settod()."""
        assert guest.call_int("do_settimeofday64", Timespec(guest, seconds, ns).address) == -EINVAL
        assert guest.call("ktime_get_real_seconds") == BOOT_TIME

    def test_a_time_that_puts_the_boot_before_1970_is_refused(self, kernel: Core, guest: Guest) -> None:
        kernel.run(10)
        assert guest.call_int("do_settimeofday64", Timespec(guest, 9, 0).address) == -EINVAL


class TestRounding:
    """round_jiffies_common(): less than a quarter of a second past a full one is rounded down, at 250 Hz."""

    BASE = 1 << 33
    """A full second, far in the future."""

    def full(self, k: Core) -> int:
        return self.BASE // k.clock.hz * k.clock.hz

    @pytest.mark.parametrize("prefix", ["", "__"])
    @pytest.mark.parametrize(
        ("ticks", "near", "up"), [(0, 0, 250), (61, 0, 250), (62, 250, 250), (249, 250, 250)]
    )
    def test_jiffies_are_rounded_to_a_full_second(
        self, guest: Guest, prefix: str, ticks: int, near: int, up: int
    ) -> None:
        full, now = self.full(guest.kernel), guest.kernel.clock.jiffies
        for suffix, rounded in (("", near), ("_up", up)):
            assert guest.call(f"{prefix}round_jiffies{suffix}", full + ticks) == full + rounded
            relative = guest.call(f"{prefix}round_jiffies{suffix}_relative", full + ticks - now)
            assert relative == full + rounded - now

    def test_a_tick_is_never_rounded_into_the_past(self, kernel: Core, guest: Guest) -> None:
        kernel.clock.advance_to(kernel.clock.time_of(self.full(kernel) + 30))
        soon = self.full(kernel) + 40
        assert guest.call("round_jiffies", soon) == soon


class TestConversions:
    def test_a_date_is_converted_to_seconds_and_back(self, kernel: Core, guest: Guest) -> None:
        when = dt.datetime(2024, 2, 29, 23, 59, 58, tzinfo=dt.UTC)
        seconds = guest.call("mktime64", 2024, 2, 29, 23, 59, 58)
        assert seconds == when.timestamp()
        tm = guest.put(b"", kernel.types.sizeof("tm"))
        guest.call("time64_to_tm", seconds, 0, tm)
        sec, minute, hour, day, month = (kernel.memory.u32(tm + 4 * n) for n in range(5))
        assert (month + 1, day, hour, minute, sec) == (2, 29, 23, 59, 58)
        offset = kernel.types.offset
        assert kernel.memory.u64(tm + offset("tm", "tm_year")) == 124
        assert kernel.memory.u32(tm + offset("tm", "tm_wday")) == 4, "a Thursday"
        assert kernel.memory.u32(tm + offset("tm", "tm_yday")) == 59

    @pytest.mark.parametrize(
        ("function", "argument", "result"),
        [
            ("jiffies64_to_nsecs", 3, 12_000_000),
            ("jiffies64_to_msecs", 3, 12),
            ("nsecs_to_jiffies64", 11_999_999, 2),
            ("jiffies_64_to_clock_t", 5, 2),
        ],
    )
    def test_64_bit_tick_counts_are_rounded_down(
        self, guest: Guest, function: str, argument: int, result: int
    ) -> None:
        assert guest.call(function, argument) == result

    def test_timespecs_are_rounded_up_to_ticks(self, guest: Guest) -> None:
        assert guest.call("timespec64_to_jiffies", Timespec(guest, 1, 1).address) == 251
        value = Timespec(guest)
        guest.call("jiffies_to_timespec64", 251, value.address)
        assert value.ns() == 1_004_000_000

    @pytest.mark.parametrize("ns", [-1, 10**9, 2 * 10**9 + 5])
    def test_a_timespec_is_normalised(self, guest: Guest, ns: int) -> None:
        value = Timespec(guest)
        guest.call("set_normalized_timespec64", value.address, 7, ns)
        assert value.ns() == 7 * 10**9 + ns
        assert 0 <= guest.kernel.memory.u64(value.address + 8) < 10**9

    @pytest.mark.parametrize(("time", "divisor", "result"), [(7, 2, 3), (-7, 2, -3), (-7, -2, 3)])
    def test_ktime_divns_rounds_towards_zero(
        self, guest: Guest, time: int, divisor: int, result: int
    ) -> None:
        assert guest.call("__ktime_divns", time, divisor) == result

    def test_ktime_add_safe_stops_at_the_largest_time(self, guest: Guest) -> None:
        assert guest.call("ktime_add_safe", 3, 4) == 7
        assert guest.call("ktime_add_safe", KTIME_MAX - 3, 4) == KTIME_MAX


def test_interrupts_come_while_a_task_spins_unless_it_disabled_them(kernel: Core, guest: Guest) -> None:
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
    assert seen == [f"{PreemptCount().hardirq_offset:#x}", "enabled", "disabled", "late"]


def test_a_grace_period_waits_for_readers(kernel: Core) -> None:
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


def test_complete_lets_one_go_and_complete_all_everyone(kernel: Core, guest: Guest) -> None:
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
