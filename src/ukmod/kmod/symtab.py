"""The symbol table of an ELF file: each entry is made when it is asked for.

Of a module's symbols, a few are of interest: the exported ones, the init function, those that relocations
name. They are found by their names' places among the strings, or by their values.
"""

from __future__ import annotations

from collections.abc import Sequence

from ukmod.kmod.elf import Symbol, string_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from struct import Struct
    from typing import overload

__all__ = ["ElfSymbols"]


class ElfSymbols(Sequence[Symbol]):
    """Symbols by their index. All of them are kept once somebody went through them."""

    __slots__ = ("_all", "_is_64", "_names", "_offsets", "_struct", "_table")

    def __init__(self, table: bytes, names: bytes, struct: Struct, *, is_64: bool) -> None:
        """``table`` is of whole entries, ``names`` the strings; ``struct`` is an entry's layout."""
        self._table = table
        self._names = names + b"\0"
        self._struct = struct
        self._is_64 = is_64
        self._all: list[Symbol] | None = None
        self._offsets = [fields[0] for fields in struct.iter_unpack(table)]

    def first_nameless(self) -> int | None:
        """Return the first symbol whose name lies outside of the strings; None if there is none."""
        end = len(self._names) - 1
        if max(self._offsets, default=0) < max(end, 1):
            return None
        return next(index for index, at in enumerate(self._offsets) if at >= end and at)

    def __len__(self) -> int:
        return len(self._offsets)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int, /) -> Symbol: ...
        @overload
        def __getitem__(self, index: slice, /) -> list[Symbol]: ...

    def __getitem__(self, index: int | slice, /) -> Symbol | list[Symbol]:
        """Return a symbol, or some; IndexError for one that is not there."""
        if isinstance(index, slice):
            return [self._symbol(one) for one in range(len(self))[index]]
        return self._symbol(range(len(self))[index])

    def __iter__(self) -> Iterator[Symbol]:
        if self._all is None:
            self._all = [self._made(index, fields) for index, fields in enumerate(self._entries())]
        return iter(self._all)

    def named(self, name: str) -> list[Symbol]:
        """Return the symbols of a name."""
        return self._at_places(name.encode("utf-8", "surrogateescape") + b"\0")

    def starting(self, prefix: str) -> list[Symbol]:
        """Return the symbols whose names begin with some text."""
        return self._at_places(prefix.encode("utf-8", "surrogateescape"))

    def at(self, section: int, value: int) -> Iterator[Symbol]:
        """Yield the symbols of a value in a section."""
        of_value, of_section = (4, 3) if self._is_64 else (1, 5)
        for index, fields in enumerate(self._entries()):
            if fields[of_value] == value and fields[of_section] == section:
                yield self._symbol(index)

    def _at_places(self, text: bytes) -> list[Symbol]:
        places = set()
        at = self._names.find(text)
        while at >= 0:
            places.add(at)
            at = self._names.find(text, at + 1)
        if not places:
            return []
        return [self._symbol(index) for index, at in enumerate(self._offsets) if at in places]

    def _entries(self) -> Iterator[tuple[int, ...]]:
        return self._struct.iter_unpack(self._table)

    def _symbol(self, index: int) -> Symbol:
        if self._all is not None:
            return self._all[index]
        return self._made(index, self._struct.unpack_from(self._table, index * self._struct.size))

    def _made(self, index: int, fields: tuple[int, ...]) -> Symbol:
        if self._is_64:
            name, info, other, section, value, size = fields
        else:
            name, value, size, info, other, section = fields
        text = string_at(self._names, name).decode("utf-8", "surrogateescape")
        return Symbol(index, text, value, size, info & 15, info >> 4, other, section)
