"""printk: kernel/printk/printk.c."""

from __future__ import annotations

from ukmod.kernel.clock import Clock


class Log:
    """The kernel log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lines: list[str] = []

    def printk(self, text: str, level: int = 4) -> None:
        """Append."""
        self.lines.append(text)
