"""The ``.debug_*`` sections of a module, decompressed and relocated.

A module is relocatable: its relocations hold the offsets from one debug section into another, and all
addresses. An address is an offset into a section, so the section's index matters as much.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.compression import Inflate, PackedInput, decompress_packed, unpack_frame
from ukmod.kmod.elf import ET_REL, SHT_RELA, Elf, Section

__all__ = ["DebugSection", "read_debug_section", "read_unrelocated", "supports"]

_LIMIT = 1 << 30
_OVERLAP = 4
"""How many times the size of a section its parts may have; a compiler's parts do not overlap."""
_ROOM = 4096
"""Bytes by which the parts of a small section may exceed that."""
_RELA_SIZE = 24
_LONGEST_TEXT = 4096
"""Bytes of a name or path, as PATH_MAX; the kernel's own names have at most 512."""
_SHF_COMPRESSED = 0x800
_COMPRESSION_HEADER = struct.Struct("<IIQQ")
_ZLIB, _ZSTD = 1, 2

_WIDTHS = {
    # EM_X86_64: R_X86_64_NONE, _64, _32, _32S
    62: {0: 0, 1: 8, 10: 4, 11: 4},
    # EM_AARCH64: R_AARCH64_NONE, _ABS64, _ABS32
    183: {0: 0, 257: 8, 258: 4},
}
"""The number of bytes that each relocation type sets to symbol + addend, by machine."""


class DebugSection:
    """A section's bytes and ``section_at``: the section index of each address, by the address's offset."""

    __slots__ = ("_charged", "data", "name", "path", "section_at")

    def __init__(self, name: str, data: bytes = b"", path: str = "") -> None:
        self.name = name
        self.path = path
        self.data = data
        self.section_at: dict[int, int] = {}
        self._charged = 0

    def error(self, message: str, offset: int) -> FormatError:
        """Make the exception for an error at an offset into the section."""
        return FormatError(f"{self.name}: {message}", path=self.path, offset=offset)

    def charge(self, offset: int, size: int) -> None:
        """Count a part of ``size`` bytes as read; FormatError if the parts are more than there can be.

        Otherwise a small file, whose parts are the same bytes again and again, would take hours to read.
        """
        self._charged += size
        if self._charged > _OVERLAP * (len(self.data) + _ROOM):
            raise self.error("its parts overlap", offset)

    def begin(self) -> None:
        """Forget what was counted: the section is read anew."""
        self._charged = 0

    def uint(self, offset: int, size: int) -> int:
        """Read a number of ``size`` bytes."""
        if not 0 <= offset <= len(self.data) - size:
            raise self.error("cut off", offset)
        return int.from_bytes(self.data[offset : offset + size], "little")

    def string(self, offset: int) -> bytes:
        """Read a NUL-terminated string of at most _LONGEST_TEXT bytes."""
        end = -1
        if 0 <= offset < len(self.data):
            end = self.data.find(b"\0", offset, offset + _LONGEST_TEXT + 1)
        if end < 0:
            raise self.error(f"no NUL-terminated string of at most {_LONGEST_TEXT} bytes", offset)
        return self.data[offset:end]

    def uleb(self, offset: int) -> tuple[int, int]:
        """Read an unsigned LEB128 number; returns it and the offset after it."""
        value = shift = 0
        data = self.data
        while 0 <= offset < len(data) and shift < 70:
            byte = data[offset]
            offset += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, offset
            shift += 7
        raise self.error("a number does not end", offset)

    def sleb(self, offset: int) -> tuple[int, int]:
        """Read a signed LEB128 number; returns it and the offset after it."""
        value, end = self.uleb(offset)
        bits = 7 * (end - offset)
        return (value - (1 << bits) if value >> (bits - 1) else value), end


def supports(elf: Elf) -> bool:
    """True if the debug sections of this file's machine can be relocated."""
    return elf.machine in _WIDTHS and elf.bits == 64 and elf.order == "little"


def read_unrelocated(elf: Elf, name: str) -> bytes:
    """Read a debug section's bytes, decompressed; none if the file has none with this name.

    Texts are as they will be; offsets and addresses await relocation. FormatError if damaged.
    """
    found = elf.section(name)
    if found is None:
        return b""
    data = elf.section_data(found)
    return _unpack(elf, found, data) if found.flags & _SHF_COMPRESSED else data


def read_debug_section(elf: Elf, name: str) -> DebugSection:
    """Read a debug section; an empty one if the file has none with this name. FormatError if damaged."""
    section = DebugSection(name, read_unrelocated(elf, name), elf.path)
    found = elf.section(name)
    if found is not None and elf.type == ET_REL:
        for relocations in elf.sections:
            if relocations.type == SHT_RELA and relocations.info == found.index:
                _relocate(elf, section, relocations)
    return section


def _unpack(elf: Elf, section: Section, data: bytes) -> bytes:
    """Decompress a section with SHF_COMPRESSED (elf(5), Elf64_Chdr)."""
    if len(data) < _COMPRESSION_HEADER.size:
        raise elf.error(f"section {section.name} is cut off", section.offset)
    kind, _, size, _ = _COMPRESSION_HEADER.unpack_from(data)
    packed = data[_COMPRESSION_HEADER.size :]
    if size > _LIMIT:
        raise LimitError(f"section {section.name} is larger than {_LIMIT} bytes unpacked", subject=elf.path)
    try:
        if kind == _ZLIB:
            out = BytesIO()
            unpack_frame(Inflate(zlib.MAX_WBITS), PackedInput.of(packed, elf.path), out, size)
            unpacked = out.getvalue()
        elif kind == _ZSTD:
            unpacked = decompress_packed(PackedInput.of(packed, elf.path), limit=size)
        else:
            raise elf.error(f"section {section.name} has the unknown compression {kind}", section.offset)
    except zlib.error as error:
        raise elf.error(f"section {section.name}: {error}", section.offset) from error
    except LimitError:
        unpacked = b""  # it is larger than it says
    if len(unpacked) != size:
        raise elf.error(f"section {section.name} does not unpack to its {size} bytes", section.offset)
    return unpacked


def _relocate(elf: Elf, section: DebugSection, relocations: Section) -> None:
    widths, symbols, data = _WIDTHS[elf.machine], elf.symbols, bytearray(section.data)
    values = [(symbol.value, symbol.shndx) for symbol in symbols]
    section.charge(0, relocations.size // _RELA_SIZE)
    for offset, number, kind, addend in elf.relocations(relocations):
        width = widths.get(kind)
        if width is None:
            raise section.error(f"unknown relocation type {kind}", offset)
        if number >= len(values) or offset + width > len(data):
            raise section.error("a relocation of a missing symbol or place", offset)
        value, index = values[number]
        data[offset : offset + width] = (value + addend & (1 << 8 * width) - 1).to_bytes(width, "little")
        if width == 8:
            section.section_at[offset] = index
    section.data = bytes(data)
