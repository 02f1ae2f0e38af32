"""The watchdog, which observes guest code from a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Any


class Watchdog:
    """Stops guest code that runs on without calling the kernel.

    A thread checks several times per ``period`` (seconds) whether the CPU is still in the same stretch of
    guest code, and adds up the CPU time spent, so that code gets equally far on a busy and on an idle host.
    The CPU's cost is one addition per stretch.
    """

    def __init__(self, uc: Any, period: float) -> None:
        self.laps = 0
        """The number of kernel calls so far, plus other signs of progress of the guest."""
        self.running = False
        self._uc = uc
        self.period = period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ukmod-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        step = self.period / 8
        seen, spent, before = -1, 0.0, time.process_time()
        while not self._stop.wait(step):
            laps, now = self.laps, time.process_time()
            # A halted virtual host may count the halt as CPU time, but in a single step.
            spent = spent + min(now - before, 2 * step) if laps == seen and self.running else 0.0
            if spent >= self.period:
                self._uc.emu_stop()
                spent = 0.0
            seen, before = laps, now

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
        self._uc = None
