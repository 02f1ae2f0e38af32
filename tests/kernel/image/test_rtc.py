"""The real-time clock, as drivers/rtc/rtc-cmos.c uses it."""

from __future__ import annotations

import pytest

from ukmod.kernel.image.rtc import (
    B_24H,
    B_AIE,
    B_BINARY,
    B_SET,
    C_AF,
    C_IRQF,
    CENTURY,
    CMOS,
    D_VALID,
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    DRIVE_TYPES,
    HOURS,
    HOURS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    MONTH,
    REG_B,
    REG_C,
    REG_D,
    SECONDS,
    SECONDS_ALARM,
    YEAR,
    Rtc,
)
from ukmod.kernel.time.clock import NSEC_PER_SEC, Clock

BOOT = 1_709_251_198
"""2024-02-29 23:59:58, a Thursday."""
TIME = (CENTURY, YEAR, MONTH, DAY_OF_MONTH, HOURS, MINUTES, SECONDS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def interrupts() -> list[None]:
    """One element an interrupt."""
    return []


@pytest.fixture
def rtc(clock: Clock, interrupts: list[None]) -> Rtc:
    return Rtc(clock, BOOT, lambda: interrupts.append(None))


def get(rtc: Rtc, register: int) -> int:
    rtc.store(CMOS, 1, 0x80 | register)  # with the NMI masked
    return rtc.load(CMOS + 1, 1)


def put(rtc: Rtc, register: int, value: int) -> None:
    rtc.store(CMOS, 1, register)
    rtc.store(CMOS + 1, 1, value)


def pass_time(clock: Clock, seconds: int) -> None:
    end = clock.now + seconds * NSEC_PER_SEC
    while (when := clock.next_event()) is not None and when <= end:
        clock.advance_to(when)
        while (event := clock.due()) is not None:
            event.action()
    clock.advance_to(end)


def test_the_clock_tells_the_time_in_decimal_digits(rtc: Rtc, clock: Clock) -> None:
    assert [get(rtc, register) for register in TIME] == [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58]
    assert get(rtc, DAY_OF_WEEK) == 5
    clock.advance_to(2 * NSEC_PER_SEC)
    assert [get(rtc, register) for register in TIME] == [0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00]


def test_the_clock_tells_the_time_in_binary(rtc: Rtc) -> None:
    put(rtc, REG_B, B_24H | B_BINARY)
    assert [get(rtc, register) for register in TIME] == [20, 24, 2, 29, 23, 59, 58]


def test_the_clock_stands_still_while_it_is_set_and_goes_on_from_there(rtc: Rtc, clock: Clock) -> None:
    put(rtc, REG_B, B_24H | B_SET)
    for register, value in zip(TIME, (0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59), strict=True):
        put(rtc, register, value)
    clock.advance_to(5 * NSEC_PER_SEC)
    assert get(rtc, SECONDS) == 0x59
    put(rtc, REG_B, B_24H)
    clock.advance_to(6 * NSEC_PER_SEC)
    assert [get(rtc, register) for register in TIME] == [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]


def test_a_day_that_there_is_not_is_the_first_of_1970(rtc: Rtc) -> None:
    put(rtc, REG_B, B_24H | B_SET)
    put(rtc, MONTH, 0x13)
    put(rtc, REG_B, B_24H)
    assert [get(rtc, register) for register in TIME] == [0x19, 0x70, 0x01, 0x01, 0x00, 0x00, 0x00]


def test_the_alarm_interrupts_once_a_day(rtc: Rtc, clock: Clock, interrupts: list[None]) -> None:
    for register, value in ((SECONDS_ALARM, 0x03), (MINUTES_ALARM, 0x00), (HOURS_ALARM, 0x00)):
        put(rtc, register, value)
    put(rtc, REG_B, B_24H | B_AIE)
    pass_time(clock, 4)
    assert interrupts == []
    pass_time(clock, 1)
    assert interrupts == [None]
    assert get(rtc, REG_C) == C_IRQF | C_AF
    assert get(rtc, REG_C) == 0
    pass_time(clock, 24 * 3600)
    assert interrupts == [None, None]


def test_an_alarm_of_any_minute_and_hour_comes_each_minute(
    rtc: Rtc, clock: Clock, interrupts: list[None]
) -> None:
    for register, value in ((SECONDS_ALARM, 0x30), (MINUTES_ALARM, 0xFF), (HOURS_ALARM, 0xFF)):
        put(rtc, register, value)
    put(rtc, REG_B, B_24H | B_AIE)
    pass_time(clock, 180)
    assert len(interrupts) == 3


@pytest.mark.parametrize("second", [0x60, 0x99])
def test_an_alarm_at_a_time_that_there_is_not_never_comes(
    second: int, rtc: Rtc, clock: Clock, interrupts: list[None]
) -> None:
    put(rtc, SECONDS_ALARM, second)
    put(rtc, REG_B, B_24H | B_AIE)
    pass_time(clock, 2 * 24 * 3600)
    assert interrupts == []


def test_an_alarm_that_is_off_does_not_interrupt(rtc: Rtc, clock: Clock, interrupts: list[None]) -> None:
    put(rtc, REG_B, B_24H | B_AIE)
    put(rtc, REG_B, B_24H)
    pass_time(clock, 2 * 24 * 3600)
    assert interrupts == []


def test_the_ram_is_valid_and_knows_that_there_are_no_drives(rtc: Rtc) -> None:
    assert get(rtc, REG_D) == D_VALID
    assert get(rtc, DRIVE_TYPES) == 0
    put(rtc, 0x40, 0x5A)
    assert get(rtc, 0x40) == 0x5A
