"""How far a long piece of work is: one line on the terminal, written over and over.

A thread of its own writes it, so that it appears after a second even while the work says nothing: bringing up
a kernel image takes longer. Nothing is shown where no person looks, or if all is done in a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, TextIO

from ukmod.cli.terminal import columns

READING = "reading the modules"
"""The first step for a tree without indexes."""
AUDITING = "following each route to each module"
_FIRST = 1.0
"""Seconds that work may take without a word."""
_PERIOD = 0.2
_CLEAR = "\r\x1b[K"


class Progress:
    """Shows what is being done and, of many things, how many are done. A context manager.

    ``what`` may be a function, which is asked each time: for work in several steps.
    """

    def __init__(self, what: str | Callable[[], str], total: int = 0, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._what = what
        self._total = total
        self._tallies: Counter[str] = Counter()
        self._began = time.monotonic()
        self._shown = False
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the line empty."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._clear()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Clear the line, and let something else be written to the terminal meanwhile."""
        with self._writing:
            self._clear()
            yield

    def add(self, kind: str) -> None:
        """Count one more that is done, by what came of it."""
        self._tallies[kind] += 1

    def show(self) -> None:
        """Write the line, if the work has taken long enough."""
        seconds = time.monotonic() - self._began
        if seconds < _FIRST:
            return
        what = self._what if isinstance(self._what, str) else self._what()
        text = line(what, self._tallies, self._total, seconds)
        with self._writing:
            self._stream.write(_CLEAR + text[: columns() - 1])
            self._stream.flush()
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = False

    def _watch(self) -> None:
        while not self._ended.wait(_PERIOD):
            self.show()


def line(what: str, tallies: Counter[str], total: int, seconds: float) -> str:
    """The text to show: what is done, and of many things the count, the rate, the time left, the tallies."""
    done = tallies.total()
    if not done:
        return f"{what}, {seconds:.0f} s"
    rate = done / seconds
    left = round((total - done) / rate)
    parts = ", ".join(f"{count} {kind}" for kind, count in tallies.most_common())
    return f"{done}/{total} {rate:.1f}/s, {left // 60}:{left % 60:02} left: {parts}"
