"""The real-time clock of a PC, an MC146818 with its CMOS RAM: rtc_cmos drives it, and alarmtimer asks for it.

It begins with the time at which the machine boots. Of its interrupts there is the alarm's: Linux takes no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ukmod.kernel.time.clock import NSEC_PER_SEC

if TYPE_CHECKING:
    from ukmod.kernel.time.clock import Clock, Event

CMOS: Final = 0x70
RTC_IRQ: Final = 8
SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, DAY_OF_WEEK = range(7)
DAY_OF_MONTH, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D = range(7, 14)
"""The registers of an MC146818; include/linux/mc146818rtc.h has these names."""
CENTURY: Final = 0x32
DRIVE_TYPES: Final = 0x10
"""The byte of the RAM with the types of two floppy drives: there are none."""
B_SET, B_AIE, B_BINARY, B_24H = 0x80, 0x20, 0x04, 0x02
C_IRQF, C_AF = 0x80, 0x20
D_VALID: Final = 0x80
_A_32KHZ: Final = 0x26
_ANY: Final = 0xC0
"""An alarm byte with these bits matches always."""
_SIZE: Final = 128
_DAY: Final = 24 * 3600


class Rtc:
    """The chip. ``interrupt`` is called when the alarm goes off, and ``boot`` is the time at clock 0."""

    def __init__(self, clock: Clock, boot: int, interrupt: Callable[[], None]) -> None:
        self.ports = range(CMOS, CMOS + 2)
        self._clock = clock
        self._boot = boot
        """Seconds since 1970."""
        self._interrupt = interrupt
        self._index = 0
        self._ram = bytearray(b"\xff" * _SIZE)
        self._ram[SECONDS:REG_D] = bytes(REG_D)
        self._ram[REG_A], self._ram[REG_B], self._ram[DRIVE_TYPES] = _A_32KHZ, B_24H, 0
        self._alarm: Event | None = None

    def load(self, port: int, size: int) -> int:
        """IN, of one byte whatever the size."""
        del size
        if port == self.ports[0]:
            return 0xFF
        if self._index == REG_C:  # to read it ends the interrupt
            flags, self._ram[REG_C] = self._ram[REG_C], 0
            return flags
        if self._index == REG_D:
            return D_VALID
        stopped = self._ram[REG_B] & B_SET
        value = None if stopped else self._times(self._now()).get(self._index)
        return self._ram[self._index] if value is None else self._coded(value)

    def store(self, port: int, size: int, value: int) -> None:
        """OUT: select a register, or write it. The upper bit of an index, which masks the NMI, is ignored."""
        del size
        if port == self.ports[0]:
            self._index = value & _SIZE - 1
            return
        before = self._ram[REG_B]
        if self._index == REG_B and value & ~before & B_SET:  # it stops, and shows the time until then
            for register, part in self._times(self._now()).items():
                self._ram[register] = self._coded(part)
        self._ram[self._index] = value & 0xFF
        if self._index == REG_B and before & ~value & B_SET:
            self._boot += int(self._written().timestamp()) - self._now()
        if self._index in (REG_B, SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM):
            self._set_alarm()

    # -- the time -----------------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._boot + self._clock.now // NSEC_PER_SEC

    def _times(self, now: int) -> dict[int, int]:
        """The values of the registers that count, at a time in seconds since 1970."""
        at = datetime.fromtimestamp(now, UTC)
        return {
            SECONDS: at.second, MINUTES: at.minute, HOURS: at.hour, DAY_OF_WEEK: at.isoweekday() % 7 + 1,
            DAY_OF_MONTH: at.day, MONTH: at.month, YEAR: at.year % 100, CENTURY: at.year // 100,
        }  # fmt: skip

    def _written(self) -> datetime:
        """The time that has been set; the first of 1970 if there is no such day."""
        names = (CENTURY, YEAR, MONTH, DAY_OF_MONTH, HOURS, MINUTES, SECONDS)
        century, year, month, day, *time = (self._decoded(self._ram[register]) for register in names)
        hour, minute, second = time
        try:
            return datetime(century * 100 + year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            return datetime.fromtimestamp(0, UTC)

    def _coded(self, value: int) -> int:
        return value if self._ram[REG_B] & B_BINARY else value // 10 << 4 | value % 10

    def _decoded(self, value: int) -> int:
        return value if self._ram[REG_B] & B_BINARY else (value >> 4) * 10 + (value & 0xF)

    # -- the alarm ----------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Wait for the next second that matches, if the alarm interrupts at all."""
        if self._alarm is not None:
            self._alarm.cancelled, self._alarm = True, None
        if self._ram[REG_B] & (B_AIE | B_SET) != B_AIE:
            return
        now = self._now()
        hours, minutes, seconds = (
            self._matching(register, values)
            for register, values in ((HOURS_ALARM, 24), (MINUTES_ALARM, 60), (SECONDS_ALARM, 60))
        )
        times = (3600 * hour + 60 * minute + second
                 for hour in hours for minute in minutes for second in seconds)  # fmt: skip
        after = min(((time - now - 1) % _DAY + 1 for time in times), default=None)
        if after is not None:
            self._alarm = self._clock.at((now + after - self._boot) * NSEC_PER_SEC, self._go_off)

    def _matching(self, register: int, count: int) -> Sequence[int]:
        """The values below ``count`` that an alarm byte stands for."""
        byte = self._ram[register]
        value = self._decoded(byte)
        return range(count) if byte & _ANY == _ANY else [value] if value < count else []

    def _go_off(self) -> None:
        self._alarm = None
        self._ram[REG_C] |= C_IRQF | C_AF
        self._interrupt()
        self._set_alarm()
