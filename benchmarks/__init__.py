"""What ukmod takes beside what it stands in for: the C kmod, a kernel under QEMU, bare Unicorn.

``python -m benchmarks`` prints one table, ``python -m benchmarks.NAME`` a part of it. Each module has
``main() -> list[Row]``. Both sides run in turn, so that what else the machine does hits both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["HEAD", "MissingError", "Row", "line", "table"]

# Each program that is measured has its bytecode beside it, as one that is installed has.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class MissingError(Exception):
    """What ukmod is to be compared with is not on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: ``ours`` and ``theirs`` in ``unit``; ``theirs`` is None if there is no such thing."""

    name: str
    ours: float
    theirs: float | None
    unit: str
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as much ours is."""
        return self.ours / self.theirs if self.theirs else None


_WIDTHS = (60, 10, 10, 16, 6)
"""Of the columns: a row is printed when it has been measured, before the others are known."""


def line(row: Row) -> str:
    """Return a row as text, in the columns of ``HEAD``."""
    theirs = "" if row.theirs is None else f"{row.theirs:.3f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return _columns(row.name, f"{row.ours:.3f}", theirs, row.unit, ratio, row.note)


def _columns(name: str, *rest: str) -> str:
    cells = [text.rjust(width) for text, width in zip(rest, _WIDTHS[1:], strict=False)]
    return "  ".join([name.ljust(_WIDTHS[0]), *cells, *rest[len(cells) :]]).rstrip()


HEAD = _columns("", "ukmod", "other", "unit", "ratio", "")


def table(rows: Iterable[Row]) -> str:
    """Return the rows as aligned text."""
    return "\n".join([HEAD, *map(line, rows)])
