"""A module's parameters: which it has, and which values the kernel takes for them.

The readers are those of kernel/params.c. A module that is given a bad value is not loaded; a parameter that
it does not have is ignored, with a line in the log.
"""

from __future__ import annotations

import os
import re

from ukmod.kmod.elf import Elf, string_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.modinfo import ModuleInfo

__all__ = ["EVERY_MODULE", "init_function", "is_bad_value", "module_parameters"]

EVERY_MODULE = frozenset(("dyndbg", "async_probe"))
"""Parameters that the module loader itself takes, whatever the module has."""

_BITS = {
    "byte": (0, 8), "short": (1, 16), "ushort": (0, 16), "int": (1, 32), "uint": (0, 32), "hexint": (0, 32),
    "long": (1, 64), "ulong": (0, 64), "ullong": (0, 64),
}  # fmt: skip
"""Types of numbers: whether there is a sign, and the bits; a long is taken to have 64."""
_NUMBER = re.compile("[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?")


def module_parameters(elf: Elf, info: ModuleInfo) -> dict[str, str | None]:
    """Return a module's parameters and their types, as modinfo shows them; None for an unknown type.

    Its section ``__param`` lists also those that modinfo does not show.
    """
    found: dict[str, str | None] = {one.name: one.type for one in info.parameters}
    for name in _listed(elf):
        found.setdefault(name, None)
    return found


def _listed(elf: Elf) -> list[str]:
    """Return the names that the section ``__param`` points at; none if it cannot be followed."""
    section = next((one for one in elf.sections if one.name in {".rela__param", ".rel__param"}), None)
    if section is None:
        return []
    size = 40 if elf.bits == 64 else 20
    names = []
    strings: dict[int, bytes] = {}
    for offset, _kind, index, addend in elf.relocations(section):
        symbol = elf.symbols[index] if offset % size == 0 and index < len(elf.symbols) else None
        if symbol is not None and 0 < symbol.shndx < len(elf.sections):
            if symbol.shndx not in strings:
                strings[symbol.shndx] = elf.section_data(elf.sections[symbol.shndx])
            names.append(os.fsdecode(string_at(strings[symbol.shndx], symbol.value + addend)))
    return names


def init_function(elf: Elf) -> str:
    """Return the name that the kernel has for a module's init function; empty for a module without.

    kallsyms takes the first symbol of its address: the function that module_init() was given, since local
    symbols come first.
    """
    start = next((one for one in elf.symbols.named("init_module") if one.shndx), None)
    if start is None:
        return ""
    return next((one.name for one in elf.symbols.at(start.shndx, start.value) if one.name), start.name)


def is_bad_value(kind: str | None, value: str | None) -> bool:
    """Tell whether the kernel refuses a value, None if there is no ``=``, for a type as modinfo shows it."""
    if kind is None:
        return False
    if kind.startswith("array of "):
        element = kind.removeprefix("array of ")
        return value is None or any(is_bad_value(element, one) for one in value.split(","))
    if kind in {"bool", "invbool", "bint"}:
        return value is not None and not re.match("[yYtT1nNfF0]|[oO][nNfF]", value)
    if kind == "charp":
        return value is None or len(value) > 1024
    if kind not in _BITS:
        return kind == "string" and value is None
    if value is None or not _NUMBER.fullmatch(value):
        return True
    signed, bits = _BITS[kind]
    number = _c_number(value)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return not low <= number <= high


def _c_number(text: str) -> int:
    digits = text.strip().lstrip("+-")
    number = int(digits, 16 if digits[:2] in {"0x", "0X"} else 8 if digits.startswith("0") else 10)
    return -number if text.startswith("-") else number
