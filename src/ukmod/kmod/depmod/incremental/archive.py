"""The parts of all modules of a tree, as one run keeps them for the next.

All parts of one kind are one piece of bytes. So reading it, some 6 MB for a distribution's tree, takes
nothing apart, and a symbol is searched for in all modules at once.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ukmod.kmod.depmod.parts import Parts

__all__ = ["Archive", "archive"]

_KINDS = range(3)


def archive(parts: Mapping[str, Parts]) -> dict[str, Any]:
    """Return what modules say, by their paths, as :class:`Archive` takes it and marshal knows it."""
    pieces = [[said[kind] for said in parts.values()] for kind in _KINDS]
    return {
        "paths": [*parts],
        "pieces": [b"".join(piece) for piece in pieces],
        "starts": [[*accumulate(map(len, piece), initial=0)] for piece in pieces],
    }


class Archive:
    """The parts of modules, by their paths: those that were archived, or ``newer`` ones in their place."""

    __slots__ = ("_archived", "_places", "newer")

    def __init__(self, archived: dict[str, Any], newer: Mapping[str, Parts]) -> None:
        self._archived = archived
        self._places = {path: place for place, path in enumerate(archived["paths"])}
        self.newer = newer

    def __contains__(self, path: str) -> bool:
        return path in self.newer or path in self._places

    def __getitem__(self, path: str) -> Parts:
        """Return a module's parts; KeyError for one that is not there."""
        links, aliases, others = [self.part(path, kind) for kind in _KINDS]
        return links, aliases, others

    def part(self, path: str, kind: int) -> bytes:
        """Return one of them."""
        return self.newer[path][kind] if path in self.newer else self._part(self._places[path], kind)

    def _part(self, place: int, kind: int) -> bytes:
        starts = self._archived["starts"][kind]
        part: bytes = self._archived["pieces"][kind][starts[place] : starts[place + 1]]
        return part

    def joined(self, paths: Iterable[str], kind: int) -> bytes:
        """Return the parts of a kind of some modules, one after the other: most as they were archived."""
        piece, starts = self._archived["pieces"][kind], self._archived["starts"][kind]
        found: list[bytes] = []
        begin = end = 0  # places that follow each other, and have not been copied yet
        for path in paths:
            place = -1 if path in self.newer else self._places[path]
            if place == end:
                end += 1
                continue
            found.append(piece[starts[begin] : starts[end]])
            begin, end = (place, place + 1) if place >= 0 else (0, 0)
            if place < 0:
                found.append(self.newer[path][kind])
        return b"".join([*found, piece[starts[begin] : starts[end]]])

    def differing(self, kind: int, usual: bytes) -> set[str]:
        """Return the modules whose part of a kind is not the usual one."""
        piece, starts = self._archived["pieces"][kind], self._archived["starts"][kind]
        paths, size = self._archived["paths"], len(usual)
        found = {
            path
            for path, start, end in zip(paths, starts, starts[1:], strict=False)
            if end - start != size or piece[start:end] != usual
        }
        found.difference_update(self.newer)
        return found.union([path for path, said in self.newer.items() if said[kind] != usual])

    def updated(self, parts: Mapping[str, Parts]) -> Archive:
        """Return what modules say when some of them say something else, or are new."""
        return Archive(self._archived, {**self.newer, **parts})

    def newer_of(self, paths: Iterable[str]) -> dict[str, Parts]:
        """Return of some modules those that do not say what was archived."""
        return {
            path: self.newer[path]
            for path in paths
            if path in self.newer
            and (path not in self._places or self.newer[path] != self._as_archived(path))
        }

    def _as_archived(self, path: str) -> Parts:
        links, aliases, others = [self._part(self._places[path], kind) for kind in _KINDS]
        return links, aliases, others

    def holders(self, kind: int, needle: bytes) -> list[str]:
        """Return the modules that have some bytes in their part of a kind."""
        piece, starts = self._archived["pieces"][kind], self._archived["starts"][kind]
        found = []
        at = piece.find(needle)
        while at >= 0:
            place = bisect_right(starts, at) - 1
            if at + len(needle) <= starts[place + 1]:
                found.append(self._archived["paths"][place])
                at = starts[place + 1] - 1
            at = piece.find(needle, at + 1)
        found = [path for path in found if path not in self.newer]
        return found + [path for path, said in self.newer.items() if needle in said[kind]]
