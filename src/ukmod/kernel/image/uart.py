"""COM1: a 16450 connected to a peer that is always ready to receive and never sends.

Drivers that use a serial line (speakup's synthesisers, line disciplines) wait until it accepts their data,
and every PC has one. Data sent is discarded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

COM1: Final = 0x3F8
COM1_IRQ: Final = 4

# The registers of a 16450, PC16450C data sheet, 8.0; include/uapi/linux/serial_reg.h has these names.
THR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
_DLL, _DLM = THR, IER
"""The divisor latch, which is at these registers while the latch bit of LCR is set."""
LCR_DLAB: Final = 0x80
IER_THRI: Final = 0x02
IIR_NO_INT: Final = 0x01
IIR_THRI: Final = 0x02
LSR_EMPTY: Final = 0x60
"""The transmitter and its holding register are empty."""
MCR_LOOP: Final = 0x10
MSR_READY: Final = 0xB0
"""Carrier, data set ready, clear to send."""


class Uart:
    """The chip. ``interrupt`` is called when it raises its interrupt, even from within an emulated OUT."""

    __slots__ = ("_empty", "_interrupt", "_latch", "_registers", "ports")

    def __init__(self, base: int, interrupt: Callable[[], None]) -> None:
        self.ports = range(base, base + 8)
        self._interrupt = interrupt
        self._registers = bytearray(8)
        self._latch = bytearray(2)
        self._empty = False
        """The transmitter has become empty since IIR was last read."""

    def load(self, port: int, size: int) -> int:
        """IN, of one byte whatever the size."""
        del size
        register = port - self.ports.start
        if self._latched(register):
            return self._latch[register]
        if register == IIR:
            return self._identify()
        fixed = {THR: 0, LSR: LSR_EMPTY, MSR: self._modem_status()}
        return fixed.get(register, self._registers[register])

    def store(self, port: int, size: int, value: int) -> None:
        """OUT, of one byte whatever the size."""
        del size
        register = port - self.ports.start
        if self._latched(register):
            self._latch[register] = value & 0xFF
            return
        before = self._registers[IER]
        self._registers[register] = value & (0x0F if register == IER else 0x1F if register == MCR else 0xFF)
        if register == THR or (register == IER and ~before & value & IER_THRI):
            self._empty = True
            if self._registers[IER] & IER_THRI:
                self._interrupt()

    def _latched(self, register: int) -> bool:
        return register <= _DLM and bool(self._registers[LCR] & LCR_DLAB)

    def _identify(self) -> int:
        """IIR: the cause of the interrupt. Reading it clears the cause."""
        if self._empty and self._registers[IER] & IER_THRI:
            self._empty = False
            return IIR_THRI
        return IIR_NO_INT

    def _modem_status(self) -> int:
        """MSR. In loopback mode, MCR's outputs come back: RTS as CTS, DTR as DSR, OUT1 as RI, OUT2 as DCD."""
        mcr = self._registers[MCR]
        if not mcr & MCR_LOOP:
            return MSR_READY
        return (mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 4) << 4 | (mcr & 8) << 4
