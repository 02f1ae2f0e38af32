"""The parts of all modules of a tree, as one run keeps them for the next.

All parts of one kind are one piece of bytes: a symbol is searched for in all modules at once. The pieces,
some 6 MB for a distribution's tree, lie in a file of their own, of which a run reads no more than it needs: a
module's part, or a piece.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from itertools import accumulate

from ukmod.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from typing import Any

    from ukmod.kmod.depmod.parts import Parts

__all__ = ["Archive", "Pieces", "archive"]

_KINDS = range(3)
_FEW = 16
"""Parts that are read one by one; for more, it is quicker to read their pieces."""


def archive(parts: Mapping[str, Parts]) -> tuple[dict[str, Any], Sequence[bytes]]:
    """Return where modules' parts are, as :class:`Pieces` takes it and marshal knows it; and the pieces."""
    of_kinds = [[said[kind] for said in parts.values()] for kind in _KINDS]
    pieces = [b"".join(some) for some in of_kinds]
    places = {
        "paths": [*parts],
        "starts": [[*accumulate(map(len, some), initial=0)] for some in of_kinds],
        "checksums": [b"".join([_checksum(part) for part in some]) for some in of_kinds],
        "whole": [_checksum(piece) for piece in pieces],
    }
    return places, pieces


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


class Pieces:
    """The parts that were archived, by modules' paths. FormatError for what is not what the run left.

    ``read`` returns so many bytes of the pieces from a place on, or fewer.
    """

    __slots__ = ("_archived", "_held", "_read", "_reads", "paths", "places")

    def __init__(self, archived: Mapping[str, Any], read: Callable[[int, int], bytes]) -> None:
        self._archived = archived
        self._read = read
        self._reads = 0
        self._held: dict[int, bytes] = {}
        self.paths: Sequence[str] = archived["paths"]
        self.places = {path: place for place, path in enumerate(self.paths)}

    def starts(self, kind: int) -> Sequence[int]:
        """Return where in the piece of a kind each module's part begins, and where the last one ends."""
        starts: Sequence[int] = self._archived["starts"][kind]
        return starts

    def piece(self, kind: int) -> bytes:
        """Return all parts of a kind."""
        if kind not in self._held:
            self._held[kind] = self._checked(kind, 0, self.starts(kind)[-1], self._archived["whole"][kind])
        return self._held[kind]

    def part(self, place: int, kind: int) -> bytes:
        """Return one module's part of a kind."""
        start, end = self.starts(kind)[place : place + 2]
        self._reads += 1
        if kind in self._held or self._reads > _FEW:
            return self.piece(kind)[start:end]
        checksum = self._archived["checksums"][kind][4 * place : 4 * place + 4]
        return self._checked(kind, start, end, checksum)

    def _checked(self, kind: int, start: int, end: int, checksum: bytes) -> bytes:
        before = sum(self.starts(other)[-1] for other in range(kind))
        data = self._read(before + start, end - start) if end > start else b""
        if _checksum(data) != checksum:
            raise FormatError("not what the last run kept")
        return data


class Archive:
    """The parts of modules, by their paths: those that were archived, or ``newer`` ones in their place."""

    __slots__ = ("_pieces", "newer")

    def __init__(self, pieces: Pieces, newer: Mapping[str, Parts]) -> None:
        self._pieces = pieces
        self.newer = newer

    def __contains__(self, path: str) -> bool:
        return path in self.newer or path in self._pieces.places

    def __getitem__(self, path: str) -> Parts:
        """Return a module's parts; KeyError for one that is not there."""
        return self.parts(path, _KINDS)

    def parts(self, path: str, kinds: Container[int]) -> Parts:
        """Return a module's parts of some kinds, the others empty."""
        links, aliases, others = [self.part(path, kind) if kind in kinds else b"" for kind in _KINDS]
        return links, aliases, others

    def part(self, path: str, kind: int) -> bytes:
        """Return one of them."""
        if path in self.newer:
            return self.newer[path][kind]
        return self._pieces.part(self._pieces.places[path], kind)

    def joined(self, paths: Iterable[str], kind: int) -> bytes:
        """Return the parts of a kind of some modules, one after the other: most as they were archived."""
        piece, starts, places = self._pieces.piece(kind), self._pieces.starts(kind), self._pieces.places
        found: list[bytes] = []
        begin = end = 0  # places that follow each other, and have not been copied yet
        for path in paths:
            place = -1 if path in self.newer else places[path]
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
        piece, starts = self._pieces.piece(kind), self._pieces.starts(kind)
        size = len(usual)
        found = {
            path
            for path, start, end in zip(self._pieces.paths, starts, starts[1:], strict=False)
            if end - start != size or piece[start:end] != usual
        }
        found.difference_update(self.newer)
        return found.union([path for path, said in self.newer.items() if said[kind] != usual])

    def updated(self, parts: Mapping[str, Parts]) -> Archive:
        """Return what modules say when some of them say something else, or are new."""
        return Archive(self._pieces, {**self.newer, **parts})

    def newer_of(self, paths: Iterable[str]) -> dict[str, Parts]:
        """Return of some modules those that do not say what was archived."""
        places, archived = self._pieces.places, Archive(self._pieces, {})
        return {
            path: self.newer[path]
            for path in paths
            if path in self.newer and (path not in places or self.newer[path] != archived[path])
        }

    def holders(self, kind: int, needle: bytes) -> list[str]:
        """Return the modules that have some bytes in their part of a kind."""
        piece, starts = self._pieces.piece(kind), self._pieces.starts(kind)
        found = []
        at = piece.find(needle)
        while at >= 0:
            place = bisect_right(starts, at) - 1
            if at + len(needle) <= starts[place + 1]:
                found.append(self._pieces.paths[place])
                at = starts[place + 1] - 1
            at = piece.find(needle, at + 1)
        found = [path for path in found if path not in self.newer]
        return found + [path for path, said in self.newer.items() if needle in said[kind]]
