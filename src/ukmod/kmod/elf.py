"""Relocatable ELF files, which is what modules are: both classes, both byte orders, any machine.

Only what module loading needs of elf(5), read lazily and with nothing but :mod:`struct`. No offset or size in
the file is believed: what does not fit raises FormatError, with the place of the lie.
"""

from __future__ import annotations

import errno
from struct import Struct

from ukmod.errors import FormatError
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, Protocol

    from ukmod.kmod.symtab import ElfSymbols

    class ByteSource(Protocol):
        """A file's bytes, or something that reads them when it is sliced."""

        def __len__(self) -> int:
            """Return the file's size."""

        def __getitem__(self, span: slice, /) -> bytes:
            """Return bytes, fewer than asked for at the end."""


__all__ = [
    "ELFMAG",
    "EM_SPARC",
    "EM_SPARCV9",
    "EM_X86_64",
    "ET_REL",
    "SHF_ALLOC",
    "SHF_EXECINSTR",
    "SHF_RELA_LIVEPATCH",
    "SHF_WRITE",
    "SHN_ABS",
    "SHN_COMMON",
    "SHN_LIVEPATCH",
    "SHN_UNDEF",
    "SHT_NOBITS",
    "SHT_NOTE",
    "SHT_PROGBITS",
    "SHT_REL",
    "SHT_RELA",
    "SHT_STRTAB",
    "SHT_SYMTAB",
    "STB_GLOBAL",
    "STB_LOCAL",
    "STB_WEAK",
    "STT_FILE",
    "STT_FUNC",
    "STT_NOTYPE",
    "STT_OBJECT",
    "STT_SECTION",
    "STT_SPARC_REGISTER",
    "Elf",
    "Section",
    "Symbol",
    "string_at",
]

ET_REL = 1
EM_SPARC, EM_SPARCV9, EM_X86_64 = 2, 43, 62
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_REL = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
)
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHF_RELA_LIVEPATCH = 1 << 20
SHN_UNDEF, SHN_ABS, SHN_COMMON, SHN_LIVEPATCH = 0, 0xFFF1, 0xFFF2, 0xFF20
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_SPARC_REGISTER = 0, 1, 2, 3, 4, 13

ELFMAG = b"\x7fELF"
_IDENTIFICATION = 16


class _Layout:
    """The structs of a class and byte order; ``brief`` is a symbol's st_name, st_info and st_shndx alone,
    ``name`` its st_name, ``place`` a section's sh_name, sh_offset and sh_size.
    """

    __slots__ = (
        "bits",
        "brief",
        "header",
        "name",
        "place",
        "rel",
        "rela",
        "section",
        "symbol",
        "version",
    )

    def __init__(self, bits: int, order: str) -> None:
        self.bits = bits
        if bits == 64:
            self.header = Struct(order + "16xHHIQQQIHHHHHH")
            self.section = Struct(order + "IIQQQQIIQQ")
            self.place = Struct(order + "I20xQQ24x")
            self.symbol = Struct(order + "IBBHQQ")
            self.brief = Struct(order + "IBxH16x")
            self.name = Struct(order + "I20x")
            self.version = Struct(order + "Q56s")
            self.rela = Struct(order + "QQq")
            self.rel = Struct(order + "QQ")
        else:
            self.header = Struct(order + "16xHHIIIIIHHHHHH")
            self.section = Struct(order + "IIIIIIIIII")
            self.place = Struct(order + "I12xII16x")
            self.symbol = Struct(order + "IIIBBH")
            self.brief = Struct(order + "I8xBxH")
            self.name = Struct(order + "I12x")
            self.version = Struct(order + "I60s")
            self.rela = Struct(order + "IIi")
            self.rel = Struct(order + "II")


_LAYOUTS = {
    (kind, data): _Layout(bits, order)
    for kind, bits in ((1, 32), (2, 64))
    for data, order in ((1, "<"), (2, ">"))
}


@record
class Section:
    """A section header, its name looked up. Numbers are as stored: ``offset`` and ``size`` are in bytes."""

    index: int
    name: str
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


@record
class Symbol:
    """A symbol, its name looked up. ``shndx`` is a section's index or one of the ``SHN_``."""

    index: int
    name: str
    value: int
    size: int
    type: int
    bind: int
    other: int
    shndx: int

    @property
    def weak(self) -> bool:
        """Whether the symbol may stay undefined."""
        return self.bind == STB_WEAK


