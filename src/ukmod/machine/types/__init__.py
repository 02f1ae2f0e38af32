"""Struct layouts and prototypes of a kernel and its modules, from BTF, DWARF or a profile.

The parts for DWARF, dwarf.py and lines.py, are imported where a module has it.
"""

from ukmod.machine.types.btf import Btf
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
from ukmod.machine.types.profile import Profile, read_profile
from ukmod.machine.types.select import find_profile, read_types, types_for
from ukmod.machine.types.types import Types

__all__ = [
    "Btf",
    "EnumLayout",
    "FormalParameter",
    "Kind",
    "Member",
    "Profile",
    "Prototype",
    "StructLayout",
    "Type",
    "TypeSource",
    "Types",
    "find_profile",
    "read_profile",
    "read_types",
    "types_for",
]
