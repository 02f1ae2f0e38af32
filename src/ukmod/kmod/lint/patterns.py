"""The lines of a configuration that a name matches, found without a comparison with each of them."""

from __future__ import annotations

import re

from ukmod.errors import LimitError
from ukmod.kmod.wildcard import fnmatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.config import Alias, Command, Softdep, Source

__all__ = ["MOST_COMPARISONS", "PatternLines"]

MOST_COMPARISONS = 2_000_000
"""Comparisons of names with wildcards: seconds of work. Distributions' files have a dozen such lines."""
_WILD = re.compile(r"[*?\[\\]")


class PatternLines:
    """Lines of one kind, each of them for the names that match its pattern."""

    def __init__(self, lines: Iterable[Alias | Command | Softdep]) -> None:
        self._room = MOST_COMPARISONS
        self._exact: dict[str, tuple[int, Source]] = {}
        self._wild: list[tuple[int, str, Source]] = []
        for number, line in enumerate(lines):
            self._exact.setdefault(line.pattern, (number, line.source))
            if _WILD.search(line.pattern):
                self._wild.append((number, line.pattern, line.source))

    def first(self, name: str) -> Source | None:
        """Where the first line is whose pattern is this name, or matches it; None if there is none.

        Raises LimitError after too many comparisons.
        """
        exact = self._exact.get(name)
        for number, pattern, source in self._wild:
            if exact is not None and exact[0] <= number:
                break
            self._room -= 1
            if self._room < 0:
                text = f"names and patterns take more than {MOST_COMPARISONS} comparisons"
                raise LimitError(text, subject=source.file)
            if fnmatch(pattern, name):
                return source
        return None if exact is None else exact[1]
