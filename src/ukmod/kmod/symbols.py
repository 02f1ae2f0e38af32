"""Which symbols a module exports and which it needs, by libkmod's rules.

What the kernel does when it loads a module is stricter and elsewhere; this is what depmod, ``modprobe
--show-exports`` and ``modprobe --show-modversions`` go by.
"""

from __future__ import annotations

from ukmod.errors import FormatError
from ukmod.kmod.elf import (
    EM_SPARC,
    EM_SPARCV9,
    SHN_ABS,
    SHN_UNDEF,
    STB_WEAK,
    STT_SPARC_REGISTER,
    Elf,
    string_at,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["exported_symbols", "namespaces", "needed_symbols", "symbol_tables"]

_CRC = b"__crc_"
_NAMESPACE = "__kstrtabns_"
_NO_CRC = 2**64 - 1
"""libkmod's answer for a CRC that lies outside its section."""


def symbol_tables(elf: Elf) -> tuple[bytes, bytes]:
    """Return ``.symtab`` and ``.strtab``, found by their names; FormatError if either is missing or odd."""
    symtab, strtab = elf.find(b".symtab"), elf.find(b".strtab")
    if symtab is None or strtab is None:
        raise elf.error("no symbol table", 0)
    if len(symtab[1]) % elf.layout.symbol.size:
        raise elf.error(f"a symbol table of {len(symtab[1])} bytes has half a symbol", 0)
    return symtab[1], strtab[1]


def exported_symbols(elf: Elf) -> list[tuple[str, int]]:
    """Return (name, CRC) of each exported symbol.

    That is each ``__crc_NAME`` in the symbol table. Modules of a kernel without symbol versions have none: then
    it is each name in ``__ksymtab_strings``, with a CRC of 0. FormatError with the errno ENODATA if a module
    exports nothing.
    """
    try:
        symtab, strtab = symbol_tables(elf)
    except FormatError:
        return _names_in_ksymtab(elf)
    if _CRC not in strtab:  # most modules: spares a walk through the table
        return _names_in_ksymtab(elf)
    layout = elf.layout
    found = []
    for fields in layout.symbol.iter_unpack(symtab[layout.symbol.size :]):
        if fields[0] >= len(strtab):
            return _names_in_ksymtab(elf)
        if strtab.startswith(_CRC, fields[0]):
            value, shndx = (fields[4], fields[3]) if layout.bits == 64 else (fields[1], fields[5])
            name = string_at(strtab, fields[0] + len(_CRC))
            found.append((name.decode("utf-8", "surrogateescape"), _crc(elf, value, shndx)))
    return found or _names_in_ksymtab(elf)


def _crc(elf: Elf, value: int, shndx: int) -> int:
    """Return a CRC that is a symbol's value, or is stored where the symbol is."""
    if shndx in (SHN_ABS, SHN_UNDEF):
        return value
    extent = elf.extent(shndx)
    if extent is None or value + 4 > extent[1]:
        return _NO_CRC
    return int.from_bytes(elf.read(extent[0] + value, 4, "a CRC"), elf.order)


def _names_in_ksymtab(elf: Elf) -> list[tuple[str, int]]:
    found = elf.find(b"__ksymtab_strings")
    if found is None:
        raise elf.no_data("nothing is exported")
    return [(name.decode("utf-8", "surrogateescape"), 0) for name in found[1].split(b"\0") if name]


def needed_symbols(elf: Elf) -> list[tuple[str, bool, int]]:
    """Return (name, weak, CRC) of each symbol the module needs; the CRC is 0 where it has none.

    First the undefined ones in the order of the symbol table, then those that ``__versions`` alone knows:
    module_layout, say. FormatError if there is no symbol table.
    """
    symtab, strtab = symbol_tables(elf)
    records = elf.version_records()
    crcs = dict(reversed(records))
    needed = [(name, weak, crcs.get(name, 0)) for name, weak in _undefined(elf, symtab, strtab)]
    known = {name for name, _weak, _crc in needed}
    needed += [(name, False, crc) for name, crc in records if name not in known]
    return [(name.decode("utf-8", "surrogateescape"), weak, crc) for name, weak, crc in needed]


def _undefined(elf: Elf, symtab: bytes, strtab: bytes) -> Iterator[tuple[bytes, bool]]:
    layout = elf.layout
    # On SPARC these declare a global register: nothing to resolve.
    skip = STT_SPARC_REGISTER if elf.machine in (EM_SPARC, EM_SPARCV9) else -1
    for name, info, shndx in layout.brief.iter_unpack(symtab[layout.symbol.size :]):
        if shndx or info & 15 == skip:
            continue
        if name >= len(strtab):
            raise elf.error(f"a symbol's name at {name} lies outside the names", 0)
        text = string_at(strtab, name)
        if text:
            yield text, info >> 4 == STB_WEAK


def namespaces(elf: Elf) -> dict[str, str]:
    """Return the namespace of each exported symbol that is in one: symbol-namespaces.rst of the kernel."""
    found = {}
    for symbol in elf.symbols:
        if symbol.name.startswith(_NAMESPACE) and 0 < symbol.shndx < len(elf.sections):
            strings = elf.section_data(elf.sections[symbol.shndx])
            namespace = string_at(strings, symbol.value).decode("utf-8", "surrogateescape")
            if namespace:
                found[symbol.name.removeprefix(_NAMESPACE)] = namespace
    return found
