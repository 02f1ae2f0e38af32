"""Who watches guest code from outside of it."""

from __future__ import annotations

import threading
import time
from typing import Any


class Watchdog:
    """Stops guest code that runs on and on without calling the kernel.

    A thread looks several times in ``period`` whether the CPU is still in the same stretch of guest code, and
    adds up the CPU time this took, in seconds: on a busy host code gets as far as on an idle one. The CPU
    pays one addition a stretch for it.
    """

    def __init__(self, uc: Any, period: float) -> None:
        self.laps = 0
        """Kernel calls so far, and other signs that the guest gets on."""
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
            # A virtual host that was halted may count that as CPU time, but in one step.
            spent = spent + min(now - before, 2 * step) if laps == seen and self.running else 0.0
            if spent >= self.period:
                self._uc.emu_stop()
                spent = 0.0
            seen, before = laps, now

    def close(self) -> None:
        """Let the thread end."""
        self._stop.set()
        self._thread.join()
        self._uc = None
