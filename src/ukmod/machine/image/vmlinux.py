"""A linked kernel, vmlinux: its segments and sections by address."""

from __future__ import annotations

import mmap
import re
import struct
from itertools import chain

from ukmod.errors import FormatError
from ukmod.kmod.elf import EM_X86_64, ET_REL, SHT_NOBITS, Elf, Section
from ukmod.record import record

__all__ = ["Segment", "Vmlinux", "check_head"]

_ET_EXEC, _ET_DYN = 2, 3
_MACHINES = {3: "32-bit x86", 40: "32-bit Arm", 183: "arm64", 243: "RISC-V", 258: "LoongArch"}
"""Machines whose kernels a user may name by mistake, by e_machine (elf(5))."""
_OTHERS_AT = 56
_OTHERS = {b"ARM\x64": "arm64", b"RSC\x05": "RISC-V"}
"""Magic numbers of other architectures' Image (Documentation/arch: booting.rst, boot-image-header.rst)."""
_PT_LOAD = 1
_PHOFF, _PHENTSIZE = 32, 54
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_BANNER = re.compile(rb"Linux version [!-~]{1,200}+ [ -~]{1,1000}+\n")
"""``linux_banner``. A second text like it has no build number after its ``#``."""
_BUILD = re.compile(rb"#\d")
_VERMAGIC_WORDS = frozenset(b"SMP preempt preempt_rt mod_unload modversions".split())
_STRING_LIMIT = 4096


@record
class Segment:
    """A segment to map: ``file_size`` bytes of the file at ``offset``, then zeros up to ``size``.

    ``flags`` combines PF_X 1, PF_W 2, PF_R 4. The segment at ``vaddr`` 0 is the template of the per-CPU area.
    """

    vaddr: int
    paddr: int
    offset: int
    file_size: int
    size: int
    flags: int


def check_head(head: bytes, path: str) -> None:
    """Raise FormatError, naming what the file is instead, if it does not begin like a vmlinux."""
    if not head:
        raise FormatError("not a kernel image: empty", path=path, offset=0)
    if (other := _OTHERS.get(head[_OTHERS_AT : _OTHERS_AT + 4])) is not None:
        raise FormatError(f"a kernel for {other}, not for x86-64", path=path, offset=_OTHERS_AT)
    if not head.startswith(b"\x7fELF"):
        raise FormatError("not a kernel image: neither a bzImage nor a vmlinux", path=path, offset=0)


class Vmlinux:
    """A vmlinux in memory; ``data`` is its bytes or a map of them. FormatError if it is not for x86-64."""

    def __init__(self, data: bytes | mmap.mmap, path: str = "") -> None:
        self.data = data
        self.path = path
        check_head(data[:64], path)
        self.elf = Elf(data, path)
        if (machine := self.elf.machine) != EM_X86_64 or self.elf.bits != 64:
            name = _MACHINES.get(machine, f"machine {machine}")
            raise FormatError(f"a kernel for {name}, not for x86-64", path=path, offset=18)
        if self.elf.type not in (_ET_EXEC, _ET_DYN):
            what = "an object file, as modules are" if self.elf.type == ET_REL else f"of type {self.elf.type}"
            raise FormatError(f"not a kernel image: the ELF file is {what}", path=path, offset=16)
        self.segments = self._read_segments()

    def _read_segments(self) -> tuple[Segment, ...]:
        head = self.elf.read(0, 64, "the ELF header")
        (offset,) = struct.unpack_from("<Q", head, _PHOFF)
        size, count = struct.unpack_from("<HH", head, _PHENTSIZE)
        if size != _PROGRAM_HEADER.size:
            raise FormatError(
                f"program headers have {size} bytes, not {_PROGRAM_HEADER.size}",
                path=self.path,
                offset=_PHENTSIZE,
            )
        table = self.elf.read(offset, size * count, "the program headers")
        segments = []
        for kind, flags, at, vaddr, paddr, file_size, memory, _align in _PROGRAM_HEADER.iter_unpack(table):
            if kind == _PT_LOAD:
                if at + file_size > len(self.data) or memory < file_size or vaddr + memory > 1 << 64:
                    raise FormatError("a segment ends beyond the end of the file", path=self.path, offset=at)
                segments.append(Segment(vaddr, paddr, at, file_size, memory, flags))
        return tuple(segments)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections, their addresses in ``addr``."""
        return self.elf.sections

    def section(self, name: str) -> Section | None:
        """Return the first section with this name."""
        return self.elf.section(name)

    def content(self, name: str) -> bytes:
        """Return a section's bytes; empty if there is no such section."""
        section = self.elf.section(name)
        return b"" if section is None else self.elf.section_data(section)

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes at an address, zeros if the file stores none; FormatError outside the kernel."""
        for segment in self.segments:
            start = address - segment.vaddr
            if 0 <= start <= segment.size - size:
                stored = max(min(size, segment.file_size - start), 0)
                at = segment.offset + start
                return self.data[at : at + stored] + bytes(size - stored)
        raise FormatError(f"{size} bytes at {address:#x} lie outside the kernel", path=self.path)

    def address_of(self, offset: int) -> int | None:
        """Return the address of an offset into the file; None if it is not mapped."""
        for segment in self.segments:
            if segment.offset <= offset < segment.offset + segment.file_size:
                return segment.vaddr + offset - segment.offset
        return None

    def banner(self) -> str:
        """Return ``linux_banner`` without the newline; FormatError if there is none."""
        section = self.elf.section(".rodata")
        start = 0 if section is None or section.type == SHT_NOBITS else min(section.offset, len(self.data))
        for match in chain(_BANNER.finditer(self.data, start), _BANNER.finditer(self.data)):
            if _BUILD.search(match[0]):
                return match[0][:-1].decode("ascii")
        raise FormatError("no version banner: not a kernel", path=self.path)

    def vermagic(self, release: str) -> str:
        """Return the vermagic that modules must have, "" if it is not found.

        No symbol for it is kept. It is recognised as a string that begins with the release, followed by words
        of include/linux/vermagic.h.
        """
        pattern = re.compile(rb"\0(" + re.escape(release.encode()) + rb" [ -~]{0,200})\0")
        for match in pattern.finditer(self.data):
            if _VERMAGIC_WORDS.intersection(match[1].split()):
                return match[1].decode("ascii")
        return ""
