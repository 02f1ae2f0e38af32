"""Write small relocatable ELF files: the modules that tests are made of.

``elf()`` lays out sections, symbols and relocations as they are given; ``module()`` fills them in as kbuild
would. Nothing is checked: a test that wants a lie in the file tells it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 1, 2, 3, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC = 0, 1, 2
EM_S390, EM_X86_64 = 22, 62


@dataclass(frozen=True, slots=True)
class Section:
    """A section's header and content; ``size`` is for NOBITS only, ``link`` and ``info`` as in the file."""

    name: str
    data: bytes = b""
    type: int = SHT_PROGBITS
    flags: int = SHF_ALLOC
    align: int = 1
    size: int | None = None
    link: int = 0
    info: int = 0
    entsize: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol in the section of a name, or at one of the ``SHN_`` places."""

    name: str
    section: str | int = SHN_UNDEF
    value: int = 0
    size: int = 0
    bind: int = STB_GLOBAL
    type: int = STT_NOTYPE


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place in the section of a name that needs the value of the symbol of a name."""

    section: str
    offset: int
    symbol: str
    type: int
    addend: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of ELF file."""

    bits: Literal[32, 64] = 64
    order: Literal["little", "big"] = "little"
    machine: int = EM_X86_64

    def pack(self, layout: str, *values: int) -> bytes:
        """Pack values; ``P`` in the layout is a word of the class's width."""
        width = "Q" if self.bits == 64 else "I"
        return struct.pack(("<" if self.order == "little" else ">") + layout.replace("P", width), *values)


X86_64 = Target()
TARGETS = (X86_64, Target(32), Target(64, "big", EM_S390), Target(32, "big"))
"""One of each class and byte order."""


class Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        """Return where the string is; it is appended if it is new."""
        wanted = text.encode("utf-8", "surrogateescape") + b"\0"
        at = self.data.find(b"\0" + wanted) + 1 if text else 0
        if text and not at:
            at = len(self.data)
            self.data += wanted
        return at


def elf(
    sections: Sequence[Section],
    symbols: Iterable[Symbol] = (),
    relocations: Sequence[Relocation] = (),
    target: Target = X86_64,
    file_type: int = 1,
) -> bytes:
    """Return an ELF file with these sections in their order, and after them the tables that are needed."""
    ordered = sorted(symbols, key=lambda symbol: symbol.bind != STB_LOCAL)
    index = {section.name: number for number, section in enumerate(sections, 1)}
    symtab = len(sections) + 1 + len({relocation.section for relocation in relocations})
    everything = list(sections)
    for name in dict.fromkeys(relocation.section for relocation in relocations):
        data = b"".join(_relocation(one, ordered, target) for one in relocations if one.section == name)
        entry = 24 if target.bits == 64 else 12
        everything.append(
            Section(f".rela{name}", data, SHT_RELA, 0, 8, link=symtab, info=index[name], entsize=entry)
        )
    names = Strings()
    table = b"".join(
        _symbol(symbol, names, index, target) for symbol in [Symbol("", bind=STB_LOCAL), *ordered]
    )
    local = 1 + sum(symbol.bind == STB_LOCAL for symbol in ordered)
    entry = 24 if target.bits == 64 else 16
    everything.append(Section(".symtab", table, SHT_SYMTAB, 0, 8, link=symtab + 1, info=local, entsize=entry))
    everything.append(Section(".strtab", names.data, SHT_STRTAB, 0))
    return _file(everything, target, file_type)


def _symbol(symbol: Symbol, names: Strings, index: Mapping[str, int], target: Target) -> bytes:
    place = index[symbol.section] if isinstance(symbol.section, str) else symbol.section
    name, info = names.add(symbol.name), symbol.bind << 4 | symbol.type
    if target.bits == 64:
        return target.pack("IBBHPP", name, info, 0, place, symbol.value, symbol.size)
    return target.pack("IPPBBH", name, symbol.value, symbol.size, info, 0, place)


def _relocation(relocation: Relocation, symbols: Sequence[Symbol], target: Target) -> bytes:
    number = 1 + [symbol.name for symbol in symbols].index(relocation.symbol)
    info = number << (32 if target.bits == 64 else 8) | relocation.type
    return target.pack("PPP", relocation.offset, info, relocation.addend % 2**target.bits)


