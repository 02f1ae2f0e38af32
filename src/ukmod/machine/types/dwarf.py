"""The types in a module's own DWARF, which kbuild leaves in the .ko; task_struct and others are among them.

A name that is nowhere among the file's texts is not a type of it: a search for bytes tells. At the first name
that is, the top-level entries of each unit are scanned for their names; a type is read on first use.
Types are identified by their offsets into ``.debug_info``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache

from ukmod.errors import FormatError
from ukmod.kmod.elf import Elf
from ukmod.machine.types.debugsections import read_unrelocated, supports
from ukmod.machine.types.dies import At, DebugInfo, Die, DwTag
from ukmod.machine.types.graph import LONGEST_NAME, POINTER, VOID, Field, Node, Tag

__all__ = ["Dwarf"]

_TEXTS = (".debug_str", ".debug_info", ".debug_line_str")
"""Where names are: strings of their own, or within the entries."""
_ENUM = 4
_TAGS = {
    DwTag.BASE: Tag.INT,
    DwTag.POINTER: Tag.POINTER,
    DwTag.ARRAY: Tag.ARRAY,
    DwTag.STRUCT: Tag.STRUCT,
    DwTag.UNION: Tag.UNION,
    DwTag.ENUM: Tag.ENUM,
    DwTag.TYPEDEF: Tag.TYPEDEF,
    DwTag.CONST: Tag.QUALIFIER,
    DwTag.VOLATILE: Tag.QUALIFIER,
    DwTag.RESTRICT: Tag.QUALIFIER,
    DwTag.ATOMIC: Tag.QUALIFIER,
    DwTag.SUBROUTINE_TYPE: Tag.FUNCTION,
    DwTag.SUBPROGRAM: Tag.FUNCTION,
    DwTag.UNSPECIFIED_TYPE: Tag.VOID,
}
_INDEXED = frozenset({DwTag.BASE, DwTag.STRUCT, DwTag.UNION, DwTag.ENUM, DwTag.TYPEDEF, DwTag.SUBPROGRAM})
_FLOAT, _SIGNED = 0x04, (0x05, 0x06, 0x0D)  # DW_ATE_float; _signed, _signed_char, _signed_fixed


class Dwarf:
    """The types of a file's DWARF, read on first use. Look-ups raise FormatError if it is damaged."""

    def __init__(self, elf: Elf) -> None:
        self.path = elf.path
        self._elf = elf
        self._cached = lru_cache(maxsize=1 << 13)(self._node)

    @staticmethod
    def is_in(elf: Elf) -> bool:
        """True if a file has DWARF for a machine whose relocations are known."""
        return supports(elf) and elf.section(".debug_info") is not None

    @cached_property
    def info(self) -> DebugInfo:
        """The file's entries. To relocate them takes seconds where there are many."""
        return DebugInfo(self._elf)

    @cached_property
    def _texts(self) -> tuple[bytes, ...]:
        return tuple(read_unrelocated(self._elf, section) for section in _TEXTS)

    def _mentions(self, name: str) -> bool:
        """False if the file names nothing so. Linkers merge the ends of strings: it may begin anywhere."""
        text = name.encode("utf-8", "surrogateescape") + b"\0"
        return any(text in texts for texts in self._texts)

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], int]:
        info = self.info
        found: dict[tuple[str, str], int] = {}
        for unit in info.units:
            for die in info.children(unit.root) if unit.root is not None else ():
                if die.tag in _INDEXED and die.has(At.NAME):
                    # Without DW_AT_prototyped (gcc -g1) no DW_AT_type does not mean void: types are left out.
                    needed = At.PROTOTYPED if die.tag == DwTag.SUBPROGRAM else None
                    if die.has(needed) if needed else not die.has(At.DECLARATION):
                        name = info.text(die, At.NAME)
                        if len(name) <= LONGEST_NAME:
                            found.setdefault((name, _TAGS[die.tag]), die.offset)
        return found

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield (name, tag) of all complete types and functions."""
        return iter(self._by_name)

    def find(self, name: str, tags: Iterable[str]) -> int | None:
        """Return the offset of the first complete type with this name and one of these tags."""
        if not self._mentions(name):
            return None
        numbers = (self._by_name.get((name, tag)) for tag in tags)
        return next((number for number in numbers if number is not None), None)

    def function(self, name: str) -> int | None:
        """Return the offset of a function's entry."""
        return self._by_name.get((name, Tag.FUNCTION)) if self._mentions(name) else None

    def variable(self, name: str) -> int | None:  # noqa: ARG002 - the protocol's
        """Return None: variables are not looked for among the entries."""
        return None

    def node(self, number: int) -> Node:
        """Read the type at an offset."""
        return self._cached(number)

    def _node(self, number: int) -> Node:
        if number == VOID:
            return Node(Tag.VOID)
        info = self.info
        die = info.die(number)
        tag = None if die is None else _TAGS.get(die.tag)
        if die is None or tag is None:
            raise FormatError("not the entry of a type", path=self.path, offset=number)
        name, size = info.text(die, At.NAME), info.number(die, At.BYTE_SIZE)
        if die.has(At.DECLARATION) and tag in (Tag.STRUCT, Tag.UNION):
            return Node(Tag.FORWARD, name)
        target = info.reference(die, At.TYPE)
        match tag:
            case Tag.STRUCT | Tag.UNION:
                return Node(tag, name, size, fields=tuple(self._members(die)))
            case Tag.ENUM:
                fields = tuple(self._enumerators(die))
                # An enum that is only declared has no size here; it has that of an int.
                return Node(tag, name, size or _ENUM, any(field.bits < 0 for field in fields), fields=fields)
            case Tag.INT:
                encoding = info.number(die, At.ENCODING)
                return Node(Tag.FLOAT if encoding == _FLOAT else tag, name, size, encoding in _SIGNED)
            case Tag.ARRAY:
                return Node(tag, target=target, counts=tuple(self._counts(die)))
            case Tag.FUNCTION:
                return self._prototype(die, target)
            case Tag.POINTER:
                return Node(tag, size=size or POINTER, target=target)
        return Node(tag, name, target=target)

    def _members(self, struct: Die) -> Iterator[Field]:
        info = self.info
        for die in info.children(struct):
            if die.tag == DwTag.MEMBER:
                width = info.number(die, At.BIT_SIZE)
                bits = 8 * info.number(die, At.MEMBER_LOCATION)
                if die.has(At.DATA_BIT_OFFSET):
                    bits = info.number(die, At.DATA_BIT_OFFSET)
                elif die.has(At.BIT_OFFSET):
                    # Before DWARF 4: counted from the most significant bit of the storage unit.
                    unit = info.number(die, At.BYTE_SIZE) or self._size(info.reference(die, At.TYPE))
                    bits += 8 * unit - info.signed(die, At.BIT_OFFSET) - width
                if bits < 0:
                    raise FormatError("a member begins before its struct", path=self.path, offset=die.offset)
                yield Field(info.text(die, At.NAME), bits, width, info.reference(die, At.TYPE))

    def _size(self, number: int) -> int:
        for _ in range(64):
            node = self.node(number)
            if node.tag not in (Tag.TYPEDEF, Tag.QUALIFIER):
                return node.size
            number = node.target
        raise FormatError("a type is defined by itself", path=self.path, offset=number)

    def _enumerators(self, enum: Die) -> Iterator[Field]:
        info = self.info
        for die in info.children(enum):
            if die.tag == DwTag.ENUMERATOR:
                yield Field(info.text(die, At.NAME), info.number(die, At.CONST_VALUE), 0, VOID)

    def _counts(self, array: Die) -> Iterator[int]:
        info = self.info
        for die in info.children(array):
            if die.tag == DwTag.SUBRANGE:
                if die.has(At.UPPER_BOUND):
                    # An array without elements has the upper bound -1 in 64 bits; in fewer bits, 255 is an
                    # ordinary bound.
                    bound = info.number(die, At.UPPER_BOUND)
                    yield bound + 1 if 0 <= bound < 1 << 63 else 0
                else:
                    yield info.number(die, At.COUNT)

    def _prototype(self, function: Die, returns: int) -> Node:
        info, parameters, variadic = self.info, [], False
        for die in info.children(function):
            if die.tag == DwTag.PARAMETER:
                parameters.append(Field(info.text(die, At.NAME), 0, 0, info.reference(die, At.TYPE)))
            variadic = variadic or die.tag == DwTag.UNSPECIFIED_PARAMETERS
        return Node(Tag.FUNCTION, target=returns, fields=tuple(parameters), variadic=variadic)
