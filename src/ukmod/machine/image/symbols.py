"""A kernel's symbols by name and by address, in a form that can be cached and read back quickly."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["LONGEST_NAME", "WORD", "Symbol", "SymbolTable"]

LONGEST_NAME = 1024
"""The maximum size of a name, and of a token, in bytes; KSYM_NAME_LEN is 512."""
WORD = 8


class Symbol(NamedTuple):
    """A symbol; ``type`` is nm(1)'s letter. A per-CPU symbol's address is its offset into that area."""

    name: str
    type: str
    address: int


class SymbolTable:
    """Symbols in the order of kallsyms, that is by address, per-CPU symbols first."""

    def __init__(self, names: list[str], types: str, addresses: array[int]) -> None:
        self._names, self._types, self._addresses = names, types, addresses
        self._by_name: dict[str, int] | None = None

    @classmethod
    def of(cls, symbols: Iterable[Symbol]) -> SymbolTable:
        """Make a table from symbols in any order."""
        ordered = sorted(symbols, key=lambda symbol: symbol.address)
        return cls(
            [symbol.name for symbol in ordered],
            "".join(symbol.type for symbol in ordered),
            array("Q", [symbol.address for symbol in ordered]),
        )

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Symbol]:
        return map(Symbol, self._names, self._types, self._addresses)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def get(self, name: str) -> int | None:
        """Return the address of the first symbol with this name, or None."""
        index = self._index.get(name)
        return None if index is None else self._addresses[index]

    def at(self, address: int) -> Symbol | None:
        """Return the last symbol at or before an address; the first one if several have the same address."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        while index and self._addresses[index - 1] == self._addresses[index]:
            index -= 1
        return Symbol(self._names[index], self._types[index], self._addresses[index])

    def size_at(self, address: int) -> int:
        """Return the bytes from the symbol at or before an address to the next symbol; 0 if there is none."""
        index = bisect_right(self._addresses, address)
        if not 0 < index < len(self._addresses):
            return 0
        return self._addresses[index] - self._addresses[index - 1]

    @property
    def _index(self) -> dict[str, int]:
        if self._by_name is None:
            count = len(self._names)
            self._by_name = dict(zip(reversed(self._names), range(count - 1, -1, -1), strict=True))
        return self._by_name

    # Serialisation

    def to_bytes(self) -> bytes:
        """Return the table as bytes, in this machine's byte order."""
        return b"".join(
            (
                len(self._names).to_bytes(WORD, "little"),
                self._addresses.tobytes(),
                "\0".join([self._types, *self._names]).encode("utf-8", "surrogatepass"),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> SymbolTable:
        """Read the result of :meth:`to_bytes`; ValueError for anything else."""
        count = int.from_bytes(data[:WORD], "little")
        end = WORD * (count + 1)
        types, *names = data[end:].decode("utf-8", "surrogatepass").split("\0")
        if len(data) < end or len(names) != count or len(types) != count:
            raise ValueError("not a symbol table")
        return cls(names, types, array("Q", data[WORD:end]))
