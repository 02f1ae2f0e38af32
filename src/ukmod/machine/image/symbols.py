"""A kernel's symbols by name and by address, in a form that is cached and used as it lies in the file."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    Numbers = array[int] | memoryview[int]

__all__ = ["LONGEST_NAME", "WORD", "ImageSymbol", "ImageSymbols"]

LONGEST_NAME = 1024
"""The maximum size of a name, and of a token, in bytes; KSYM_NAME_LEN is 512."""
WORD = 8
_INDEX = 4


class ImageSymbol(NamedTuple):
    """A symbol; ``type`` is nm(1)'s letter. A per-CPU symbol's address is its offset into that area."""

    name: str
    type: str
    address: int


class ImageSymbols:
    """Symbols in the order of kallsyms, that is by address, per-CPU symbols first.

    Nothing is built to look one up, for a kernel has 180,000 of them and a short run asks for twenty: the
    names are one text, and a list of the symbols in the order of their names is searched, as kallsyms itself
    does (kallsyms_seqs_of_names).
    """

    def __init__(
        self,
        addresses: Numbers,
        starts: Numbers,
        by_name: Numbers,
        types: bytes,
        text: bytes,
    ) -> None:
        """``text``: every name and a zero byte, ``starts``: where each begins; ``by_name``: indexes."""
        self._addresses, self._starts, self._by_name = addresses, starts, by_name
        self._types, self._text = types, text

    @classmethod
    def of(cls, symbols: Iterable[ImageSymbol]) -> ImageSymbols:
        """Make a table from symbols in any order."""
        ordered = sorted(symbols, key=lambda symbol: symbol.address)
        names = [_bytes_of(symbol.name) for symbol in ordered]
        starts, at = array("I"), 0
        for name in names:
            starts.append(at)
            at += len(name) + 1
        return cls(
            array("Q", [symbol.address for symbol in ordered]),
            starts,
            array("I", sorted(range(len(names)), key=names.__getitem__)),
            "".join(symbol.type[:1] or "?" for symbol in ordered).encode("latin-1", "replace"),
            b"".join(name + b"\0" for name in names),
        )

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[ImageSymbol]:
        return map(self._symbol, range(len(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def get(self, name: str) -> int | None:
        """Return the address of the first symbol with this name, or None."""
        index = self._find(name)
        return None if index is None else self._addresses[index]

    def _find(self, name: str) -> int | None:
        """Symbols of one name are in the order of their addresses."""
        wanted = _bytes_of(name)
        place = bisect_left(self._by_name, wanted, key=self._name)
        if place == len(self._by_name) or self._name(index := self._by_name[place]) != wanted:
            return None
        return index

    def _name(self, index: int) -> bytes:
        start = self._starts[index]
        return self._text[start : self._text.index(0, start)]

    def _symbol(self, index: int) -> ImageSymbol:
        name = self._name(index).decode("utf-8", "surrogatepass")
        return ImageSymbol(name, chr(self._types[index]), self._addresses[index])

    def at(self, address: int) -> ImageSymbol | None:
        """Return the last symbol at or before an address; the first one if several have the same address."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        while index and self._addresses[index - 1] == self._addresses[index]:
            index -= 1
        return self._symbol(index)

    def size_at(self, address: int) -> int:
        """Return the bytes from the symbol at or before an address to the next symbol; 0 if there is none."""
        index = bisect_right(self._addresses, address)
        if not 0 < index < len(self._addresses):
            return 0
        return self._addresses[index] - self._addresses[index - 1]

    # Serialisation

    def to_bytes(self) -> bytes:
        """Return the table as bytes, in this machine's byte order."""
        numbers = (bytes(words) for words in (self._addresses, self._starts, self._by_name))
        return b"".join((len(self).to_bytes(WORD, "little"), *numbers, self._types, self._text))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> ImageSymbols:
        """Read the result of :meth:`to_bytes`; ValueError for anything else.

        The lists of numbers remain where they are in ``data``.
        """
        count = int.from_bytes(data[:WORD], "little")
        ends = [WORD]
        for size in (WORD, _INDEX, _INDEX, 1):
            ends.append(ends[-1] + size * count)
        if ends[-1] > len(data):
            raise ValueError("not a symbol table")
        view = memoryview(data)
        addresses, starts, by_name, types = map(view.__getitem__, map(slice, ends[:-1], ends[1:]))
        table = cls(
            addresses.cast("Q"), starts.cast("I"), by_name.cast("I"), bytes(types), bytes(view[ends[-1] :])
        )
        if not table._is_whole():
            raise ValueError("not a symbol table")
        return table

    def _is_whole(self) -> bool:
        """Whether the numbers fit: not if they are in another machine's byte order."""
        count = len(self)
        last = self._starts[-1] if count else 0
        ends = self._text[-1:] == b"\0" and self._text.find(0, last) == len(self._text) - 1
        return (ends and self._starts[0] == 0) if count else not self._text


def _bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
