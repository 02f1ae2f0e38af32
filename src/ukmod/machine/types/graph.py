"""The graph of types that BTF, DWARF and profiles share, and how layouts are derived from it.

Each format converts its records into :class:`Node` values that refer to each other by number. Everything else
is here: resolving typedefs, flattening anonymous members, limiting what a hostile file can cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from ukmod.errors import FormatError
from ukmod.machine.types.layout import (
    EnumLayout,
    FormalParameter,
    Kind,
    Member,
    Prototype,
    StructLayout,
    Type,
)
from ukmod.record import record, replace

__all__ = [
    "AGGREGATES",
    "LONGEST_NAME",
    "POINTER",
    "VOID",
    "Field",
    "Graph",
    "Later",
    "Node",
    "Tag",
    "TypeSource",
]

POINTER = 8
"""The size of a pointer in bytes: modules are for x86-64."""
LONGEST_NAME = 512
"""KSYM_NAME_LEN. A text's ends could be as many names as it has bytes, and fill the memory."""
_DEPTH = 64
"""The maximum nesting of types; the kernel's own stay below 20, so deeper nesting is a loop."""
_MEMBERS = 1 << 16
"""The maximum number of a struct's members, including those of anonymous structs inside it."""
_ALL_MEMBERS = 1 << 20
"""The same of all structs that are looked up."""


class Tag:
    """The kinds of nodes: those of :class:`~ukmod.machine.types.layout.Kind`, and names for other nodes."""

    VOID = "void"
    INT = "int"
    FLOAT = "float"
    POINTER = "pointer"
    ARRAY = "array"
    STRUCT = "struct"
    UNION = "union"
    ENUM = "enum"
    FUNCTION = "function"
    FORWARD = "forward"
    TYPEDEF = "typedef"
    QUALIFIER = "qualifier"


AGGREGATES = (Tag.STRUCT, Tag.UNION)
VOID = 0
"""The number of the void node in every graph."""


@record
class Field:
    """A member (``bits`` is its offset in bits), parameter, or enumerator (``bits`` is its value)."""

    name: str
    bits: int
    bit_size: int
    target: int


@record
class Node:
    """One type. ``target`` is the number of the type it points to, consists of, names or returns."""

    tag: str
    name: str = ""
    size: int = 0
    signed: bool = False
    target: int = VOID
    counts: tuple[int, ...] = ()
    fields: tuple[Field, ...] = ()
    variadic: bool = False


class Graph(Protocol):
    """A source of types."""

    @property
    def path(self) -> str:
        """The path of the file, for messages."""

    def node(self, number: int) -> Node:
        """Read a type; FormatError if the number is invalid or the type is damaged."""

    def find(self, name: str, tags: Iterable[str]) -> int | None:
        """Return the number of the first complete type with this name and one of these tags."""

    def function(self, name: str) -> int | None:
        """Return the number of a function's type, by the function's name."""

    def variable(self, name: str) -> int | None:
        """Return the number of a variable's type, by the variable's name; None if it has no variables."""


class Later:
    """A graph that is read on first use; only the function that reads it is pickled."""

    def __init__(self, path: str, read: Callable[[], Graph]) -> None:
        self.path = path
        self._read = read

    @cached_property
    def graph(self) -> Graph:
        """The graph itself."""
        return self._read()

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_read": self._read}

    def node(self, number: int) -> Node:
        """Read a type."""
        return self.graph.node(number)

    def find(self, name: str, tags: Iterable[str]) -> int | None:
        """Return the number of the first type with this name."""
        return self.graph.find(name, tags)

    def function(self, name: str) -> int | None:
        """Return the number of a function's type."""
        return self.graph.function(name)

    def variable(self, name: str) -> int | None:
        """Return the number of a variable's type."""
        return self.graph.variable(name)


