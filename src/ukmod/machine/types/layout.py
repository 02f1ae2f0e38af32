"""The properties of C types as values: sizes, members and prototypes.

All sizes and offsets are in bytes unless a name says bits. Members of anonymous structs and unions are listed
among those of the enclosing struct, as in C.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ukmod.record import record

__all__ = ["EnumLayout", "FormalParameter", "Kind", "Member", "Prototype", "StructLayout", "Type"]


class Kind(Enum):
    """The kinds of C types, after resolving typedefs and qualifiers."""

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
    """A struct or union known by name only: the file does not define it, or it is only pointed to."""


@record
class Type:
    """A C type.

    ``name`` is the tag or the base type's name, "" if it has none; ``typedef`` is the outermost typedef
    through which it was reached. ``target`` is the type that a pointer points to or an array consists of.
    ``layout`` holds the members of an unnamed struct or union; named ones are looked up by name. In BTF an
    array of arrays is one array of all elements, as pahole writes it.
    """

    kind: Kind
    size: int
    name: str = ""
    typedef: str = ""
    signed: bool = False
    count: int = 0
    target: Type | None = None
    layout: StructLayout | None = None
    prototype: Prototype | None = None

    def __str__(self) -> str:
        """The type as a C declaration would name it."""
        if self.typedef:
            return self.typedef
        match self.kind:
            case Kind.POINTER:
                return (
                    f"{self.target} *"
                    if self.target is None or str(self.target)[-1:] != "*"
                    else f"{self.target}*"
                )
            case Kind.ARRAY:
                return f"{self.target}[{self.count}]"
            case Kind.FUNCTION:
                return "a function" if self.prototype is None else str(self.prototype)
            case Kind.STRUCT | Kind.UNION | Kind.ENUM:
                return f"{self.kind.value} {self.name or '{...}'}"
            case Kind.FORWARD:
                return f"struct {self.name}"
            case Kind.VOID:
                return "void"
        return self.name


@record
class Member:
    """A member of a struct or union.

    ``offset`` is the offset of its first byte. A bitfield occupies ``bit_size`` bits from bit ``bit_offset``
    (0 to 7, from the least significant) of that byte; ``bit_size`` is 0 for any other member.
    """

    name: str
    offset: int
    type: Type
    bit_offset: int = 0
    bit_size: int = 0

    @property
    def size(self) -> int:
        """The size of its type in bytes, 0 for a flexible array."""
        return self.type.size


@record
class StructLayout:
    """A struct or, if ``union``, a union, with its members in order."""

    name: str
    size: int
    members: Mapping[str, Member]
    union: bool = False


@record
class EnumLayout:
    """An enum and its constants."""

    name: str
    size: int
    values: Mapping[str, int]


@record
class FormalParameter:
    """A parameter of a function; its name may be unknown."""

    name: str
    type: Type


@record
class Prototype:
    """A function's parameters and result; ``variadic`` if the parameters end in ``...``."""

    name: str
    returns: Type
    parameters: tuple[FormalParameter, ...]
    variadic: bool = False

    def __str__(self) -> str:
        """The prototype in C, ``int printk(char * fmt, ...)``."""
        parameters = [f"{parameter.type} {parameter.name}".rstrip() for parameter in self.parameters]
        if self.variadic:
            parameters.append("...")
        return f"{self.returns} {self.name}({', '.join(parameters) or 'void'})"
