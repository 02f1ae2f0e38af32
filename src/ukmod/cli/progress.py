"""How far a long piece of work is: one line on the terminal, written over and over."""

from __future__ import annotations

import sys
import time
from collections import Counter
from shutil import get_terminal_size
from typing import TextIO

_FIRST = 1.0
"""Seconds that work may take without a word."""
_CLEAR = "\r\x1b[K"


class Progress:
    """Counts what is done. Nothing is shown where no person looks, or if it is done in a second."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._tallies: Counter[str] = Counter()
        self._began = time.monotonic()
        self._is_terminal = self._stream.isatty()
        self._shown = False

    def add(self, kind: str) -> None:
        """One more is done, and what came of it."""
        self._tallies[kind] += 1
        seconds = time.monotonic() - self._began
        if self._is_terminal and seconds >= _FIRST:
            self._show(line(self._tallies, self._total, seconds))

    def end(self) -> None:
        """Leave the line empty."""
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def _show(self, text: str) -> None:
        self._stream.write(_CLEAR + text[: get_terminal_size().columns - 1])
        self._stream.flush()
        self._shown = True


def line(tallies: Counter[str], total: int, seconds: float) -> str:
    """What to show: count, rate, the time that is left, and the tallies."""
    done = tallies.total()
    rate = done / seconds
    left = round((total - done) / rate)
    parts = ", ".join(f"{count} {kind}" for kind, count in tallies.most_common())
    return f"{done}/{total} {rate:.1f}/s, {left // 60}:{left % 60:02} left: {parts}"
