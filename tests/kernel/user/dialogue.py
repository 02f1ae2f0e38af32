"""A program at the other end of a real terminal: what is typed, waited for, and shown."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Callable, Iterable

PATIENCE = 30
"""Seconds of silence after which something has gone wrong."""
_QUERY = b"\x1b[6n"
"""Where is the cursor? Busybox asks, and waits for no answer."""


class Dialogue:
    """A process whose terminal is at hand, 80 columns by 24 rows."""

    def __init__(self, live: Callable[[], int]) -> None:
        """``live`` is what the process does; returns its exit status."""
        pid, self._terminal = pty.fork()
        if pid == 0:
            status = 255
            try:
                for number in (signal.SIGINT, signal.SIGQUIT):  # a job in the background ignores them
                    signal.signal(number, signal.SIG_DFL)
                resize(0, 24, 80)
                status = live()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 255
            finally:
                os._exit(status)
        self.pid = pid
        self._shown = b""
        self._seen = 0

    def expect(self, text: str) -> None:
        """Wait until a text is shown, behind the one that was waited for before."""
        wanted = text.encode()
        while (at := self._shown.find(wanted, self._seen)) < 0:
            assert self._read(), f"{text!r} never comes: {self.shown!r}"
        self._seen = at + len(wanted)

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        self._shown = (self._shown + data).replace(_QUERY, b"")
        return bool(data)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the window."""
        resize(self._terminal, rows, columns)

    def hold(self, steps: Iterable[tuple[str, str]]) -> None:
        """Type each text, and wait for the one that belongs to it."""
        for typed, wanted in steps:
            self.type(typed)
            self.expect(wanted)

    @property
    def shown(self) -> str:
        """All that was shown so far."""
        return self._shown.decode()

    def is_restored(self) -> bool:
        """True if the terminal is in canonical mode and echoes."""
        flags = termios.tcgetattr(self._terminal)[3]
        return bool(flags & termios.ICANON and flags & termios.ECHO)

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._terminal)

    def end(self) -> int:
        """Wait for the end of the process; returns its exit status."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def resize(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
