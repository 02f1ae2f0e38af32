"""BTF, the kernel's own type information (Documentation/bpf/btf.rst): ``.BTF`` of vmlinux and of modules.

A vmlinux has some 130,000 types in 4 MB. They are scanned once for their offsets; each type is read on first
use. A module's BTF is split: its type ids and string offsets continue those of its base.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from functools import cached_property, lru_cache
from struct import Struct

from ukmod.errors import FormatError
from ukmod.machine.types.graph import LONGEST_NAME, POINTER, Field, Node, Tag

__all__ = ["Btf", "is_btf"]

_MAGIC = 0xEB9F


class _Kind:
    """BTF_KIND_*, include/uapi/linux/btf.h."""

    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# Bytes after the 12 common to all types: a fixed number per kind, and a number for each of its `vlen` parts.
_FIXED = {_Kind.INT: 4, _Kind.ARRAY: 12, _Kind.VAR: 4, _Kind.DECL_TAG: 4}
_EACH = {
    _Kind.STRUCT: 12,
    _Kind.UNION: 12,
    _Kind.ENUM: 8,
    _Kind.FUNC_PROTO: 8,
    _Kind.DATASEC: 12,
    _Kind.ENUM64: 12,
}
_SIZES = [(_FIXED.get(kind, 0), _EACH.get(kind, 0)) for kind in range(32)]

_TAGS = {
    _Kind.INT: Tag.INT,
    _Kind.PTR: Tag.POINTER,
    _Kind.ARRAY: Tag.ARRAY,
    _Kind.STRUCT: Tag.STRUCT,
    _Kind.UNION: Tag.UNION,
    _Kind.ENUM: Tag.ENUM,
    _Kind.ENUM64: Tag.ENUM,
    _Kind.FWD: Tag.FORWARD,
    _Kind.TYPEDEF: Tag.TYPEDEF,
    _Kind.VOLATILE: Tag.QUALIFIER,
    _Kind.CONST: Tag.QUALIFIER,
    _Kind.RESTRICT: Tag.QUALIFIER,
    _Kind.TYPE_TAG: Tag.QUALIFIER,
    _Kind.FUNC_PROTO: Tag.FUNCTION,
    _Kind.FLOAT: Tag.FLOAT,
}
_INDEXED = (
    _Kind.INT,
    _Kind.STRUCT,
    _Kind.UNION,
    _Kind.ENUM,
    _Kind.ENUM64,
    _Kind.TYPEDEF,
    _Kind.FUNC,
    _Kind.FLOAT,
    _Kind.VAR,
)

_VOID = Node(Tag.VOID)


def is_btf(data: bytes) -> bool:
    """True if this is raw BTF, of either byte order."""
    return data[:2] in (b"\x9f\xeb", b"\xeb\x9f")


class Btf:
    """The types of a BTF blob, and of its ``base`` if it is a module's.

    Types are identified by BTF's type ids; 0 is void. Raises FormatError for any inconsistency in the blob.
    """

    def __init__(self, data: bytes, *, base: Btf | None = None, path: str = "") -> None:
        self.path = path
        self.raw = data
        self._base = base
        if not is_btf(data) or len(data) < 24:
            raise FormatError("not BTF", path=path, offset=0)
        self._order = "<" if data[0] == _MAGIC & 0xFF else ">"
        _magic, version, _flags, header, types, types_size, strings, strings_size = self._struct(
            "HBBIIIII"
        ).unpack_from(data)
        if version != 1:
            raise FormatError(f"unknown BTF version {version}", path=path, offset=2)
        for what, at, size in (("types", types, types_size), ("strings", strings, strings_size)):
            if header < 24 or header + at + size > len(data):
                raise FormatError(f"the BTF {what} are beyond its end", path=path, offset=header + at)
        self._at = header + types
        self._types = data[self._at : self._at + types_size]
        self._strings_at = header + strings
        self._strings = data[header + strings : header + strings + strings_size]
        if strings_size and self._strings[-1]:
            raise FormatError(
                "the BTF strings do not end in NUL", path=path, offset=header + strings + strings_size
            )
        self._first = 1 if base is None else base.end
        self._first_string = 0 if base is None else base.strings_end
        self._places, self._types_at, self._functions_at = self._scan()
        self._fields = {12: self._struct("III"), 8: self._struct("II"), 4: self._struct("I")}
        self._head = self._struct("III")
        self._cached = lru_cache(maxsize=1 << 14)(self._node)

    @property
    def end(self) -> int:
        """One more than the highest type id."""
        return self._first + len(self._places)

    @property
    def strings_end(self) -> int:
        """The offset at which a split BTF's strings continue."""
        return self._first_string + len(self._strings)

    def _struct(self, layout: str) -> Struct:
        return Struct(self._order + layout)

    def _scan(self) -> tuple[array[int], dict[int, list[int]], dict[int, list[int]]]:
        """Scan all types: their offsets, and the ids of named types and functions by offset of the name."""
        places = array("I")
        named: dict[int, list[int]] = {}
        functions: dict[int, list[int]] = {}
        unpack, types, sizes = self._struct("II").unpack_from, self._types, _SIZES
        wanted = [kind in _INDEXED for kind in range(32)]
        at, number, end = 0, self._first, len(self._types)
        while at < end:
            try:
                name, info = unpack(types, at)
            except struct.error:
                raise self._error("a BTF type is cut off", at) from None
            kind = info >> 24 & 31
            if not 0 < kind <= _Kind.ENUM64:
                raise self._error(f"BTF type {number} has the unknown kind {kind}", at)
            places.append(at)
            if name and wanted[kind]:
                (functions if kind == _Kind.FUNC else named).setdefault(name, []).append(number)
            fixed, each = sizes[kind]
            at += 12 + fixed + (each and each * (info & 0xFFFF))
            number += 1
        if at > end:
            raise self._error("the last BTF type is cut off", end)
        return places, named, functions

    def _error(self, message: str, at: int) -> FormatError:
        return FormatError(message, path=self.path, offset=self._at + at)

    def _string(self, offset: int) -> str:
        if offset and not offset < self.strings_end:
            raise FormatError(f"no BTF string at offset {offset}", path=self.path)
        return self._bytes(offset).decode("utf-8", "replace")

    def find(self, name: str, tags: Iterable[str]) -> int | None:
        """Return the id of the first type with this name and one of these tags, the base's types first."""
        found = None if self._base is None else self._base.find(name, tags)
        if found is None:
            wanted = tuple(tags)
            numbers = self._type_numbers.get(name.encode(), ())
            found = next((n for n in numbers if _TAGS.get(self._kind(n)) in wanted), None)
        return found

    def function(self, name: str) -> int | None:
        """Return the id of a function's prototype."""
        for number in self._function_numbers.get(name.encode(), ()):
            prototype = self._head.unpack_from(self._types, self._places[number - self._first])[2]
            return prototype if self._read_kind(prototype) == _Kind.FUNC_PROTO else None
        return None if self._base is None else self._base.function(name)

    def variable(self, name: str) -> int | None:
        """Return the id of a per-CPU variable's type: kernels' BTF has the types of no others."""
        for number in self._type_numbers.get(name.encode(), ()):
            if self._kind(number) == _Kind.VAR:
                target: int = self._head.unpack_from(self._types, self._places[number - self._first])[2]
                return target
        return None if self._base is None else self._base.variable(name)

    @cached_property
    def _type_numbers(self) -> dict[bytes, list[int]]:
        # Few of a module's types are ever needed, so the index is built on first use.
        return self._index(self._types_at)

    @cached_property
    def _function_numbers(self) -> dict[bytes, list[int]]:
        return self._index(self._functions_at)

    def _index(self, named: dict[int, list[int]]) -> dict[bytes, list[int]]:
        """Convert an index by offset of the name to one by name; a string may occur more than once."""
        numbers: dict[bytes, list[int]] = {}
        for offset, found in named.items():
            if name := self._bytes(offset):
                numbers.setdefault(name, []).extend(found)
        return {name: sorted(found) for name, found in numbers.items()}

    def _bytes(self, offset: int) -> bytes:
        """The bytes of a string; empty if there is none at this offset."""
        if self._base is not None and offset < self._first_string:
            return self._base._bytes(offset)  # noqa: SLF001 - the same class
        start = offset - self._first_string
        if start >= len(self._strings):
            return b""
        end = self._strings.find(0, start, start + LONGEST_NAME)
        if end < 0:
            text = f"a BTF string of {LONGEST_NAME} bytes or more"
            raise FormatError(text, path=self.path, offset=self._strings_at + start)
        return self._strings[start:end]

    def _kind(self, number: int) -> int:
        info: int = self._head.unpack_from(self._types, self._places[number - self._first])[1]
        return info >> 24 & 31

    def _read_kind(self, number: int) -> int:
        if 0 < number < self._first and self._base is not None:
            return self._base._read_kind(number)  # noqa: SLF001 - the same class
        return self._kind(number) if self._first <= number < self.end else 0

    def node(self, number: int) -> Node:
        """Read a type by its id."""
        if number == 0:
            return _VOID
        if number < self._first and self._base is not None:
            return self._base.node(number)
        if not self._first <= number < self.end:
            raise FormatError(f"no BTF type {number}", path=self.path)
        return self._cached(number)

    def _node(self, number: int) -> Node:
        at = self._places[number - self._first]
        name_offset, info, size = self._head.unpack_from(self._types, at)
        kind, parts, flag = info >> 24 & 31, info & 0xFFFF, bool(info >> 31)
        name, tag = self._string(name_offset), _TAGS.get(kind)
        match kind:
            case _Kind.STRUCT | _Kind.UNION:
                return Node(str(tag), name, size, fields=self._members(at, parts, bitfields=flag))
            case _Kind.ENUM | _Kind.ENUM64:
                return Node(Tag.ENUM, name, size, flag, fields=self._enumerators(at, kind, parts, flag))
            case _Kind.INT:
                return self._int(name, size, at)
            case _Kind.ARRAY:
                target, _index, count = self._head.unpack_from(self._types, at + 12)
                return Node(Tag.ARRAY, target=target, counts=(count,))
            case _Kind.FUNC_PROTO:
                return self._prototype(at, parts, size)
            case _Kind.PTR:
                return Node(Tag.POINTER, size=POINTER, target=size)
            case _Kind.FLOAT:
                return Node(Tag.FLOAT, name, size)
            case _Kind.FWD:
                return Node(Tag.FORWARD, name)
            case _Kind.TYPEDEF | _Kind.VOLATILE | _Kind.CONST | _Kind.RESTRICT | _Kind.TYPE_TAG:
                return Node(str(tag), name, target=size)
        raise FormatError(f"BTF type {number} is not a C type", path=self.path, offset=self._at + at)

    def _parts(self, at: int, count: int, size: int) -> Iterable[tuple[int, ...]]:
        return self._fields[size].iter_unpack(self._types[at + 12 : at + 12 + count * size])

    def _members(self, at: int, count: int, *, bitfields: bool) -> tuple[Field, ...]:
        # With this flag, the upper eight bits of a member's offset are the width of its bitfield.
        mask = 0xFFFFFF if bitfields else 0xFFFFFFFF
        return tuple(
            Field(self._string(name), offset & mask, offset >> 24 if bitfields else 0, target)
            for name, target, offset in self._parts(at, count, 12)
        )

    def _enumerators(self, at: int, kind: int, count: int, signed: bool) -> tuple[Field, ...]:  # noqa: FBT001
        fields = []
        for name, low, *high in self._parts(at, count, 12 if kind == _Kind.ENUM64 else 8):
            value, bits = (low | high[0] << 32, 64) if high else (low, 32)
            if signed and value >> (bits - 1):
                value -= 1 << bits
            fields.append(Field(self._string(name), value, 0, 0))
        return tuple(fields)

    def _int(self, name: str, size: int, at: int) -> Node:
        (encoding,) = self._fields[4].unpack_from(self._types, at + 12)
        return Node(Tag.INT, name, size, signed=bool(encoding >> 24 & 1))

    def _prototype(self, at: int, count: int, returns: int) -> Node:
        fields = [Field(self._string(name), 0, 0, target) for name, target in self._parts(at, count, 8)]
        variadic = bool(fields) and not fields[-1].name and not fields[-1].target
        return Node(
            Tag.FUNCTION, target=returns, fields=tuple(fields[: -1 if variadic else None]), variadic=variadic
        )
