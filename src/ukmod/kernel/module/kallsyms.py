"""A module's symbol table in guest memory: add_kallsyms(), copy_module_elf() (kernel/module).

An image's own code reads it: probes by a symbol's name, live patches, tracers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.list import list_add, list_del_init
from ukmod.kernel.module.main import Module
from ukmod.kmod.elf import SHF_ALLOC, SHF_EXECINSTR, SHN_UNDEF, Elf

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_SYM_SIZE, _ST_VALUE = 24, 8
"""An Elf64_Sym in bytes, and the offset of its value."""
SHDR: Final = struct.Struct("<IIQQQQIIQQ")
"""An Elf64_Shdr."""
E_SHNUM: Final = 60
"""The number of sections in an Elf64_Ehdr."""


def list_module(k: Core, module: Module) -> None:
    """Add the module to the image's list, which its own code searches by name and for symbols."""
    if k.image is not None and (head := k.image.get("modules")) is not None:
        list_add(k.memory, module.address + k.types.offset("module", "list"), head)


def unlist_module(k: Core, module: Module) -> None:
    """Remove the module from the image's list, if it was added."""
    if k.image is not None and module.address:
        list_del_init(k.memory, module.address + k.types.offset("module", "list"))


def add_kallsyms(k: Core, module: Module, elf: Elf, values: Sequence[int]) -> None:
    """Give the module a struct mod_kallsyms with all symbols of its file, at their addresses."""
    table, names = elf.section(".symtab"), elf.section(".strtab")
    if table is None or names is None or not k.types.has("module", "core_kallsyms"):
        return
    symbols = bytearray(elf.section_data(table))
    for index, value in enumerate(values):
        struct.pack_into("<Q", symbols, index * _SYM_SIZE + _ST_VALUE, value)
    kallsyms = module.address + k.types.offset("module", "core_kallsyms")
    members = {
        "symtab": _copy(k, module, bytes(symbols)),
        "strtab": _copy(k, module, bytes(elf.section_data(names))),
        "typetab": _copy(k, module, _types(elf)),
    }
    for member, address in members.items():
        k.memory.set_u64(kallsyms + k.types.offset("mod_kallsyms", member), address)
    k.memory.set_u32(kallsyms + k.types.offset("mod_kallsyms", "num_symtab"), len(values))
    k.memory.set_u64(module.address + k.types.offset("module", "kallsyms"), kallsyms)


def _copy(k: Core, module: Module, data: bytes) -> int:
    """A copy of ``data`` that is freed with the module."""
    address = k.slab.kernel_object(len(data))
    k.memory.write(address, data)
    module.strings.append(address)
    return address


def _types(elf: Elf) -> bytes:
    """nm(1)'s letter of each symbol, as far as lookups tell them apart: undefined, code, other."""
    letters = bytearray()
    for symbol in elf.symbols:
        section = elf.sections[symbol.shndx] if 0 < symbol.shndx < len(elf.sections) else None
        if symbol.shndx == SHN_UNDEF:
            letters += b"U"
        elif section is not None and section.flags & SHF_EXECINSTR:
            letters += b"t"
        else:
            letters += b"d" if section is not None and section.flags & SHF_ALLOC else b"?"
    return bytes(letters)


def copy_module_elf(k: Core, module: Module, elf: Elf) -> None:
    """Keep what a live patch needs of its file to relocate itself when it is enabled: struct klp_modinfo.

    A kernel without live patches keeps nothing.
    """
    if not k.types.has("module", "klp_info"):
        return
    info = k.slab.kernel_object(k.types.sizeof("klp_modinfo"))
    module.strings.append(info)
    symtab = elf.section(".symtab")
    symbols = k.memory.u64(
        k.memory.u64(module.address + k.types.offset("module", "kallsyms"))
        + k.types.offset("mod_kallsyms", "symtab")
    )
    headers, names = bytearray(), bytearray()
    for section in elf.sections:
        start = module.layout.addresses.get(section.index, 0)
        headers += SHDR.pack(
            len(names), section.type, section.flags, symbols if section is symtab else start, section.offset,
            section.size, section.link, section.info, section.align, section.entsize,
        )  # fmt: skip
        names += section.name.encode("utf-8", "surrogateescape") + b"\0"
    k.memory.set_u16(info + k.types.offset("klp_modinfo", "hdr") + E_SHNUM, len(elf.sections))
    k.memory.set_u64(info + k.types.offset("klp_modinfo", "sechdrs"), _copy(k, module, bytes(headers)))
    k.memory.set_u64(info + k.types.offset("klp_modinfo", "secstrings"), _copy(k, module, bytes(names)))
    symndx = symtab.index if symtab is not None else 0
    k.memory.set_u32(info + k.types.offset("klp_modinfo", "symndx"), symndx)
    k.memory.set_u64(module.address + k.types.offset("module", "klp_info"), info)
    k.memory.set_u8(module.address + k.types.offset("module", "klp"), 1)