def _file(sections: list[Section], target: Target, file_type: int) -> bytes:
    names = Strings()
    for section in [*sections, Section(".shstrtab")]:
        names.add(section.name)
    sections.append(Section(".shstrtab", names.data, SHT_STRTAB, 0))
    header_size = 64 if target.bits == 64 else 52
    body = b""
    headers = target.pack("IIPPPPIIPP", *[0] * 10)
    for section in sections:
        if section.type != SHT_NOBITS:
            body += bytes(-(header_size + len(body)) % max(section.align, 1))
        size = len(section.data) if section.size is None else section.size
        offset = header_size + len(body)
        headers += target.pack(
            "IIPPPPIIPP", names.add(section.name), section.type, section.flags, 0, offset, size,
            section.link, section.info, section.align, section.entsize,
        )  # fmt: skip
        body += section.data
    body += bytes(-(header_size + len(body)) % 8)
    identification = b"\x7fELF" + bytes((target.bits // 32, 1 if target.order == "little" else 2, 1))
    count = len(sections) + 1
    return (
        identification.ljust(16, b"\0")
        + target.pack("HHIPPPIHHHHHH", file_type, target.machine, 1, 0, 0, header_size + len(body), 0,
                      header_size, 0, 0, len(headers) // count, count, count - 1)
        + body
        + headers
    )  # fmt: skip


def modinfo(*fields: str) -> bytes:
    """Return ``key=value`` fields as ``.modinfo`` has them."""
    return b"".join(field.encode("utf-8", "surrogateescape") + b"\0" for field in fields)


def versions(crcs: Mapping[str, int], target: Target = X86_64) -> bytes:
    """Return the content of ``__versions``."""
    room = 64 - target.bits // 8
    return b"".join(
        target.pack("P", crc) + name.encode("utf-8", "surrogateescape")[: room - 1].ljust(room, b"\0")
        for name, crc in crcs.items()
    )


def extended_versions(crcs: Mapping[str, int], target: Target = X86_64) -> list[Section]:
    """Return the sections that hold the same since Linux 6.14, when CONFIG_EXTENDED_MODVERSIONS is set."""
    names = b"".join(name.encode() + b"\0" for name in crcs)
    numbers = b"".join(target.pack("I", crc) for crc in crcs.values())
    return [Section("__version_ext_names", names), Section("__version_ext_crcs", numbers)]


def module(
    name: str = "",
    *fields: str,
    exports: Mapping[str, int] | Iterable[str] = (),
    needs: Iterable[str] = (),
    weak: Iterable[str] = (),
    crcs: Mapping[str, int] | None = None,
    sections: Sequence[Section] = (),
    target: Target = X86_64,
) -> bytes:
    """Return a module: its modinfo, what it exports (with CRCs, if it is a mapping) and what it needs.

    CRCs are stored where kernels since 5.18 have them, as numbers in ``__kcrctab``; ``crcs`` goes to
    ``__versions``.
    """
    words = [*fields, f"name={name}"] if name else list(fields)
    crc_of = dict(exports) if isinstance(exports, Mapping) else {}
    exported = list(exports)
    made = [Section(".text", b"\xc3", flags=SHF_ALLOC | SHF_EXECINSTR), Section(".modinfo", modinfo(*words))]
    symbols = [Symbol(symbol, ".text", type=STT_FUNC) for symbol in exported]
    if exported:
        made.append(Section("__ksymtab_strings", modinfo(*exported)))
    if crc_of:
        made.append(Section("__kcrctab", b"".join(target.pack("I", crc) for crc in crc_of.values()), align=4))
        symbols += [
            Symbol(f"__crc_{symbol}", "__kcrctab", 4 * at, bind=STB_LOCAL) for at, symbol in enumerate(crc_of)
        ]
    if crcs is not None:
        made.append(Section("__versions", versions(crcs, target)))
    symbols += [Symbol(symbol) for symbol in needs]
    symbols += [Symbol(symbol, bind=STB_WEAK) for symbol in weak]
    return elf([*made, *sections], symbols, target=target)
