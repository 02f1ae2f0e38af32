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

__all__ = [
    "exported_symbols",
    "find_exports",
    "namespaces",
    "needed_names",
    "needed_symbols",
    "symbol_tables",
]

_CRC = b"__crc_"
_NAMESPACE = "__kstrtabns_"
_SHNDX = {32: 14, 64: 6}
"""Where st_shndx, of two bytes, is in a symbol."""
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
    """Return (name, CRC) of each exported symbol; FormatError with the errno ENODATA if there are none."""
    found = find_exports(elf)
    if not found:
        raise elf.no_data("nothing is exported")
    return found


def find_exports(elf: Elf, *, crcs: bool = True) -> list[tuple[str, int]]:
    """Return (name, CRC) of each exported symbol; with ``crcs`` False all CRCs are 0, and it is faster.

    That is each ``__crc_NAME`` in the symbol table. Modules of a kernel without symbol versions have none:
    for them it is each name in ``__ksymtab_strings``.
    """
    try:
        symtab, strtab = symbol_tables(elf)
    except FormatError:
        return _names_in_ksymtab(elf)
    places = _occurrences(strtab, _CRC)
    if not places:
        return _names_in_ksymtab(elf)
    offsets = [at for (at,) in elf.layout.name.iter_unpack(symtab)]
    if max(offsets, default=0) >= len(strtab):
        return _names_in_ksymtab(elf)
    indexes = [index for index, at in enumerate(offsets) if at in places and index]
    names = [_text(string_at(strtab, offsets[index] + len(_CRC))) for index in indexes]
    if not names:
        return _names_in_ksymtab(elf)
    values = [_crc(elf, *_value(elf, symtab, index)) for index in indexes] if crcs else [0] * len(names)
    return list(zip(names, values, strict=True))


def _occurrences(table: bytes, word: bytes) -> set[int]:
    """Return where a word is in a table of strings: most modules have no ``__crc_`` at all."""
    found = set()
    at = table.find(word)
    while at >= 0:
        found.add(at)
        at = table.find(word, at + 1)
    return found


def _value(elf: Elf, symtab: bytes, index: int) -> tuple[int, int]:
    """Return a symbol's value and section."""
    fields = elf.layout.symbol.unpack_from(symtab, index * elf.layout.symbol.size)
    return (fields[4], fields[3]) if elf.bits == 64 else (fields[1], fields[5])


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
        return []
    return [(_text(name), 0) for name in found[1].split(b"\0") if name]


def needed_names(elf: Elf) -> tuple[list[str], set[str]]:
    """Return the symbols the module needs, and which of them are weak.

    First the undefined ones in the order of the symbol table, then those that ``__versions`` alone knows:
    module_layout, say. FormatError if there is no symbol table.
    """
    symtab, strtab = symbol_tables(elf)
    names_at, infos = _undefined(elf, symtab)
    if names_at and max(names_at) >= len(strtab):
        raise elf.error("a symbol's name lies outside the names", 0)
    if not strtab.endswith(b"\0"):
        strtab += b"\0"
    names = [strtab[at : strtab.find(0, at)] for at in names_at]
    weak: list[bytes] = []
    if max(infos, default=0) >> 4 >= STB_WEAK:  # few modules have any
        weak = [name for name, info in zip(names, infos, strict=True) if info >> 4 == STB_WEAK]
        strong = {name for name, info in zip(names, infos, strict=True) if info >> 4 != STB_WEAK}
        weak = [name for name in weak if name not in strong]
    names += _versioned_only(elf, names)
    return _texts([name for name in names if name] if b"" in names else names), set(_texts(weak))


def _texts(names: list[bytes]) -> list[str]:
    """Return names, in which there is no NUL, as text: one decoding for all of them saves much time."""
    return _text(b"\0".join(names)).split("\0") if names else []


def _undefined(elf: Elf, symtab: bytes) -> tuple[list[int], bytes]:
    """Return the undefined symbols with names, after the local ones: each one's st_name and st_info."""
    brief = elf.layout.brief
    start = elf.first_global(b".symtab") * brief.size
    if _has_undefined(elf, symtab[brief.size : start]):
        start = brief.size  # what is said of the first global symbol is a lie
    part = symtab[start:]
    entries = [entry for entry in brief.iter_unpack(part) if not entry[2] and entry[0]]
    if elf.machine in (EM_SPARC, EM_SPARCV9):
        # There these declare a global register: nothing to resolve.
        entries = [entry for entry in entries if entry[1] & 15 != STT_SPARC_REGISTER]
    return [entry[0] for entry in entries], bytes([entry[1] for entry in entries])


def _has_undefined(elf: Elf, symbols: bytes) -> bool:
    """Tell whether there is an undefined symbol among some. Each column of bytes is looked at as a whole, for
    they are many, and none should be.
    """
    size = elf.layout.symbol.size
    at = _SHNDX[elf.bits]
    low, high = symbols[at::size], symbols[at + 1 :: size]
    return 0 in low and 0 in high and (0, 0) in zip(low, high, strict=True)


def _versioned_only(elf: Elf, names: list[bytes]) -> list[bytes]:
    """Return the names in ``__versions`` that are not among some others."""
    found = elf.find(b"__versions")
    layout = elf.layout.version
    if found is None or len(found[1]) % layout.size:
        return []
    # All but one or two are: they are compared as the file has them, and only what is left is looked at.
    size = layout.size - elf.bits // 8
    padded = {name.ljust(size, b"\0") for name in names}
    left = [field for _crc, field in layout.iter_unpack(found[1]) if field not in padded]
    known = set(names) if len(left) > 1 else names
    return [name for name in [field.partition(b"\0")[0] for field in left] if name not in known]


def needed_symbols(elf: Elf) -> list[tuple[str, bool, int]]:
    """Return (name, weak, CRC) of each symbol in :func:`needed_names`; the CRC is 0 where it has none."""
    names, weak = needed_names(elf)
    crcs: dict[str, int] = {}
    for name, crc in elf.version_records():
        crcs.setdefault(_text(name), crc)
    return [(name, name in weak, crcs.get(name, 0)) for name in names]


def namespaces(elf: Elf) -> dict[str, str]:
    """Return the namespace of each exported symbol that is in one: symbol-namespaces.rst of the kernel."""
    found = {}
    for symbol in elf.symbols.starting(_NAMESPACE):
        if 0 < symbol.shndx < len(elf.sections):
            strings = elf.section_data(elf.sections[symbol.shndx])
            namespace = _text(string_at(strings, symbol.value))
            if namespace:
                found[symbol.name.removeprefix(_NAMESPACE)] = namespace
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