class TypeSource:
    """The layouts of one graph, each derived on first use."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._structs: dict[str, StructLayout | None] = {}
        self._types: dict[str, Type | None] = {}
        self._described: dict[int, Type] = {}
        self._inside: dict[int, StructLayout] = {}
        self._read_members = 0

    @property
    def path(self) -> str:
        """The path of the file that the types come from."""
        return self.graph.path

    def struct(self, name: str) -> StructLayout | None:
        """Return a struct or union by its tag or a typedef's name; None if it is unknown here."""
        if name not in self._structs:
            self._structs[name] = self._find_struct(name)
        return self._structs[name]

    def type(self, name: str) -> Type | None:
        """Return a type by tag, typedef or base type's name; None if it is unknown here."""
        if name not in self._types:
            self._types[name] = self._find_type(name)
        return self._types[name]

    def _find_type(self, name: str) -> Type | None:
        for tags in (AGGREGATES, (Tag.TYPEDEF,), (Tag.ENUM,), (Tag.INT, Tag.FLOAT)):
            number = self.graph.find(name, tags)
            if number is not None:
                found = self._describe(number)
                if found.kind is not Kind.FORWARD:
                    return found
        return None

    def enum(self, name: str) -> EnumLayout | None:
        """Return an enum by its tag or a typedef's name."""
        number = self.graph.find(name, (Tag.ENUM,))
        if number is None:
            number = self.graph.find(name, (Tag.TYPEDEF,))
        if number is None:
            return None
        node = self._resolve(number)[0]
        if node.tag != Tag.ENUM:
            return None
        return EnumLayout(
            name, node.size, MappingProxyType({field.name: field.bits for field in node.fields})
        )

    def prototype(self, function: str) -> Prototype | None:
        """Return a function's prototype by the function's name."""
        number = self.graph.function(function)
        return None if number is None else self._prototype(self.graph.node(number), function, 0)

    def variable(self, name: str) -> Type | None:
        """Return the type of a variable by the variable's name."""
        number = self.graph.variable(name)
        return None if number is None else self._describe(number)

    def _find_struct(self, name: str) -> StructLayout | None:
        number = self.graph.find(name, AGGREGATES)
        if number is None:
            number = self.graph.find(name, (Tag.TYPEDEF,))
        if number is None:
            return None
        node = self._resolve(number)[0]
        return self._layout(node, name, 0) if node.tag in AGGREGATES else None

    def _resolve(self, number: int) -> tuple[Node, str]:
        """Resolve typedefs and qualifiers; returns the node and the name of the outermost typedef."""
        typedef = ""
        for _ in range(_DEPTH):
            node = self.graph.node(number)
            if node.tag not in (Tag.TYPEDEF, Tag.QUALIFIER):
                return node, typedef
            if node.tag == Tag.TYPEDEF:
                typedef = typedef or node.name
            number = node.target
        raise FormatError(f"type {number} is defined by itself", path=self.path)

    def _describe(self, number: int, depth: int = 0) -> Type:
        # Results are kept not for speed but because a small hostile file can reach one type in exponentially
        # many ways.
        found = self._described.get(number)
        if found is None:
            if depth > _DEPTH:
                raise FormatError(f"type {number} is defined by itself", path=self.path)
            found = self._described[number] = self._read(number, depth)
        return found

    def _read(self, number: int, depth: int) -> Type:
        node, typedef = self._resolve(number)
        found = Type(Kind(node.tag), node.size, node.name, typedef, node.signed)
        match node.tag:
            case Tag.POINTER:
                return replace(found, target=self._pointee(node.target, depth + 1))
            case Tag.ARRAY:
                return replace(self._array(node, depth), typedef=typedef)
            case Tag.FUNCTION:
                return replace(found, prototype=self._prototype(node, "", depth + 1))
            case Tag.STRUCT | Tag.UNION if not node.name:
                return replace(found, layout=self._layout(node, typedef, depth + 1))
        return found

    def _pointee(self, number: int, depth: int) -> Type:
        """The type a pointer points to; only the name of a struct, whose members the file may lack."""
        found = self._describe(number, depth)
        if found.name and found.kind in (Kind.STRUCT, Kind.UNION):
            return replace(found, kind=Kind.FORWARD, size=0)
        return found

    def _array(self, node: Node, depth: int) -> Type:
        """Return an array; one with several dimensions is an array of arrays."""
        found = self._describe(node.target, depth + 1)
        if len(node.counts) > _DEPTH:
            raise FormatError(f"an array of {len(node.counts)} dimensions", path=self.path)
        for count in reversed(node.counts):
            size = count * found.size
            if not 0 <= size < 1 << 62:
                raise FormatError(f"an array of {size} bytes is too large", path=self.path)
            found = Type(Kind.ARRAY, size, count=count, target=found)
        return found

    def _prototype(self, node: Node, name: str, depth: int) -> Prototype:
        parameters = [
            FormalParameter(field.name, self._describe(field.target, depth + 1)) for field in node.fields
        ]
        return Prototype(name, self._describe(node.target, depth + 1), tuple(parameters), node.variadic)

    def _unnamed(self, number: int, depth: int) -> StructLayout:
        """The layout of a tagged struct that is an unnamed member, as with -fms-extensions."""
        if number not in self._inside:  # see _describe
            self._inside[number] = self._layout(self._resolve(number)[0], "", depth)
        return self._inside[number]

    def _layout(self, node: Node, name: str, depth: int) -> StructLayout:
        if depth > _DEPTH:
            raise FormatError(f"struct {node.name or name} is defined by itself", path=self.path)
        members: dict[str, Member] = {}
        for number, member in enumerate(self._members(node, 0, depth)):
            members.setdefault(member.name, member)
            if number >= _MEMBERS:
                raise FormatError(f"struct {name} has more than {_MEMBERS} members", path=self.path)
        self._read_members += len(members)
        if self._read_members > _ALL_MEMBERS:
            raise FormatError(f"its structs have more than {_ALL_MEMBERS} members", path=self.path)
        return StructLayout(name, node.size, MappingProxyType(members), union=node.tag == Tag.UNION)

    def _members(self, node: Node, base: int, depth: int) -> Iterator[Member]:
        """Yield the members of a struct at offset ``base`` within the requested one."""
        for field in node.fields:
            kind = self._describe(field.target, depth + 1)
            offset, bit = base + field.bits // 8, field.bits % 8
            if field.name:
                yield Member(field.name, offset, kind, bit, field.bit_size)
            elif kind.kind in (Kind.STRUCT, Kind.UNION):
                inner = kind.layout or self._unnamed(field.target, depth + 1)
                for member in inner.members.values():
                    yield replace(member, offset=offset + member.offset)
