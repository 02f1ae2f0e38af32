"""Conversions between the units of time: kernel/time/time.c, timeconv.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.x86.traps import divide_error
from ukmod.machine.abi import S64, Int, Long, Ptr, UInt, ULong
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

NSEC_PER_USEC: Final = 1_000
NSEC_PER_MSEC: Final = 1_000_000
USER_HZ: Final = 100
"""The unit of clock_t, a constant of the system call interface."""
MAX_JIFFY_OFFSET: Final = ((1 << 63) - 1 >> 1) - 1
KTIME_MAX: Final = (1 << 63) - 1
_MASK32: Final = 0xFFFF_FFFF
_DAY: Final = 86_400

NS_TO_TIMESPEC64: Final = bytes.fromhex(
    "4889f8"  # mov %rdi,%rax
    "4899"  # cqo
    "b900ca9a3b"  # mov $1000000000,%ecx
    "48f7f9"  # idiv %rcx
    "4885d2"  # test %rdx,%rdx
    "7906"  # jns 1f
    "4801ca"  # add %rcx,%rdx
    "48ffc8"  # dec %rax
    "c3"  # 1: ret
)
"""ns_to_timespec64() in machine code, since it returns its struct in two registers."""


def load_timespec(k: Core, address: int) -> int:
    """timespec64_to_ns()."""
    layout = Layout(k.types, "timespec64")
    return k.memory.s64(address + layout.tv_sec) * NSEC_PER_SEC + k.memory.s64(address + layout.tv_nsec)


def store_timespec(k: Core, address: int, ns: int) -> None:
    """``*ts = ns_to_timespec64(ns)``."""
    layout = Layout(k.types, "timespec64")
    seconds, rest = divmod(ns, NSEC_PER_SEC)
    k.memory.set_u64(address + layout.tv_sec, seconds)
    k.memory.set_u64(address + layout.tv_nsec, rest)


def civil_from_days(days: int) -> tuple[int, int, int]:
    """The date ``days`` days after 1970-01-01 in the proleptic Gregorian calendar: year, month, day."""
    # Count in eras of 400 years that begin on 1 March, so that the leap day is the last day of a year.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    return era * 400 + year + (month >= 10), (month + 2) % 12 + 1, day + 1


def days_from_civil(year: int, month: int, day: int) -> int:
    """The number of days from 1970-01-01 to the given date."""
    year -= month <= 2
    era, year = divmod(year, 400)
    days = 365 * year + year // 4 - year // 100 + (153 * ((month + 9) % 12) + 2) // 5 + day
    return era * 146_097 + days - 719_469


def msecs_to_jiffies(hz: int, msecs: int) -> int:
    """The number of ticks that last at least ``msecs`` milliseconds."""
    if msecs & 0x8000_0000:
        return MAX_JIFFY_OFFSET
    return -(-msecs * hz // 1000)


@export(native=True)
def jiffies_to_msecs(k: Core, j: ULong) -> UInt:
    """``unsigned int jiffies_to_msecs(const unsigned long j)``."""
    return -(-j * 1000 // k.clock.hz) & _MASK32


@export(native=True)
def jiffies_to_usecs(k: Core, j: ULong) -> UInt:
    """``unsigned int jiffies_to_usecs(const unsigned long j)``."""
    return j * 1_000_000 // k.clock.hz & _MASK32


@export("__msecs_to_jiffies", native=True)
def kernel_msecs_to_jiffies(k: Core, m: UInt) -> ULong:
    """``unsigned long __msecs_to_jiffies(const unsigned int m)``."""
    return msecs_to_jiffies(k.clock.hz, m)


@export("__usecs_to_jiffies", native=True)
def usecs_to_jiffies(k: Core, u: UInt) -> ULong:
    """``unsigned long __usecs_to_jiffies(const unsigned int u)``."""
    if u > jiffies_to_usecs(k, MAX_JIFFY_OFFSET) & _MASK32:
        return MAX_JIFFY_OFFSET
    return -(-u * k.clock.hz // 1_000_000)


@export(native=True)
def timespec64_to_jiffies(k: Core, value: Ptr) -> ULong:
    """``unsigned long timespec64_to_jiffies(const struct timespec64 *)``."""
    seconds = _max_sec_in_jiffies(k)
    if k.memory.u64(value + Layout(k.types, "timespec64").tv_sec) >= seconds:
        return seconds * k.clock.hz
    return -(-load_timespec(k, value) // k.clock.tick)


def _max_sec_in_jiffies(k: Core) -> int:
    """MAX_SEC_IN_JIFFIES, the limit up to which the kernel's scaled arithmetic does not overflow."""
    shift = 32 - k.clock.hz.bit_length()  # SEC_JIFFIE_SC: HZ then just fits into 32 bits
    halves = (MAX_JIFFY_OFFSET >> shift) * k.clock.tick * 2
    return (halves + NSEC_PER_SEC // 2) // NSEC_PER_SEC - 1


@export(native=True)
def jiffies_to_timespec64(k: Core, jiffies: ULong, value: Ptr) -> None:
    """void jiffies_to_timespec64(const unsigned long jiffies, struct timespec64 *)."""
    store_timespec(k, value, jiffies * k.clock.tick & MASK64)


@export("jiffies_to_clock_t", "jiffies_64_to_clock_t", native=True)
def jiffies_to_clock_t(k: Core, x: ULong) -> ULong:
    """clock_t jiffies_to_clock_t(unsigned long x)."""
    unit = NSEC_PER_SEC // USER_HZ
    if k.clock.tick % unit == 0:
        return x * (k.clock.tick // unit)
    return (x * k.clock.tick & MASK64) // unit


@export(native=True)
def clock_t_to_jiffies(k: Core, x: ULong) -> ULong:
    """``unsigned long clock_t_to_jiffies(unsigned long x)``."""
    hz = k.clock.hz
    if hz % USER_HZ == 0:
        return MASK64 if x >= MASK64 // (hz // USER_HZ) else x * (hz // USER_HZ)
    return MASK64 if x >= MASK64 // hz * USER_HZ else (x * hz & MASK64) // USER_HZ


@export(native=True)
def jiffies64_to_nsecs(k: Core, j: ULong) -> ULong:
    """``u64 jiffies64_to_nsecs(u64 j)``."""
    return j * k.clock.tick


@export(native=True)
def jiffies64_to_msecs(k: Core, j: ULong) -> ULong:
    """``u64 jiffies64_to_msecs(u64 j)``."""
    return j * 1000 // k.clock.hz


@export("nsecs_to_jiffies64", "nsecs_to_jiffies", gpl=True, native=True)
def nsecs_to_jiffies(k: Core, n: ULong) -> ULong:
    """``unsigned long nsecs_to_jiffies(u64 n)``."""
    return n // k.clock.tick


@export(native=True)
def set_normalized_timespec64(k: Core, ts: Ptr, seconds: S64, ns: S64) -> None:
    """void set_normalized_timespec64(struct timespec64 *, time64_t sec, s64 nsec)."""
    store_timespec(k, ts, seconds * NSEC_PER_SEC + ns)


@export(native=True)
def mktime64(k: Core, year: UInt, month: UInt, day: UInt, hour: UInt, minute: UInt, second: UInt) -> Long:
    """time64_t mktime64(year0, mon0, day, hour, min, sec)."""
    del k
    return days_from_civil(year, month, day) * _DAY + hour * 3600 + minute * 60 + second


@export(native=True)
def time64_to_tm(k: Core, seconds: S64, offset: Int, result: Ptr) -> None:
    """void time64_to_tm(time64_t totalsecs, int offset, struct tm *result)."""
    days, rest = divmod(seconds + offset, _DAY)
    year, month, day = civil_from_days(days)
    tm, store = Layout(k.types, "tm"), k.memory.set_u32
    store(result + tm.tm_hour, rest // 3600)
    store(result + tm.tm_min, rest // 60 % 60)
    store(result + tm.tm_sec, rest % 60)
    store(result + tm.tm_wday, (days + 4) % 7)
    store(result + tm.tm_mday, day)
    store(result + tm.tm_mon, month - 1)
    store(result + tm.tm_yday, days - days_from_civil(year, 1, 1))
    k.memory.set_u64(result + tm.tm_year, year - 1900)


@export("__ktime_divns", gpl=True, native=True)
def ktime_divns(k: Core, time: S64, divisor: S64) -> S64:
    """``s64 __ktime_divns(const ktime_t kt, s64 div)``: rounded towards zero."""
    if not divisor:
        divide_error(k)
    quotient = abs(time) // abs(divisor)
    return quotient if (time < 0) == (divisor < 0) else -quotient


@export(gpl=True, native=True)
def ktime_add_safe(k: Core, left: S64, right: S64) -> S64:
    """ktime_t ktime_add_safe(const ktime_t lhs, const ktime_t rhs): KTIME_MAX on overflow."""
    del k
    total = signed(left + right, 8)
    return total if total >= max(left, right, 0) else KTIME_MAX
