"""The floppy disk controller of a PC: an 82078 without drives.

Every PC had one, so its driver assumes that the ports are its own and probes the controller. The answers are
those of QEMU's controller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FDC1: Final = 0x3F0
FDC_IRQ: Final = 6

# The registers of an 82078, data sheet, 2.1; include/uapi/linux/fdreg.h has the offsets.
DOR, MSR, FIFO, DIR = 2, 4, 5, 7
DSR: Final = MSR
"""A read from MSR's port returns the status; a write sets the data rate, or resets the chip."""
DOR_NOT_RESET: Final = 0x04
DOR_INTERRUPTS: Final = 0x08
DSR_RESET: Final = 0x80
MSR_READY: Final = 0x80
MSR_READ: Final = 0x40
"""Set if the driver should read a result; clear if it should write a command."""
MSR_BUSY: Final = 0x10
ST0_POLLED: Final = 0xC0
"""Sense Interrupt Status after a reset: the drive in the lower bits may have changed its ready state."""
INVALID: Final = bytes([0x80])
"""The result of an invalid command."""
UNITS: Final = 4
PART_ID: Final = 0x41
DUMPREG, VERSION, SENSE_INTERRUPT = 0x0E, 0x10, 0x08
SPECIFY, PERPENDICULAR, CONFIGURE, UNLOCK, LOCK, PARTID = 0x03, 0x12, 0x13, 0x14, 0x94, 0x18
_ARGUMENTS: Final = {SPECIFY: 2, PERPENDICULAR: 1, CONFIGURE: 3}
"""The number of bytes that follow a command, if any. Commands to drives are missing, as there are none."""


class Fdc:
    """The chip. ``interrupt`` is called when it raises its interrupt, from within an emulated OUT."""

    __slots__ = ("_command", "_dor", "_interrupt", "_locked", "_polled", "_result", "_set", "ports")

    def __init__(self, base: int, interrupt: Callable[[], None]) -> None:
        self.ports = (*range(base, base + 6), base + DIR)  # 6 is the disk controller's
        self._interrupt = interrupt
        self._dor = DOR_NOT_RESET | DOR_INTERRUPTS
        self._locked = False
        self._set: dict[int, bytes] = {}
        """The arguments of the commands that set parameters."""
        self._reset()

    def _reset(self) -> None:
        self._command = bytearray()
        self._result = bytearray()
        self._polled = UNITS
        """The number of drives whose state has not been queried since the reset."""

    def load(self, port: int, size: int) -> int:
        """IN, of one byte whatever the size."""
        del size
        register = port - self.ports[0]
        if register == MSR:
            return self._status()
        if register == FIFO:
            return self._result.pop(0) if self._result else 0
        return self._dor if register == DOR else 0

    def store(self, port: int, size: int, value: int) -> None:
        """OUT, of one byte whatever the size."""
        del size
        register = port - self.ports[0]
        if register == DOR:
            before, self._dor = self._dor, value & 0xFF
            if ~before & value & DOR_NOT_RESET:
                self._leave_reset()
        elif register == DSR and value & DSR_RESET:
            self._leave_reset()
        elif register == FIFO and self._dor & DOR_NOT_RESET and not self._result:
            self._take(value & 0xFF)

    def _leave_reset(self) -> None:
        self._reset()
        if not self._locked:
            self._set.pop(CONFIGURE, None)
        if self._dor & DOR_INTERRUPTS:
            self._interrupt()

    def _status(self) -> int:
        if not self._dor & DOR_NOT_RESET:
            return 0
        busy = MSR_BUSY if self._command or self._result else 0
        return MSR_READY | busy | (MSR_READ if self._result else 0)

    def _take(self, byte: int) -> None:
        """Take a byte of a command, and execute the command once it is complete."""
        self._command.append(byte)
        if len(self._command) > _ARGUMENTS.get(self._command[0], 0):
            command, *arguments = self._command
            self._command.clear()
            self._result += self._carry_out(command, bytes(arguments))

    def _carry_out(self, command: int, arguments: bytes) -> bytes:
        if command in _ARGUMENTS:
            self._set[command] = arguments
            return b""
        if command == SENSE_INTERRUPT and self._polled:
            self._polled -= 1
            return bytes([ST0_POLLED | (UNITS - 1 - self._polled), 0])
        if command in (LOCK, UNLOCK):
            self._locked = command == LOCK
            return bytes([self._locked << 4])
        answers = {DUMPREG: self._registers(), VERSION: b"\x90", PARTID: bytes([PART_ID])}
        return answers.get(command, INVALID)

    def _registers(self) -> bytes:
        """The result of DUMPREG: the cylinders of four drives, then the parameters; last sector 0."""
        perpendicular = self._set.get(PERPENDICULAR, bytes(1))[0] & 0x7F | self._locked << 7
        configured = self._set.get(CONFIGURE, bytes(3))
        return bytes(UNITS) + self._set.get(SPECIFY, bytes(2)) + bytes([0, perpendicular]) + configured[1:]
