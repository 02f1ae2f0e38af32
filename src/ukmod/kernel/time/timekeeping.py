"""Clocks other than the monotonic one (kernel/time/timekeeping.c), and the jiffies variable."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.module.symbols import DATA_BASE
from ukmod.kernel.time.clock import NSEC_PER_SEC, READ_COST_NS
from ukmod.kernel.time.time import KTIME_MAX, NS_TO_TIMESPEC64, load_timespec, store_timespec
from ukmod.machine.abi import S64, Int, Ptr, UInt, ULong
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

BOOT_TIME: Final = 1_704_067_200
"""When the machine boots, in seconds since 1970: 2024-01-01 00:00:00 UTC in every run."""
JIFFIES_AT: Final = DATA_BASE - PAGE_SIZE
TAI_OFFSET: Final = 0
"""Seconds that TAI is ahead of UTC: 0, as at boot, since user space does not set it."""
_PATIENCE: Final = 16
"""This many consecutive loads of jiffies, with no other clock read between, are a busy-wait loop."""

_SETTOD_SEC_MAX: Final = KTIME_MAX // NSEC_PER_SEC - 30 * 365 * 24 * 3600
"""TIME_SETTOD_SEC_MAX, include/linux/time64.h: 30 years before CLOCK_REALTIME overflows."""

# enum tk_offsets, include/linux/timekeeping.h
_REAL_CLOCKS: Final = (0, 11)
"""CLOCK_REALTIME and CLOCK_TAI."""
_TK_OFFS_REAL, _TK_OFFS_BOOT, _TK_OFFS_TAI = 0, 1, 2


class Timekeeping:
    """The clocks that differ from the monotonic one, and the jiffies variable."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.real_offset = BOOT_TIME * NSEC_PER_SEC
        """Nanoseconds from the monotonic clock to CLOCK_REALTIME."""
        self._last_load = -1
        self._loads = 0
        kernel.cpu.map_io(JIFFIES_AT, self._load_jiffies)
        for name in ("jiffies", "jiffies_64"):
            kernel.symbols.add_data(name, JIFFIES_AT)
        kernel.symbols.add_native("ns_to_timespec64", NS_TO_TIMESPEC64)

    def _load_jiffies(self, offset: int, size: int) -> int:
        """The value that guest code loads from the page at JIFFIES_AT; time passes, so that wait loops end.

        In a loop that does nothing but read jiffies, time passes faster and faster, up to a tick per round.
        """
        clock = self._k.clock
        self._loads = self._loads + 1 if clock.now == self._last_load else 0
        rounds = self._loads - _PATIENCE
        clock.now += min(READ_COST_NS << rounds, clock.tick) if rounds > 0 else READ_COST_NS
        self._last_load = clock.now
        return int.from_bytes(clock.jiffies.to_bytes(PAGE_SIZE, "little")[offset : offset + size], "little")

    def real(self) -> int:
        """CLOCK_REALTIME in nanoseconds since 1970."""
        return self._k.clock.read() + self.real_offset

    def coarse(self) -> int:
        """The monotonic clock at the last tick, in nanoseconds."""
        clock = self._k.clock
        return clock.read() // clock.tick * clock.tick

    def offset(self, which: int) -> int:
        """The offset of an enum tk_offsets clock from the monotonic one, in nanoseconds."""
        if which == _TK_OFFS_REAL:
            return self.real_offset
        return self.real_offset + TAI_OFFSET * NSEC_PER_SEC if which == _TK_OFFS_TAI else 0


@export("ktime_get", "ktime_get_raw", "ktime_get_mono_fast_ns", "ktime_get_raw_fast_ns", gpl=True)
def ktime_get(k: Core) -> S64:
    """ktime_t ktime_get(void)."""
    return k.clock.read()


@export("ktime_get_boot_fast_ns", gpl=True)
def ktime_get_boot_fast_ns(k: Core) -> ULong:
    """``u64 ktime_get_boot_fast_ns(void)``: equals the monotonic clock, as the machine is never suspended."""
    return k.clock.read()


@export("ktime_get_real_fast_ns", "ktime_get_tai_fast_ns", gpl=True)
def ktime_get_real_fast_ns(k: Core) -> ULong:
    """``u64 ktime_get_real_fast_ns(void)``."""
    return k.timekeeping.real()


@export(gpl=True)
def ktime_get_with_offset(k: Core, offset: Int) -> S64:
    """ktime_t ktime_get_with_offset(enum tk_offsets): ktime_get_real(), ktime_get_boottime(), ..."""
    return k.clock.read() + k.timekeeping.offset(offset)


@export(gpl=True)
def ktime_get_coarse_with_offset(k: Core, offset: Int) -> S64:
    """ktime_t ktime_get_coarse_with_offset(enum tk_offsets)."""
    return k.timekeeping.coarse() + k.timekeeping.offset(offset)


@export(gpl=True)
def ktime_mono_to_any(k: Core, time: S64, offset: Int) -> S64:
    """ktime_t ktime_mono_to_any(ktime_t tmono, enum tk_offsets)."""
    return time + k.timekeeping.offset(offset)


@export(gpl=True)
def ktime_get_resolution_ns(k: Core) -> UInt:
    """``u32 ktime_get_resolution_ns(void)``."""
    del k
    return 1


@export("ktime_get_seconds", gpl=True)
def ktime_get_seconds(k: Core) -> S64:
    """time64_t ktime_get_seconds(void)."""
    return k.clock.read() // NSEC_PER_SEC


