"""Struct layouts and prototypes of a kernel and its modules, from BTF, DWARF or a profile."""

from ukmod.machine.types.btf import Btf
from ukmod.machine.types.dwarf import Dwarf
from ukmod.machine.types.graph import TypeSource
from ukmod.machine.types.layout import (
    EnumLayout,
    FormalParameter,
    Kind,
    Member,
    Prototype,
    StructLayout,
    Type,
)
from ukmod.machine.types.lines import SourceLine, SourceLines
from ukmod.machine.types.profile import Profile, read_profile
from ukmod.machine.types.select import find_profile, read_types, types_for
from ukmod.machine.types.types import Types

__all__ = [
    "Btf",
    "Dwarf",
    "EnumLayout",
    "FormalParameter",
    "Kind",
    "Member",
    "Profile",
    "Prototype",
    "SourceLine",
    "SourceLines",
    "StructLayout",
    "Type",
    "TypeSource",
    "Types",
    "find_profile",
    "read_profile",
    "read_types",
    "types_for",
]
