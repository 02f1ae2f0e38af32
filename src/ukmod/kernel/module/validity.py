"""elf_validity_check(): the checks of a file that precede all others of load_module().

The checks, their order and their messages are those of kernel/module/main.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ukmod.kmod.elf import ELFMAG, EM_X86_64, ET_REL, SHF_ALLOC, SHT_NOBITS, SHT_NULL, SHT_SYMTAB
from ukmod.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.elf import ByteSource

_HEADER: Final = struct.Struct("<4s12xHH20xQ10xHHH")
"""Of Elf64_Ehdr: e_ident's first four bytes, e_type, e_machine, e_shoff, e_shentsize, e_shnum, e_shstrndx."""
_HEADER_SIZE: Final = 64
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")


@record
class Complaint:
    """The kernel's message about an invalid file, as its format and the arguments."""

    format: str
    arguments: tuple[object, ...] = ()

    def __str__(self) -> str:
        return self.format % self.arguments


@record
class _Header:
    """An Elf64_Shdr."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


def complaint(data: ByteSource, size: int) -> Complaint | None:
    """Return the complaint about the first ``size`` bytes of a module; None for a valid file."""
    if size < _HEADER_SIZE:
        return Complaint("Invalid ELF header len %lu", (size,))
    magic, kind, machine, offset, entry, count, names = _HEADER.unpack_from(data[0:_HEADER_SIZE])
    if magic != ELFMAG:
        return Complaint("Invalid ELF header magic: != %s", (ELFMAG.decode(),))
    if kind != ET_REL:
        return Complaint("Invalid ELF header type: %u != %u", (kind, ET_REL))
    if machine != EM_X86_64:
        return Complaint("Invalid architecture in ELF header: %u", (machine,))
    if entry != _SECTION.size:
        return Complaint("Invalid ELF section header size")
    if offset >= size or count * entry > size - offset:
        return Complaint("Invalid ELF section header overflow")
    if not 0 < names < count:
        text = "Invalid ELF section name index: %d || e_shstrndx (%d) >= e_shnum (%d)"
        return Complaint(text, (names, names, count))
    table = data[offset : offset + count * entry]
    headers = [_Header(*fields) for fields in _SECTION.iter_unpack(table)]
    return _of_names(data, size, headers[names]) or _of_sections(size, headers, headers[names].size)


def _lies_inside(header: _Header, size: int) -> bool:
    """validate_section_offset()."""
    return header.offset + header.size <= size


def _of_names(data: ByteSource, size: int, names: _Header) -> Complaint | None:
    if not _lies_inside(names, size):
        return Complaint("Invalid ELF section hdr(type %u)", (names.type,))
    if not names.size:
        return Complaint("empty section name table")
    end = names.offset + names.size
    if data[end - 1 : end] != b"\0":
        return Complaint("ELF Spec violation: section name table isn't null terminated")
    return None


def _of_sections(size: int, headers: Sequence[_Header], names: int) -> Complaint | None:
    """``names`` is the size of the names."""
    null, count = headers[0], len(headers)
    if null.type != SHT_NULL or null.size or null.address:
        text = "ELF Spec violation: section 0 type(%d)!=SH_NULL or non-zero len or addr"
        return Complaint(text, (null.type,))
    for index, one in enumerate(headers):
        if one.type in (SHT_NULL, SHT_NOBITS):
            continue
        if one.type == SHT_SYMTAB and not 0 < one.link < count:
            text = "Invalid ELF sh_link!=SHN_UNDEF(%d) or (sh_link(%d) >= hdr->e_shnum(%d)"
            return Complaint(text, (one.link, one.link, count))
        if not _lies_inside(one, size):
            text = "Invalid ELF section in module (section %u type %u)"
            return Complaint(text, (index, one.type))
        if one.flags & SHF_ALLOC and one.name >= names:
            text = "Invalid ELF section name in module (section %u type %u)"
            return Complaint(text, (index, one.type))
    return None
