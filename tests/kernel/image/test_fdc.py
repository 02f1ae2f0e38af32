"""The floppy disk controller, as drivers/block/floppy.c asks it what it is."""

from __future__ import annotations

import pytest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel
from ukmod.kernel.image.fdc import (
    CONFIGURE,
    DIR,
    DOR,
    DSR,
    DSR_RESET,
    DUMPREG,
    FDC1,
    FIFO,
    INVALID,
    LOCK,
    MSR,
    MSR_BUSY,
    MSR_READ,
    MSR_READY,
    PARTID,
    PERPENDICULAR,
    SENSE_INTERRUPT,
    UNLOCK,
    VERSION,
    Fdc,
)


@pytest.fixture
def interrupts() -> list[None]:
    """One element an interrupt."""
    return []


@pytest.fixture
def fdc(interrupts: list[None]) -> Fdc:
    return Fdc(FDC1, lambda: interrupts.append(None))


def status(fdc: Fdc) -> int:
    return fdc.load(FDC1 + MSR, 1)


def command(fdc: Fdc, *code: int) -> list[int]:
    """What the controller says to a command."""
    for byte in code:
        assert status(fdc) & (MSR_READY | MSR_READ) == MSR_READY
        fdc.store(FDC1 + FIFO, 1, byte)
    said = []
    while status(fdc) == MSR_READY | MSR_BUSY | MSR_READ:
        said.append(fdc.load(FDC1 + FIFO, 1))
    assert status(fdc) == MSR_READY
    return said


def test_the_controller_identifies_itself_as_an_82078(fdc: Fdc) -> None:
    assert len(command(fdc, DUMPREG)) == 10, "an 8272A does not know the command"
    assert command(fdc, CONFIGURE, 0, 0x1A, 0) == []
    assert command(fdc, PERPENDICULAR, 0) == [], "an 82072A does not know the command"
    assert command(fdc, UNLOCK) == [0]
    assert command(fdc, PARTID)[0] >> 5 == 2
    assert command(fdc, VERSION) == [0x90]


def test_after_a_reset_it_interrupts_and_tells_of_four_drives(fdc: Fdc, interrupts: list[None]) -> None:
    fdc.store(FDC1 + DOR, 1, 0x08)
    assert status(fdc) == 0
    assert interrupts == []
    fdc.store(FDC1 + DOR, 1, 0x0C)
    assert interrupts == [None]
    assert [command(fdc, SENSE_INTERRUPT) for _ in range(4)] == [[0xC0 | unit, 0] for unit in range(4)]
    assert command(fdc, SENSE_INTERRUPT) == list(INVALID)
    fdc.store(FDC1 + DSR, 1, DSR_RESET)
    assert interrupts == [None, None]
    assert command(fdc, SENSE_INTERRUPT) == [0xC0, 0]


def test_interrupts_can_be_off(fdc: Fdc, interrupts: list[None]) -> None:
    fdc.store(FDC1 + DOR, 1, 0)
    fdc.store(FDC1 + DOR, 1, 0x04)
    assert fdc.load(FDC1 + DOR, 1) == 0x04
    assert interrupts == []


def test_a_reset_forgets_half_a_command(fdc: Fdc) -> None:
    fdc.store(FDC1 + FIFO, 1, CONFIGURE)
    assert status(fdc) == MSR_READY | MSR_BUSY
    fdc.store(FDC1 + DSR, 1, DSR_RESET)
    assert command(fdc, VERSION) == [0x90]


def test_a_lock_keeps_the_configuration_through_a_reset(fdc: Fdc) -> None:
    for lock, kept in ((LOCK, [0x1A, 7]), (UNLOCK, [0, 0])):
        command(fdc, CONFIGURE, 0, 0x1A, 7)
        command(fdc, lock)
        fdc.store(FDC1 + DSR, 1, DSR_RESET)
        assert command(fdc, DUMPREG)[-2:] == kept


@pytest.mark.parametrize("code", [0x00, 0x07, 0x4A, 0xFF])
def test_what_it_does_not_know_or_has_no_drive_for_is_invalid(fdc: Fdc, code: int) -> None:
    assert command(fdc, code) == list(INVALID)


def test_a_port_between_its_own_is_the_disk_controllers(fdc: Fdc) -> None:
    assert FDC1 + 6 not in fdc.ports
    assert FDC1 + DIR in fdc.ports


@pytest.mark.real
def test_the_driver_finds_it(booted: Kernel) -> None:
    def load() -> list[object]:
        return [booted.modprobe("floppy").status, booted.modprobe("-r", "floppy").status, booted.dmesg()]

    loaded, unloaded, log = in_a_copy(booted, load)
    assert (loaded, unloaded) == (0, 0)
    assert log.endswith("FDC 0 is a S82078B\n")
