"""The host's end of an interactive program: its terminal in raw mode, or a script and its readers."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from types import FrameType

from ukmod.kernel.user.line import WindowSize
from ukmod.kmod.regular import write_all

__all__ = ["HostInput", "host_input", "raw_terminal", "shown_at", "size_of"]

_PIECE = 1 << 12
_DEFAULT = WindowSize(24, 80)
_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals after which a terminal is to be as it was."""


class HostInput:
    """Input from a descriptor, and the sizes of its window if it is a terminal's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._resized, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def close(self) -> None:
        """Forget about sizes; the descriptor stays open."""
        os.close(self._resized)
        os.close(self._wake)

    def wait(self, timeout: float | None) -> bool:
        """See HostEnd."""
        return bool(select.select([self._descriptor, self._resized], [], [], timeout)[0])

    def read(self) -> bytes | WindowSize:
        """See HostEnd."""
        if self._resized in select.select([self._resized], [], [], 0)[0]:
            os.read(self._resized, _PIECE)
            return size_of(self._descriptor)
        try:
            return os.read(self._descriptor, _PIECE)
        except OSError:
            return b""  # the terminal is gone

    def resized(self, _signal: int, _frame: FrameType | None) -> None:
        """The handler of SIGWINCH."""
        with suppress(BlockingIOError):
            os.write(self._wake, b"\0")


def shown_at(descriptor: int, data: bytes) -> bool:
    """Write output to a descriptor; False if nobody reads it."""
    try:
        write_all(descriptor, data)
    except OSError:
        return False
    return True


def size_of(descriptor: int) -> WindowSize:
    """The size of a terminal's window."""
    with suppress(OSError):
        found = os.get_terminal_size(descriptor)
        if found.lines and found.columns:
            return WindowSize(found.lines, found.columns)
    return _DEFAULT


@contextmanager
def raw_terminal(host: HostInput, descriptor: int) -> Iterator[None]:
    """Within this, a terminal passes on each key as it is, and its new sizes; afterwards it is as it was."""
    before = termios.tcgetattr(descriptor)
    handlers = {signal.SIGWINCH: signal.signal(signal.SIGWINCH, host.resized)}
    handlers |= {number: signal.signal(number, _end) for number in _ENDING}
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def host_input() -> Iterator[HostInput]:
    """This process's standard input; within this, a terminal there passes on each key as it is."""
    with closing(HostInput(0)) as host, raw_terminal(host, 0) if os.isatty(0) else nullcontext():
        yield host


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
