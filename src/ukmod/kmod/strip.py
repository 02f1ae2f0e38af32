"""Take the version information out of a module's image: what ``--force`` means to init_module(2).

finit_module(2) has flags for it. Kernels before it (3.8), and images unpacked here, need the image changed:
the kernel does not look at a ``__versions`` section that is not to be allocated, nor at a vermagic that is
not there.
"""

from __future__ import annotations

import errno

from ukmod.errors import FormatError
from ukmod.kmod.elf import SHF_ALLOC, Elf

__all__ = ["strip_versions"]

_SH_FLAGS = 8  # offset of sh_flags in a section header of either class


def strip_versions(elf: Elf, *, modversions: bool, vermagic: bool) -> bytes:
    """Return the image without symbol versions, without vermagic, or without both.

    FormatError with ENODATA if .modinfo has no vermagic to take out.
    """
    changed = bytearray(elf.read(0, len(elf), "the file"))
    if modversions:
        _forget_versions(elf, changed)
    if vermagic:
        _forget_vermagic(elf, changed)
    return bytes(changed)


def _forget_versions(elf: Elf, image: bytearray) -> None:
    found = elf.find(b"__versions")
    if found is None:
        return
    address_size = elf.bits // 8
    # e_shoff follows e_ident, e_type, e_machine, e_version, e_entry and e_phoff; a header of either class is
    # six addresses and four words long.
    table = int.from_bytes(image[24 + 2 * address_size : 24 + 3 * address_size], elf.order)
    at = table + found[0] * (6 * address_size + 16) + _SH_FLAGS
    flags = int.from_bytes(image[at : at + address_size], elf.order) & ~SHF_ALLOC
    image[at : at + address_size] = flags.to_bytes(address_size, elf.order)


def _forget_vermagic(elf: Elf, image: bytearray) -> None:
    found = elf.find(b".modinfo")
    if found is None:
        return
    section = elf.sections[found[0]]
    at = section.offset
    for text in found[1].split(b"\0"):
        if text.startswith(b"vermagic="):
            image[at : at + len(text)] = bytes(len(text))
            return
        at += len(text) + 1
    error = FormatError("there is no vermagic in .modinfo", path=elf.path, offset=section.offset)
    error.errno = errno.ENODATA
    raise error
