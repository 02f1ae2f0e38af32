"""COM1: a 16450 with nothing at the other end but someone who is always ready to receive.

Drivers that talk to a serial line (speakup's synthesisers, line disciplines) wait for it to take what they
send, and a PC has one. What is sent is gone at once; nothing is ever received.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

COM1: Final = 0x3F8
COM1_IRQ: Final = 4

# The registers of a 16450, PC16450C data sheet, 8.0; include/uapi/linux/serial_reg.h has these names.
THR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
_DLL, _DLM = THR, IER
"""With the latch bit of LCR set, the divisor is here instead."""
LCR_DLAB: Final = 0x80
IER_THRI: Final = 0x02
IIR_NO_INT: Final = 0x01
IIR_THRI: Final = 0x02
LSR_EMPTY: Final = 0x60
"""Transmitter and its holding register are empty."""
MCR_LOOP: Final = 0x10
MSR_READY: Final = 0xB0
"""Carrier, data set ready, clear to send."""


class Uart:
    """The chip. ``interrupt`` is called when it asks for one: now and then from within an emulated OUT."""

    __slots__ = ("_empty", "_interrupt", "_latch", "_registers", "ports")

    def __init__(self, base: int, interrupt: Callable[[], None]) -> None:
        self.ports = range(base, base + 8)
        self._interrupt = interrupt
        self._registers = bytearray(8)
        self._latch = bytearray(2)
        self._empty = False
        """The transmitter has become empty since IIR was last read."""

    def load(self, port: int, size: int) -> int:
        """IN, of a byte as of anything."""
        del size
        register = port - self.ports.start
        if self._latched(register):
            return self._latch[register]
        if register == IIR:
            return self._identify()
        fixed = {THR: 0, LSR: LSR_EMPTY, MSR: self._modem_status()}
        return fixed.get(register, self._registers[register])

    def store(self, port: int, size: int, value: int) -> None:
        """OUT, of a byte as of anything."""
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
        """IIR: why it interrupts. Reading it takes the reason back."""
        if self._empty and self._registers[IER] & IER_THRI:
            self._empty = False
            return IIR_THRI
        return IIR_NO_INT

    def _modem_status(self) -> int:
        """MSR. In loopback mode MCR's outputs come back: RTS as CTS, DTR as DSR, OUT1 as RI, OUT2 as DCD."""
        mcr = self._registers[MCR]
        if not mcr & MCR_LOOP:
            return MSR_READY
        return (mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 4) << 4 | (mcr & 8) << 4
