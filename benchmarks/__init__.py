"""What ukmod takes beside what it stands in for: the C kmod, a kernel under QEMU, bare Unicorn.

``python -m benchmarks`` prints one table, ``python -m benchmarks.NAME`` a part of it. Each module has
``main() -> list[Row]``. Both sides run in turn, so that what else the machine does hits both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["MissingError", "Row", "table"]


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


def table(rows: Iterable[Row]) -> str:
    """Return the rows as aligned text."""
    lines = [("", "ukmod", "other", "unit", "ratio", "")]
    for row in rows:
        theirs = "" if row.theirs is None else f"{row.theirs:.3f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append((row.name, f"{row.ours:.3f}", theirs, row.unit, ratio, row.note))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(line[at].rjust(widths[at]) for at in range(1, 5)), line[5]]
        ).rstrip()
        for line in lines
    )