class Elf:
    """An ELF file.

    ``bits`` is 32 or 64, ``order`` "little" or "big", ``type`` and ``machine`` are e_type and e_machine.
    """

    __slots__ = (
        "_data",
        "_found",
        "_named",
        "_names",
        "_sections",
        "_size",
        "_symbols",
        "_table",
        "_table_end",
        "bits",
        "flags",
        "layout",
        "machine",
        "order",
        "path",
        "type",
    )

    def __init__(self, data: ByteSource, path: str = "") -> None:
        """Read the header and the table of sections. FormatError for anything but an ELF file with sections.

        As in libkmod, its ``errno`` is ENOEXEC for what is no ELF file at all, and EINVAL for a bad one.
        """
        self._data = data
        self._size = len(data)
        self.path = path
        self._symbols: ElfSymbols | None = None
        self._sections: tuple[Section, ...] | None = None
        head = data[0:64]
        if len(head) <= _IDENTIFICATION or not head.startswith(ELFMAG):
            raise self.error("not an ELF file", 0, errno.ENOEXEC)
        layout = _LAYOUTS.get((head[4], head[5]))
        if layout is None:
            raise self.error(f"ELF class {head[4]} with byte order {head[5]} is unknown", 4)
        if len(head) < layout.header.size:
            raise self.error("cut off within the ELF header", len(head))
        self.layout = layout
        self.bits = layout.bits
        self.order: Literal["little", "big"] = "little" if head[5] == 1 else "big"
        fields = layout.header.unpack_from(head)
        self.type, self.machine, _version, _entry, _phoff, offset, self.flags = fields[:7]
        entry_size, count, names = fields[10:]
        if entry_size != layout.section.size:
            raise self.error(f"section headers of {entry_size} bytes instead of {layout.section.size}", 0)
        self._table = self.read(offset, count * entry_size, "the table of sections")
        self._table_end = offset + count * entry_size
        self._found: dict[bytes, tuple[int, bytes] | None] = {}
        self._named: list[int] | None = None
        if not 0 < names < count:
            raise self.error(f"the section of section names, {names}, does not exist", 0)
        name, at, size = layout.place.unpack_from(self._table, names * entry_size)
        if name >= size:
            raise self.error(f"the section names' own name, at {name}, is not among them", offset)
        self._names = self.read(at, size, "the section names")
        if not self._names.endswith(b"\0"):
            raise self.error("the section names do not end", at + size)

    def __len__(self) -> int:
        return self._size

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Return a part of the file; FormatError, naming ``what``, where it does not lie inside."""
        if offset + size > self._size:
            raise self.error(f"{what}: {size} bytes lie beyond the end of the file ({self._size})", offset)
        part = self._data[offset : offset + size]
        if len(part) != size:
            raise self.error("the file has shrunk", offset)
        return part

    def error(self, message: str, offset: int, number: int = errno.EINVAL) -> FormatError:
        """Make the exception for a fault at an offset."""
        error = FormatError(message, path=self.path, offset=offset)
        error.errno = number
        return error

    def no_data(self, message: str) -> FormatError:
        """Make the exception for something that a good file may lack: its errno is ENODATA."""
        error = FormatError(message, path=self.path)
        error.errno = errno.ENODATA
        return error

    # Sections

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections by their index, the null section included."""
        if self._sections is None:
            self._sections = tuple(
                [
                    Section(
                        index,
                        string_at(self._names, header[0]).decode("utf-8", "surrogateescape"),
                        *header[1:],
                    )
                    for index, header in enumerate(self.layout.section.iter_unpack(self._table))
                ]
            )
        return self._sections

    def section(self, name: str) -> Section | None:
        """Return the first section of a name."""
        return next((section for section in self.sections[1:] if section.name == name), None)

    def section_data(self, section: Section) -> bytes:
        """Return a section's bytes in the file; none for one that only takes room in memory (``.bss``)."""
        if section.type == SHT_NOBITS:
            return b""
        return self.read(section.offset, section.size, f"section {section.name or section.index}")

    def find(self, name: bytes) -> tuple[int, bytes] | None:
        """Return index and bytes of the first section of a name that lies within the file: libkmod's rule.

        Where :meth:`section_data` complains, this passes on: a section in an impossible place is none.
        """
        if name in self._found:
            return self._found[name]
        index = min(self._indexes(name + b"\0"), default=0)
        extent = self.extent(index)
        found = (index, self.read(*extent, "a section")) if extent else None
        self._found[name] = found
        return found

    def _indexes(self, name: bytes) -> list[int]:
        """Return the sections of a name, its NUL included, that lie within the file: the first for each place
        where the name is. No Section is made.
        """
        found = []
        at = self._names.find(name)
        while at >= 0:
            if index := self._first_named_at(at):
                found.append(index)
            at = self._names.find(name, at + 1)
        return found

    def _first_named_at(self, at: int) -> int:
        """Return the first section with its name at a place that lies within the file; 0 for none."""
        if self._named is None:
            self._named = [place[0] for place in self.layout.place.iter_unpack(self._table)]
        index = 0
        try:
            while index == 0 or not self.extent(index):
                index = self._named.index(at, index + 1)
        except ValueError:
            return 0
        return index

    def extent(self, index: int) -> tuple[int, int] | None:
        """Return a section's offset and size; None if it does not exist or does not lie within the file."""
        size_of_header = self.layout.section.size
        if not 0 < index * size_of_header < len(self._table):
            return None
        _name, offset, size = self.layout.place.unpack_from(self._table, index * size_of_header)
        return (offset, size) if offset + size <= self._size else None

    def fits(self, size: int) -> bool:
        """Tell whether the table of sections and every section's bytes lie in the first ``size`` bytes."""
        ends = (one.offset + one.size for one in self.sections[1:] if one.type not in (SHT_NULL, SHT_NOBITS))
        return max(ends, default=0) <= size and self._table_end <= size

    def first_global(self, name: bytes) -> int:
        """Return how many local symbols, which come first, the symbol table of a name says it has."""
        found = self.find(name)
        if found is None:
            return 0
        info: int = self.layout.section.unpack_from(self._table, found[0] * self.layout.section.size)[7]
        return max(info, 1)

    # Symbols and relocations

    @property
    def symbols(self) -> ElfSymbols:
        """The entries of the symbol table, entry 0 included, so that a relocation's number is an index here.

        The table is found by type, as the kernel does; a file without one has no symbols.
        """
        if self._symbols is None:
            self._symbols = self._read_symbols()
        return self._symbols

    def _read_symbols(self) -> ElfSymbols:
        from ukmod.kmod.symtab import ElfSymbols  # depmod and modinfo look at no single symbol

        layout, is_64 = self.layout, self.bits == 64
        table = next((section for section in self.sections if section.type == SHT_SYMTAB), None)
        if table is None:
            return ElfSymbols(b"", b"", layout.symbol, is_64=is_64)
        if table.size % layout.symbol.size:
            raise self.error(f"a symbol table of {table.size} bytes has half a symbol", table.offset)
        if not 0 < table.link < len(self.sections):
            raise self.error(f"the symbol names are in section {table.link}, of none", table.offset)
        names = self.section_data(self.sections[table.link])
        found = ElfSymbols(self.section_data(table), names, layout.symbol, is_64=is_64)
        nameless = found.first_nameless()
        if nameless is not None:
            at = table.offset + nameless * layout.symbol.size
            raise self.error(f"the name of symbol {nameless} lies outside the names", at)
        return found

    def relocations(self, section: Section) -> Iterator[tuple[int, int, int, int]]:
        """Yield (offset, symbol's index, type, addend) for a section of type SHT_RELA or SHT_REL.

        The addend of SHT_REL is in the place to relocate: here it is 0.
        """
        layout = self.layout
        struct = layout.rela if section.type == SHT_RELA else layout.rel
        if section.type not in (SHT_RELA, SHT_REL) or section.size % struct.size:
            raise self.error(f"section {section.name} is no table of relocations", section.offset)
        # MIPS64 alone packs three types into r_info; no module here is relocated for it.
        shift, mask = (32, 0xFFFFFFFF) if layout.bits == 64 else (8, 0xFF)
        for fields in struct.iter_unpack(self.section_data(section)):
            info = fields[1]
            yield fields[0], info >> shift, info & mask, fields[2] if len(fields) > 2 else 0

    # What modules keep in sections of their own

    def modinfo(self) -> list[tuple[str, str]]:
        """Return the (key, value) pairs of ``.modinfo``, in order; text without ``=`` is a key alone."""
        found = self.find(b".modinfo")
        if found is None:
            return []
        fields = _text(found[1]).split("\0")
        return [(key, value) for key, _, value in [field.partition("=") for field in fields if field]]

    def modinfo_texts(self, keys: tuple[bytes, ...]) -> list[tuple[str, ...]]:
        """Return the values of ``.modinfo`` for each of some keys, given as ``b"alias="``: the fast way."""
        found = self.find(b".modinfo")
        if found is None:
            return [() for _key in keys]
        fields = b"\0" + found[1]
        # A module has dozens of other fields, and they are not even cut out.
        return [
            tuple([_text(rest.partition(b"\0")[0]) for rest in fields.split(b"\0" + key)[1:]]) for key in keys
        ]

    def versions(self) -> dict[str, int]:
        """Return the CRC of each symbol the module was built against.

        Since Linux 6.14 names may be longer than ``__versions`` has room for, and stand in
        ``__version_ext_names`` with ``__version_ext_crcs`` beside it; then the kernel reads those alone.
        """
        names, crcs = self.find(b"__version_ext_names"), self.find(b"__version_ext_crcs")
        if names is not None and crcs is not None:
            numbers = [crcs[1][at : at + 4] for at in range(0, len(crcs[1]) - 3, 4)]
            return {
                _text(name): int.from_bytes(number, self.order)
                for name, number in zip(names[1].split(b"\0"), numbers, strict=False)
                if name
            }
        return {
            name.decode("utf-8", "surrogateescape"): crc for name, crc in reversed(self.version_records())
        }

    def version_records(self) -> list[tuple[bytes, int]]:
        """Return (name, CRC) of each record of ``__versions``; none if there is half a record."""
        found = self.find(b"__versions")
        if found is None or len(found[1]) % self.layout.version.size:
            return []
        return [(name.partition(b"\0")[0], crc) for crc, name in self.layout.version.iter_unpack(found[1])]


def string_at(table: bytes, offset: int) -> bytes:
    """Return the string at an offset, which a NUL ends, or the end of the table; beyond that it is empty."""
    end = table.find(b"\0", offset)
    return table[offset:] if end < 0 else table[offset:end]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
