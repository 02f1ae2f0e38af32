"""Messages that may not come too often: lib/ratelimit.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel

INTERVAL: Final = 5
"""Seconds, DEFAULT_RATELIMIT_INTERVAL."""
BURST: Final = 10
"""Messages in one interval, DEFAULT_RATELIMIT_BURST."""


class RateLimit:
    """A struct ratelimit_state: one a place that prints. ``place`` names its function."""

    def __init__(self, kernel: Kernel, place: str) -> None:
        self._k = kernel
        self._place = place
        self._begin: int | None = None
        self._printed = 0
        self._missed = 0

    def printk(self, text: str, level: int) -> None:
        """Print ``text`` unless ten such messages came in the last five seconds."""
        clock = self._k.clock
        if self._begin is None or clock.jiffies > self._begin + INTERVAL * clock.hz:
            if self._missed:
                self._k.printk(f"{self._place}: {self._missed} callbacks suppressed\n", 4)
            self._begin, self._printed, self._missed = clock.jiffies, 0, 0
        if self._printed < BURST:
            self._printed += 1
            self._k.printk(text, level)
        else:
            self._missed += 1
