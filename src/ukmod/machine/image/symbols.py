"""A kernel's symbols by name and by address, in a form that can be cached and read back quickly."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

__all__ = ["LONGEST_NAME", "WORD", "ImageSymbol", "ImageSymbols"]

LONGEST_NAME = 1024
"""The maximum size of a name, and of a token, in bytes; KSYM_NAME_LEN is 512."""
WORD = 8
_FEW = 8
"""Names that are searched for one by one; for more, a table of all is made."""


class ImageSymbol(NamedTuple):
    """A symbol; ``type`` is nm(1)'s letter. A per-CPU symbol's address is its offset into that area."""

    name: str
    type: str
    address: int


class ImageSymbols:
    """Symbols in the order of kallsyms, that is by address, per-CPU symbols first.

    The names are one text as long as only a few are asked for: a kernel has 180,000 of them, and a short run
    on a machine from a snapshot looks up three.
    """

    def __init__(self, text: bytes, types: str, addresses: array[int]) -> None:
        """``text``: every name between zero bytes."""
        self._text, self._types, self._addresses = text, types, addresses
        self._searches = 0

    @classmethod
    def of(cls, symbols: Iterable[ImageSymbol]) -> ImageSymbols:
        """Make a table from symbols in any order."""
        ordered = sorted(symbols, key=lambda symbol: symbol.address)
        return cls(
            _text_of(symbol.name for symbol in ordered),
            "".join(symbol.type for symbol in ordered),
            array("Q", [symbol.address for symbol in ordered]),
        )

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[ImageSymbol]:
        return map(ImageSymbol, self._names, self._types, self._addresses)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def get(self, name: str) -> int | None:
        """Return the address of the first symbol with this name, or None."""
        index = self._find(name)
        return None if index is None else self._addresses[index]

    def _find(self, name: str) -> int | None:
        self._searches += 1
        if self._searches > _FEW:
            return self._index.get(name)
        at = self._text.find(_text_of([name]))
        return None if at < 0 else self._text.count(0, 0, at)

    def at(self, address: int) -> ImageSymbol | None:
        """Return the last symbol at or before an address; the first one if several have the same address."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        while index and self._addresses[index - 1] == self._addresses[index]:
            index -= 1
        return ImageSymbol(self._names[index], self._types[index], self._addresses[index])

    def size_at(self, address: int) -> int:
        """Return the bytes from the symbol at or before an address to the next symbol; 0 if there is none."""
        index = bisect_right(self._addresses, address)
        if not 0 < index < len(self._addresses):
            return 0
        return self._addresses[index] - self._addresses[index - 1]

    @cached_property
    def _names(self) -> list[str]:
        return self._text.decode("utf-8", "surrogatepass").split("\0")[1:-1]

    @cached_property
    def _index(self) -> dict[str, int]:
        count = len(self._names)
        return dict(zip(reversed(self._names), range(count - 1, -1, -1), strict=True))

    # Serialisation

    def to_bytes(self) -> bytes:
        """Return the table as bytes, in this machine's byte order."""
        count = len(self).to_bytes(WORD, "little")
        return b"".join((count, self._addresses.tobytes(), self._types.encode(), self._text))

    @classmethod
    def from_bytes(cls, data: bytes) -> ImageSymbols:
        """Read the result of :meth:`to_bytes`; ValueError for anything else."""
        count = int.from_bytes(data[:WORD], "little")
        end = WORD * (count + 1)
        types, text = data[end : end + count].decode("ascii"), data[end + count :]
        if len(types) != count or text.count(0) != count + 1 or text[:1] + text[-1:] != b"\0\0":
            raise ValueError("not a symbol table")
        return cls(text, types, array("Q", data[WORD:end]))


def _text_of(names: Iterable[str]) -> bytes:
    return "\0".join(["", *names, ""]).encode("utf-8", "surrogatepass")
