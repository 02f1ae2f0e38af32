"""An image in memory: its segments at their link addresses, and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ukmod.errors import LayoutError, LimitError
from ukmod.kernel.mm.percpu import AREA_SIZE, PerCpuSection
from ukmod.kernel.module.symbols import FoundSymbol
from ukmod.kernel.x86 import extable, orc
from ukmod.kernel.x86.bug_table import bug_layout
from ukmod.kernel.x86.orc import OrcTable
from ukmod.kmod.elf import SHF_EXECINSTR
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.symbols import ImageSymbol, ImageSymbols
from ukmod.machine.image.vmlinux import Segment
from ukmod.machine.memory import NX, PAGE_SIZE, READ_EXEC, READ_ONLY, READ_WRITE, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

START_KERNEL_MAP: Final = 0xFFFF_FFFF_8000_0000
"""__START_KERNEL_map, arch/x86/include/asm/page_64_types.h."""
PMD_SIZE: Final = 1 << 21
_PF_X = 1


class MappedImage:
    """A kernel image in a machine's memory.

    All segments lie in one piece of RAM, so that ``phys_base`` gives its place, as on a machine with KASLR.
    """

    def __init__(self, kernel: Core, image: KernelImage) -> None:
        self._k = kernel
        self.image = image
        loaded = [segment for segment in image.segments if segment.vaddr >= START_KERNEL_MAP]
        if not loaded:
            raise LayoutError("has no segments at kernel addresses", subject=image.path)
        self.start = min(segment.vaddr for segment in loaded)
        self.end = page_align(max(segment.vaddr + segment.size for segment in loaded))
        self._tables = {section.name: (section.addr, section.size) for section in image.sections}
        self.text_end = self._section_end(".text")
        self.frame = kernel.memory.alloc_frames((self.end - self.start) // PAGE_SIZE, PMD_SIZE)
        for segment in loaded:
            self._map(segment)
        kernel.memory.map_direct(self.frame, self.end - self.start)
        self.firmware = range(0)
        """The physical addresses of tables that the machine's firmware has left in RAM."""
        self.breakpoints: dict[int, int] = {}
        """Where the functions that begin with a breakpoint lead to, by their addresses: those that Python
        replaces and that are too short for a jump."""
        self.phys_base = self.frame - (self.start - START_KERNEL_MAP)
        """The number that code adds to an offset in the image for a physical address; may be negative."""

    def _section_end(self, name: str) -> int:
        address, size = self._table(name)
        return page_align(address + size) if address else self.start

    def _map(self, segment: Segment) -> None:
        """Map a segment. It is writable until the image is initialised, as early code patches text."""
        memory, frame = self._k.memory, self.frame + segment.vaddr - self.start
        content = memoryview(self.image.data)[segment.offset : segment.offset + segment.file_size]
        memory.view[frame : frame + segment.file_size] = content
        content.release()
        end = page_align(segment.vaddr + segment.size)
        text_end = min(self.text_end, end) if segment.flags & _PF_X else segment.vaddr
        if segment.vaddr < text_end:
            memory.map(segment.vaddr, frame, text_end - segment.vaddr, READ_WRITE & ~NX)
        start = max(segment.vaddr, text_end)
        memory.map(start, frame + start - segment.vaddr, end - start, READ_WRITE)
        # The last segment holds init code among init data. Not every linker marks it as executable.
        for section in self.image.sections:
            first, last = section.addr & -PAGE_SIZE, page_align(section.addr + section.size)
            if section.flags & SHF_EXECINSTR and start <= first < last <= end:
                memory.protect(first, last - first, READ_WRITE & ~NX)

    def mark_rodata_ro(self) -> None:
        """mark_rodata_ro(): write-protect text and data that is constant after initialisation."""
        memory = self._k.memory
        memory.protect(self.start, self.text_end - self.start, READ_EXEC)
        end = self._section_end("__modver")
        memory.protect(self.text_end, end - self.text_end, READ_ONLY)

    def variables(self) -> Iterator[tuple[int, int]]:
        """The sections with the image's variables: address and size in bytes."""
        return (self._tables[name] for name in (".data", ".bss") if name in self._tables)

    def percpu_section(self) -> PerCpuSection:
        """The initial contents of each per-CPU area. Raises LimitError if they are too large."""
        address, size = self._table(".data..percpu")
        if size > AREA_SIZE:
            text = f"has {size} bytes of per-CPU variables, there is room for {AREA_SIZE}"
            raise LimitError(text, subject=self.image.path)
        return PerCpuSection(address, self.image.read(address, size) if size else b"")

    # -- symbols --------------------------------------------------------------------------------------

    @property
    def symbols(self) -> ImageSymbols:
        """All symbols of the image."""
        return self.image.symbols

    def contains(self, address: int) -> bool:
        """True if ``address`` is in the image."""
        return self.start <= address < self.end

    def get(self, name: str) -> int | None:
        """The address of a symbol of the image, exported or not; a per-CPU symbol's offset; or None."""
        return self.image.address(name)

    def address(self, name: str) -> int:
        """The address of a symbol. Raises LayoutError if the image has no such symbol."""
        if (found := self.get(name)) is None:
            text = (
                f"has no symbol {name}: without CONFIG_KALLSYMS_ALL, a kernel needs its System.map or "
                "vmlinux, in boot or lib/modules/RELEASE/build"
            )
            raise LayoutError(text, subject=self.image.path)
        return found

    def set(self, name: str, value: int, size: int = 8) -> None:
        """Store a value in a variable of the image, if the image has it."""
        if (address := self.get(name)) is not None:
            self._k.memory.write(address, (value & (1 << 64) - 1).to_bytes(8, "little")[:size], force=True)

    def find(self, name: str) -> FoundSymbol | None:
        """The image's export with this name, or None."""
        export = self.image.exports.get(name)
        if export is None:
            return None
        return FoundSymbol(name, export.address, export.gpl, export.namespace, export.crc)

    def lookup(self, address: int) -> tuple[ImageSymbol, int] | None:
        """The symbol that contains ``address``, and its size in bytes."""
        if not self.contains(address) or (symbol := self.symbols.at(address)) is None:
            return None
        return symbol, self.symbols.size_at(address)

    def __getstate__(self) -> dict[str, Any]:
        """All attributes except the tables that are read from memory on demand."""
        return {name: value for name, value in vars(self).items() if name not in ("bugs", "fixups", "orc")}

    # -- tables ---------------------------------------------------------------------------------------

    def _table(self, name: str) -> tuple[int, int]:
        return self._tables.get(name, (0, 0))

    @cached_property
    def bugs(self) -> dict[int, int]:
        """The address of the ``__bug_table`` entry, by the address of its ud2."""
        start, size = self._table("__bug_table")
        table = self._k.memory.read(start, size) if size else b""
        return {address: at for at, address in bug_layout(self._k.types).addresses(table, start)}

    @cached_property
    def fixups(self) -> dict[int, extable.ExceptionEntry]:
        """The image's exception table, by the address of the instruction."""
        start, size = self._table("__ex_table")
        table = self._k.memory.read(start, size) if size else b""
        found = extable.entries(table, start, extable.handlers(self._k))
        return {entry.insn: entry for entry in found}

    @cached_property
    def orc(self) -> OrcTable:
        """The image's ORC table, for call traces."""
        old = self._k.types.has("orc_entry", "end") or not self._k.types.has("orc_entry", "signal")
        ips, entries = self._table(".orc_unwind_ip"), self._table(".orc_unwind")
        return orc.read_table(self._k.memory, ips, entries, has_undefined_type=not old, in_order=True)
