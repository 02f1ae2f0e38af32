"""COM1: a 16450 connected to a peer that is always ready to receive, and that sends while RTS allows it to.

Drivers that use a serial line (speakup's synthesisers, line disciplines) wait until it accepts their data,
and every PC has one. Unless a terminal is connected, data sent is discarded, and none comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

COM1: Final = 0x3F8
COM1_IRQ: Final = 4

# The registers of a 16450, PC16450C data sheet, 8.0; include/uapi/linux/serial_reg.h has these names.
THR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
_DLL, _DLM = THR, IER
"""The divisor latch, which is at these registers while the latch bit of LCR is set."""
LCR_DLAB: Final = 0x80
IER_RDI: Final = 0x01
IER_THRI: Final = 0x02
IIR_NO_INT: Final = 0x01
IIR_THRI: Final = 0x02
IIR_RDI: Final = 0x04
LSR_DR: Final = 0x01
LSR_EMPTY: Final = 0x60
"""The transmitter and its holding register are empty."""
MCR_RTS: Final = 0x02
MCR_LOOP: Final = 0x10
MSR_READY: Final = 0xB0
"""Carrier, data set ready, clear to send."""


class Peer(Protocol):
    """A device, or a person, at the other end of the line."""

    def take(self, byte: int) -> None:
        """Receive a byte."""

    def ready(self) -> bool:
        """True if there is a byte to be sent."""

    def send(self) -> int:
        """Send it."""


class Uart:
    """The chip. ``interrupt`` is called when it raises its interrupt, even from within an emulated OUT."""

    __slots__ = ("_empty", "_interrupt", "_latch", "_registers", "peer", "ports")

    def __init__(self, base: int, interrupt: Callable[[], None]) -> None:
        self.ports = range(base, base + 8)
        self._interrupt = interrupt
        self._registers = bytearray(8)
        self._latch = bytearray(2)
        self._empty = False
        """The transmitter has become empty since IIR was last read."""
        self.peer: Peer | None = None

    def _receives(self) -> bool:
        """True if a byte of the peer's is there, which sends none while RTS is off."""
        ready = self._registers[MCR] & (MCR_RTS | MCR_LOOP) == MCR_RTS
        return ready and self.peer is not None and self.peer.ready()

    def notice(self) -> None:
        """Interrupt if the peer has something to send, and that is wanted."""
        if self._registers[IER] & IER_RDI and self._receives():
            self._interrupt()

    def load(self, port: int, size: int) -> int:
        """IN, of one byte whatever the size."""
        del size
        register = port - self.ports.start
        if self._latched(register):
            return self._latch[register]
        if register == IIR:
            return self._identify()
        if register == THR:
            return self.peer.send() if self.peer is not None and self._receives() else 0
        if register == LSR:
            return LSR_EMPTY | (LSR_DR if self._receives() else 0)
        return self._modem_status() if register == MSR else self._registers[register]

    def store(self, port: int, size: int, value: int) -> None:
        """OUT, of one byte whatever the size."""
        del size
        register = port - self.ports.start
        if self._latched(register):
            self._latch[register] = value & 0xFF
            return
        before = self._registers[IER]
        self._registers[register] = value & (0x0F if register == IER else 0x1F if register == MCR else 0xFF)
        if register == THR and self.peer is not None and not self._registers[MCR] & MCR_LOOP:
            self.peer.take(value & 0xFF)
        if register in (IER, MCR):
            self.notice()
        if register == THR or (register == IER and ~before & value & IER_THRI):
            self._empty = True
            if self._registers[IER] & IER_THRI:
                self._interrupt()

    def _latched(self, register: int) -> bool:
        return register <= _DLM and bool(self._registers[LCR] & LCR_DLAB)

    def _identify(self) -> int:
        """IIR: the cause of the interrupt. Reading it clears an empty transmitter's."""
        if self._registers[IER] & IER_RDI and self._receives():
            return IIR_RDI
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