@export("ktime_get_real_seconds", gpl=True)
def ktime_get_real_seconds(k: Core) -> S64:
    """time64_t ktime_get_real_seconds(void)."""
    return k.timekeeping.real() // NSEC_PER_SEC


@export("ktime_get_ts64", "ktime_get_raw_ts64", gpl=True)
def ktime_get_ts64(k: Core, ts: Ptr) -> None:
    """void ktime_get_ts64(struct timespec64 *)."""
    store_timespec(k, ts, k.clock.read())


@export()
def ktime_get_real_ts64(k: Core, ts: Ptr) -> None:
    """void ktime_get_real_ts64(struct timespec64 *)."""
    store_timespec(k, ts, k.timekeeping.real())


@export()
def ktime_get_coarse_ts64(k: Core, ts: Ptr) -> None:
    """void ktime_get_coarse_ts64(struct timespec64 *)."""
    store_timespec(k, ts, k.timekeeping.coarse())


@export()
def ktime_get_coarse_real_ts64(k: Core, ts: Ptr) -> None:
    """void ktime_get_coarse_real_ts64(struct timespec64 *)."""
    store_timespec(k, ts, k.timekeeping.coarse() + k.timekeeping.real_offset)


@export("ktime_get_clock_ts64", gpl=True)
def ktime_get_clock_ts64(k: Core, clock: Int, ts: Ptr) -> None:
    """void ktime_get_clock_ts64(clockid_t, struct timespec64 *): a clock of the kernel's own (v7.0)."""
    now = k.clock.read()
    store_timespec(k, ts, now + (k.timekeeping.real_offset if clock in _REAL_CLOCKS else 0))


@export(gpl=True)
def ktime_get_snapshot(k: Core, snapshot: Ptr) -> None:
    """void ktime_get_snapshot(struct system_time_snapshot *): the clocks at one moment; a cycle is 1 ns."""
    now = k.clock.read()
    _store_snapshot(k, snapshot, cycles=now, raw=now, boot=now, real=now + k.timekeeping.real_offset)


@export(gpl=True)
def ktime_get_snapshot_id(k: Core, clock: Int, snapshot: Ptr) -> None:
    """void ktime_get_snapshot_id(clockid_t, struct system_time_snapshot *): one of the clocks, since v7.3."""
    now = k.clock.read()
    time = now + (k.timekeeping.real_offset if clock in _REAL_CLOCKS else 0)
    _store_snapshot(k, snapshot, cycles=now, monoraw=now, systime=time, valid=1)


def _store_snapshot(k: Core, snapshot: int, **values: int) -> None:
    """Set those members of a struct system_time_snapshot that it has, and clear the others."""
    k.memory.fill(snapshot, 0, k.types.sizeof("system_time_snapshot"))
    for name, value in values.items():
        if k.types.has("system_time_snapshot", name):
            member = k.types.member("system_time_snapshot", name)
            k.memory.write(snapshot + member.offset, value.to_bytes(8, "little")[: member.size])


@export(gpl=True)
def getboottime64(k: Core, ts: Ptr) -> None:
    """void getboottime64(struct timespec64 *): CLOCK_REALTIME at boot."""
    store_timespec(k, ts, k.timekeeping.real_offset)


@export()
def get_jiffies_64(k: Core) -> ULong:
    """``u64 get_jiffies_64(void)``."""
    k.clock.read()
    return k.clock.jiffies


def _round(k: Core, j: int, *, up: bool) -> int:
    """round_jiffies_common() on CPU 0: round to a full second, so that imprecise timers fire together."""
    hz = k.clock.hz
    rest = j % hz
    rounded = j - rest if rest < hz // 4 and not up else j - rest + hz
    # Never move a timer into the past.
    return rounded if (k.clock.jiffies - rounded) & (1 << 63) else j


@export("round_jiffies", "__round_jiffies", gpl=True)
def round_jiffies(k: Core, j: ULong) -> ULong:
    """``unsigned long round_jiffies(unsigned long j)``."""
    return _round(k, j, up=False)


@export("round_jiffies_up", "__round_jiffies_up", gpl=True)
def round_jiffies_up(k: Core, j: ULong) -> ULong:
    """``unsigned long round_jiffies_up(unsigned long j)``."""
    return _round(k, j, up=True)


@export("round_jiffies_relative", "__round_jiffies_relative", gpl=True)
def round_jiffies_relative(k: Core, j: ULong) -> ULong:
    """``unsigned long round_jiffies_relative(unsigned long j)``."""
    now = k.clock.jiffies
    return _round(k, j + now, up=False) - now


@export("round_jiffies_up_relative", "__round_jiffies_up_relative", gpl=True)
def round_jiffies_up_relative(k: Core, j: ULong) -> ULong:
    """``unsigned long round_jiffies_up_relative(unsigned long j)``."""
    now = k.clock.jiffies
    return _round(k, j + now, up=True) - now


@export()
def do_settimeofday64(k: Core, ts: Ptr) -> Int:
    """``int do_settimeofday64(const struct timespec64 *)``: -EINVAL for what
    timespec64_valid_settod() refuses, and for a time that would put the boot before 1970.
    """
    seconds, ns = divmod(load_timespec(k, ts), NSEC_PER_SEC)
    nsec = k.memory.s64(ts + Layout(k.types, "timespec64").tv_nsec)
    offset = seconds * NSEC_PER_SEC + ns - k.clock.now
    if nsec != ns or not 0 <= seconds < _SETTOD_SEC_MAX or offset < 0:
        return -EINVAL
    k.timekeeping.real_offset = offset
    k.hrtimers.clock_was_set()
    return 0
