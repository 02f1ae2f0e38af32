"""The host's end of a terminal or of a script: what comes from there wakes a thread of the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from ukmod.kernel.sched.core import TASK_IDLE
from ukmod.kernel.sched.waiters import Waiters
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class WindowSize:
    """The size of a terminal's window."""

    rows: int
    columns: int


class HostEnd(Protocol):
    """The place of a user of the machine, or of a script."""

    def wait(self, timeout: float | None) -> bool:
        """Wait until ``read`` would return at once, at most so many seconds; True if it would."""

    def read(self) -> bytes | WindowSize:
        """Return what comes next: bytes, none at the end of all, or the new size of the window."""


class HostLine:
    """The input of one host's end. As long as it has not ended, time in the machine passes as on the host."""

    def __init__(self, k: Core, host: HostEnd) -> None:
        self._k = k
        self._host = host
        self._waiters = Waiters(k)
        self._is_wanted = self._has_come = False
        k.sched.outside = self

    def look(self, timeout: float | None) -> bool:
        """See Outside: wake the thread that waits for input if there is some."""
        if not self._is_wanted:
            if timeout:
                time.sleep(timeout)
            return False
        if not self._host.wait(timeout):
            return False
        self._is_wanted, self._has_come = False, True
        self._waiters.wake_all()
        return True

    def receive(self) -> bytes | WindowSize:
        """Sleep until something comes from the host, and return it; no bytes at the end."""
        self._is_wanted, self._has_come = True, False
        self._waiters.wait_event(lambda: self._has_come, TASK_IDLE)
        received = self._host.read()
        if not received:
            self._k.sched.outside = None
        return received

    def text(self) -> bytes:
        """The same without the sizes of windows."""
        while isinstance(received := self.receive(), WindowSize):
            pass
        return received
