"""COM1, as drivers/tty/serial/8250/8250_port.c looks at it."""

from __future__ import annotations

import pytest

from ukmod.kernel.image.uart import (
    COM1,
    IER,
    IER_RDI,
    IER_THRI,
    IIR,
    IIR_NO_INT,
    IIR_RDI,
    IIR_THRI,
    LCR,
    LCR_DLAB,
    LSR,
    LSR_DR,
    LSR_EMPTY,
    MCR,
    MCR_LOOP,
    MCR_RTS,
    MSR,
    MSR_READY,
    SCR,
    THR,
    Uart,
)


@pytest.fixture
def interrupts() -> list[None]:
    """One element an interrupt."""
    return []


@pytest.fixture
def uart(interrupts: list[None]) -> Uart:
    return Uart(COM1, lambda: interrupts.append(None))


def put(uart: Uart, register: int, value: int) -> None:
    uart.store(COM1 + register, 1, value)


def get(uart: Uart, register: int) -> int:
    return uart.load(COM1 + register, 1)


def test_the_existence_test_reads_the_enable_register_back(uart: Uart) -> None:
    put(uart, IER, 0xFF)
    assert get(uart, IER) == 0x0F, "the upper bits of a 16450 are always 0"


def test_the_loopback_test_sees_its_own_outputs(uart: Uart) -> None:
    put(uart, MCR, MCR_LOOP | 0x0A)
    assert get(uart, MSR) & 0xF0 == 0x90
    put(uart, MCR, 0)
    assert get(uart, MSR) == MSR_READY, "the other end is ready"


def test_the_uart_has_a_scratch_register_and_no_fifo_like_a_16450(uart: Uart) -> None:
    put(uart, SCR, 0xA5)
    assert get(uart, SCR) == 0xA5
    put(uart, IIR, 1)  # FCR: enable the FIFO
    assert get(uart, IIR) >> 6 == 0


def test_the_divisor_hides_behind_the_latch_bit(uart: Uart) -> None:
    put(uart, LCR, LCR_DLAB)
    put(uart, THR, 12)
    put(uart, IER, 1)
    assert (get(uart, THR), get(uart, IER)) == (12, 1)
    put(uart, LCR, 3)
    assert (get(uart, THR), get(uart, IER)) == (0, 0)


def test_what_is_sent_is_gone_at_once_and_says_so(uart: Uart, interrupts: list[None]) -> None:
    put(uart, IER, IER_THRI)
    assert len(interrupts) == 1, "enabled while the transmitter is empty"
    assert get(uart, IIR) == IIR_THRI
    assert get(uart, IIR) == IIR_NO_INT, "reading takes the reason back"
    put(uart, THR, ord("x"))
    assert len(interrupts) == 2
    assert get(uart, LSR) == LSR_EMPTY


def test_without_being_asked_it_does_not_interrupt(uart: Uart, interrupts: list[None]) -> None:
    put(uart, THR, ord("x"))
    put(uart, IER, 0x05)
    assert not interrupts
    assert get(uart, IIR) == IIR_NO_INT


class Terminal:
    """A peer that has sent what is in ``typed``."""

    def __init__(self, typed: bytes) -> None:
        self.typed = bytearray(typed)
        self.shown = bytearray()

    def take(self, byte: int) -> None:
        self.shown.append(byte)

    def ready(self) -> bool:
        return bool(self.typed)

    def send(self) -> int:
        return self.typed.pop(0)


def test_a_peer_sends_while_it_is_allowed_to(uart: Uart, interrupts: list[None]) -> None:
    uart.peer = terminal = Terminal(b"ab")
    put(uart, IER, IER_RDI)
    uart.notice()
    assert not interrupts
    assert get(uart, LSR) == LSR_EMPTY
    put(uart, MCR, MCR_RTS)
    assert interrupts
    assert get(uart, IIR) == IIR_RDI
    assert get(uart, LSR) == LSR_EMPTY | LSR_DR
    assert get(uart, THR) == ord("a")
    put(uart, MCR, 0)
    assert get(uart, IIR) == IIR_NO_INT
    assert get(uart, THR) == 0
    put(uart, MCR, MCR_RTS)
    assert get(uart, THR) == ord("b")
    assert get(uart, LSR) == LSR_EMPTY
    assert not terminal.typed


def test_a_peer_takes_what_is_sent_except_to_itself(uart: Uart) -> None:
    uart.peer = terminal = Terminal(b"")
    put(uart, MCR, MCR_LOOP)
    put(uart, THR, ord("x"))
    put(uart, MCR, 0)
    put(uart, THR, ord("y"))
    assert terminal.shown == b"y"
