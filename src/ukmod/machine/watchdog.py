"""The CPU's watchdog: a thread that observes the guest's code, and the Python code that serves it."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

STALL: Final = 15.0
"""Seconds of CPU time that a kernel function in Python may take; the kernel's own take microseconds."""
LOOK: Final = 18.0
"""Seconds of CPU time after which the machine's loop looks at how far it has come."""
_GRACE: Final = 1.0
"""The same, in seconds, once the machine has no time left."""
_SLICE: Final = 1 << 32
"""More kernel calls than any slice has."""
_LONGEST_STEP: Final = 1.0
"""A halted virtual host may count the halt as CPU time, but in a single step: more than this is ignored."""


class Stalled(BaseException):
    """Raised, by the watchdog, in Python code that has worked for the guest for too long.

    It is no Exception, because no code may ignore it.
    """


class Watchdog:
    """Stops guest code that runs on without calling the kernel, and Python functions that never return.

    A thread checks several times per ``period`` (seconds) whether the CPU is still in the same stretch of
    guest code, and adds up the CPU time spent, so that code gets equally far on a busy and on an idle host.
    The CPU's cost is one addition per stretch.
    """

    def __init__(self, stop: Callable[[], None], period: float, stall: float = STALL) -> None:
        """``stop()`` ends the run of guest code that is in progress."""
        self.laps = 0
        """The number of kernel calls so far, plus other signs of progress of the guest."""
        self.running = False
        """Guest code is running, rather than Python code."""
        self.active = False
        """The machine is running: between ``begin`` and ``end``."""
        self.late = False
        """The time given to ``begin`` is used up."""
        self.attention = False
        """The machine's loop is to look at the time: it is late, or has worked for LOOK seconds more."""
        self.host = False
        """The user's own Python code is running, which is not limited."""
        self.slices = 0
        """The number of time slices so far."""
        self.spent = 0.0
        """Seconds of CPU time since ``begin``."""
        self._stop_guest = stop
        self.period = period
        self.stall = stall
        self._ends = self._look = 0.0
        self._machine = 0
        """The identity of the thread that the machine runs in."""
        self._raised = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ukmod-watchdog", daemon=True)
        self._thread.start()

    def begin(self, seconds: float) -> None:
        """Set ``late`` after that many seconds of CPU time. The current thread is the machine's."""
        self._machine = threading.get_ident()
        self.spent, self._ends, self._look = 0.0, seconds, LOOK
        self.late = self.attention = False
        self.active = True

    def end(self) -> None:
        """The machine has stopped running, and the thread does other work."""
        self.active = False
        if self._raised:
            self._raise(None)

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Give the body that many seconds of CPU time, after which ``late`` holds and the slice ends.

        Within such a body, this changes nothing.
        """
        if self.active:
            yield
            return
        self.begin(seconds)
        try:
            yield
        finally:
            self.end()

    @contextmanager
    def host_code(self) -> Iterator[None]:
        """Run a body that is the user's own Python code, which may take as long as it likes."""
        before, self.host = self.host, True
        try:
            yield
        finally:
            self.host = before

    def is_asking(self) -> bool:
        """True if the machine's loop should look at the time; False until there is something new."""
        if not self.attention:
            return False
        self.attention = self.late
        return True

    def _watch(self) -> None:
        step = self.period / 8
        seen, slices, before = -1, -1, time.process_time()
        guest = python = slow = 0.0
        while not self._stop.wait(step):
            laps, now = self.laps, time.process_time()
            passed, before = now - before, now
            short = min(passed, 2 * step)
            guest = guest + short if laps == seen and self.running else 0.0
            python = python + short if laps == seen and self._works_in_python() else 0.0
            slow = slow + short if slices == self.slices and self.active and not self.host else 0.0
            seen, slices = laps, self.slices
            if self.active:
                self.spent += min(passed, _LONGEST_STEP)
                self.late = self.spent >= self._ends
                if self.late or self.spent >= self._look:
                    self._look = self.spent + LOOK
                    self.attention = True
            if self.running and (guest >= self.period or self.late):
                self._stop_guest()
                guest = 0.0
            elif python >= (_GRACE if self.late else self.stall):
                self._raise(Stalled)
                if not self.active:  # it has returned to its caller meanwhile
                    self._raise(None)
                python = 0.0
            elif self.late or slow >= self.stall:
                self.laps += _SLICE  # so that the slice ends after this call
                seen, slow = self.laps, 0.0

    def _works_in_python(self) -> bool:
        return self.active and not self.running and not self.host

    def _raise(self, what: type[Stalled] | None) -> None:
        """Raise ``what`` in the machine's thread; with None, do not, if that has not happened yet."""
        thread = ctypes.c_ulong(self._machine)
        self._raised = what is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(what) if what else None)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
