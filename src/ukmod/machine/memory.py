"""The machine's memory: one block of RAM, with page tables that map it to kernel addresses.

The tables are real x86-64 four-level page tables in guest RAM, walked by the emulated MMU itself. Kernel
addresses therefore work as on hardware, a page's protection is one entry in a table, and an access that
hardware would refuse is a page fault with its address, at no cost to valid accesses. (Unicorn's alternative
for kernel addresses, ``UC_TLB_VIRTUAL``, made each load and store 20 times slower.)

Python reads and writes the same RAM directly, without copies through the engine.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterable
from io import BufferedReader
from typing import Any

from ukmod.errors import MachineError
from ukmod.machine.frames import LOW_MEMORY, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Frames, page_align
from ukmod.machine.pagemap import written
from ukmod.machine.registers import MASK64
from ukmod.machine.runs import PRIVATE, Run, restore_runs, runs_of

__all__ = [
    "KERNEL_START",
    "LARGE",
    "LOW_MEMORY",
    "NX",
    "PAGE_MASK",
    "PAGE_OFFSET",
    "PAGE_SHIFT",
    "PAGE_SIZE",
    "PRESENT",
    "READ_EXEC",
    "READ_ONLY",
    "READ_WRITE",
    "USER",
    "USER_HALF",
    "WRITE",
    "Fault",
    "Memory",
    "Run",
    "is_canonical",
    "page_align",
]

USER_HALF, KERNEL_START = 1 << 47, 0xFFFF_8000_0000_0000
"""The size of the lower half of the canonical addresses, and where the upper half begins."""
PAGE_OFFSET = 0xFFFF_8880_0000_0000
"""The start of the direct map of all RAM (Documentation/x86/x86_64/mm.rst)."""

# Page table entry bits (Intel SDM vol. 3, 4.5).
PRESENT = 1 << 0
WRITE = 1 << 1
USER = 1 << 2
"""Ring 3 may access the page. All entries above its own must say so, too."""
LARGE = 1 << 7
"""In an entry above the last level: it maps a page of 2 MiB or 1 GiB and is no table."""
NX = 1 << 63
_FRAME = 0x000F_FFFF_FFFF_F000
_SHIFTS = (39, 30, 21, PAGE_SHIFT)
_ENTRIES = 512
"""The number of entries of a page table."""
_TRIES = 64
"""The times that an access is made again after ``resolve`` says that it has brought the page in."""
_RESERVED = 0x000F_FF00_0000_0000
"""The bits beyond the physical addresses of the emulated CPU model, which has 40 (CPUID 0x80000008)."""

READ_ONLY = PRESENT | NX
READ_WRITE = PRESENT | WRITE | NX
READ_EXEC = PRESENT

_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_S32, _S64 = struct.Struct("<i"), struct.Struct("<q")
_PLUGGED = frozenset(("ram", "view", "_words", "_ptes"))
"""Attributes of Memory that belong to this process alone."""


class Fault(MachineError):  # noqa: N818 - the CPU's own word
    """An access to guest memory that the page tables do not allow: the page fault hardware would raise."""

    def __init__(self, address: int, *, write: bool = False) -> None:
        super().__init__(f"page fault: {'write to' if write else 'read from'} {address:#018x}")
        self.address = address
        self.write = write


def is_canonical(address: int) -> bool:
    """True if four-level page tables can map an address."""
    return 0 <= address < USER_HALF or KERNEL_START <= address <= MASK64


class Memory:
    """RAM of ``size`` bytes, of which unused pages cost the host nothing, and its page tables."""

    def __init__(self, size: int = 1 << 30) -> None:
        self.size = size
        self._plug_in()
        self._frames = Frames(size)
        self.on_unmap: Callable[[], None] = _no_engine
        """Called after an entry was removed or restricted: the engine must flush its TLB."""
        self.resolve: Callable[[int, bool], bool] = _unresolved
        """Called before an access from Python faults, with address and write; True to retry the access."""
        self.kernel_root = self.alloc_frames(1)
        """The physical address of the kernel's own top-level page table."""
        self.root = self.kernel_root
        """The physical address of the page table in use. A process's own shares the upper half."""

    def _plug_in(self) -> None:
        self.ram = mmap.mmap(-1, self.size, **PRIVATE)
        self.view = memoryview(self.ram)
        self._words = self.view.cast("Q")
        self._ptes: dict[int, int] = {}
        """Indices in ``_words`` of entries found before, by page number of the kernel's half.

        Its page tables are never moved; those of processes come and go.
        """

    def close(self) -> None:
        """Return the RAM to the host. The engine that maps it must have been freed."""
        self._words.release()
        self.view.release()
        self.ram.close()

    # -- snapshots ------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The state for a snapshot, without the RAM, which ``content`` and ``restore`` handle."""
        return {name: value for name, value in vars(self).items() if name not in _PLUGGED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._plug_in()

    def content(self) -> list[Run]:
        """The pieces of RAM that are not all zeros, in order."""
        return runs_of(self.view[: self._frames.end])

    def written(self) -> bytes:
        """A byte for each frame up to the last one allocated: 0 if it is as at the start, or as restored."""
        count = self._frames.end >> PAGE_SHIFT
        return written(self.ram, count) if mmap.PAGESIZE == PAGE_SIZE else b"\1" * count

    def restore(self, file: BufferedReader, offset: int, runs: Iterable[Run]) -> None:
        """Fill zeroed RAM with runs that are stored consecutively at ``offset`` in a file.

        They are mapped copy-on-write if the host supports that at these addresses, and otherwise read. The
        file must not change afterwards. Raises OSError, and ValueError for runs outside RAM.
        """
        restore_runs(self.ram, self.view, runs, file, offset)

    # -- frames ---------------------------------------------------------------------------------------

    def alloc_frames(self, count: int, align: int = PAGE_SIZE) -> int:
        """Allocate ``count`` contiguous zeroed frames; returns their physical address, aligned to ``align``.

        Raises LimitError if the machine's RAM is exhausted.
        """
        used = self._frames.end
        frame = self._frames.alloc(count, align)
        if frame < used:
            self.view[frame : frame + count * PAGE_SIZE] = bytes(count * PAGE_SIZE)
        return frame

    def free_frames(self, frame: int, count: int) -> None:
        """Free the result of ``alloc_frames(count)``."""
        self._frames.free(frame, count)

    def frames_left(self) -> int:
        """The number of frames never allocated, as far as there is RAM for them."""
        return self._frames.left()

    def charge(self, size: int, *, force: bool = False) -> None:
        """Take ``size`` bytes of RAM for what the host keeps for the guest; negative ones are given back.

        Raises LimitError if the machine's RAM is exhausted, unless ``force``: the next allocation then does.
        """
        self._frames.charge(size, force=force)

    # -- page tables ----------------------------------------------------------------------------------

    def _entry(self, address: int, *, create: bool) -> int:
        """The index, in 8-byte words of RAM, of the page table entry for ``address``; 0 if there is none.

        The guest can write to its page tables. With ``create``, raises Fault for a table outside RAM, or a
        large page in its place.
        """
        words = self._words
        table = self.root >> 3
        for shift in (39, 30, 21):
            index = table + ((address >> shift) & 511)
            entry = words[index]
            if not entry & PRESENT:
                if not create:
                    return 0
                entry = self.alloc_frames(1) | PRESENT | WRITE
                words[index] = entry
            table = (entry & _FRAME) >> 3
            if table << 3 >= self.size or entry & LARGE:
                if create:
                    raise Fault(address, write=True)
                return 0
        return table + ((address >> PAGE_SHIFT) & 511)

    def _large(self, address: int, *, write: bool) -> int:
        """The physical address for one in a large page, which only the guest itself can make; 0 if none."""
        for shift, entry in zip(_SHIFTS, self.entries(address), strict=False):
            if not entry & PRESENT or (write and not entry & WRITE):
                break
            if entry & LARGE and shift in (21, 30):
                physical = (entry & _FRAME & -(1 << shift)) | (address & ((1 << shift) - 1))
                return physical if physical < self.size else 0
        return 0

    def map(self, address: int, frame: int, size: int, prot: int) -> None:
        """Map ``size`` bytes at virtual ``address`` to physical ``frame`` with protection ``prot``."""
        replaced = False
        for offset in range(0, size, PAGE_SIZE):
            index = self._entry(address + offset, create=True)
            replaced = replaced or bool(self._words[index] & PRESENT)
            self._words[index] = (frame + offset) | prot
        if replaced:
            self.on_unmap()

    def unmap(self, address: int, size: int) -> None:
        """Make every access to these pages fault. The entry keeps the frame: see ``protect``."""
        for offset in range(0, size, PAGE_SIZE):
            if index := self._entry(address + offset, create=False):
                self._words[index] &= ~PRESENT & MASK64
        self.on_unmap()

    def protect(self, address: int, size: int, prot: int) -> None:
        """Change the protection of pages that are or were mapped."""
        for offset in range(0, size, PAGE_SIZE):
            index = self._entry(address + offset, create=False)
            if index:
                self._words[index] = (self._words[index] & _FRAME) | prot
        self.on_unmap()

    def kernel_half(self) -> bytes:
        """The upper half of the kernel's top-level page table, for that of a process.

        All 256 entries exist from now on, so that what the kernel maps later appears in every process.
        """
        first = self.kernel_root // 8 + _ENTRIES // 2
        for index in range(first, first + _ENTRIES // 2):
            if not self._words[index] & PRESENT:
                self._words[index] = self.alloc_frames(1) | PRESENT | WRITE
        return bytes(self.view[8 * first : 8 * first + PAGE_SIZE // 2])

    def swap_entry(self, address: int, entry: int) -> int:
        """Replace the page table entry for ``address``; returns the old one."""
        index = self._entry(address, create=True)
        before = self._words[index]
        self._words[index] = entry
        self.on_unmap()
        return before

    def let_users_in(self, address: int) -> None:
        """Mark the entries above the page at ``address``, which decide together with its own."""
        table = self.root >> 3
        for shift in _SHIFTS[:-1]:
            index = table + ((address >> shift) & 511)
            self._words[index] |= USER
            table = (self._words[index] & _FRAME) >> 3

    def pte(self, address: int) -> int:
        """The place of the page table entry for ``address``, for ``set_pte``; creates missing tables."""
        return self._entry(address, create=True)

    def set_pte(self, pte: int, entry: int) -> None:
        """Store a page table entry. A caller that restricts access must call ``on_unmap`` afterwards."""
        self._words[pte] = entry

    def map_direct(self, frame: int, size: int, prot: int = READ_WRITE) -> int:
        """Map frames at their addresses in the direct map; returns the virtual address."""
        address = PAGE_OFFSET + frame
        self.map(address, frame, size, prot)
        return address

    def prot(self, address: int) -> int:
        """The protection bits of the page at ``address``; 0 if it is not mapped."""
        index = self._entry(address, create=False)
        entry = self._words[index] if index else 0
        return entry & ~_FRAME if entry & PRESENT else 0

    def entries(self, address: int) -> list[int]:
        """The page table entries for ``address``, top level first.

        The last one is the page's own, is not present, or refers to a table outside RAM.
        """
        found: list[int] = []
        table = self.root
        for shift in _SHIFTS:
            entry = self._words[(table >> 3) + ((address >> shift) & 511)]
            found.append(entry)
            table = entry & _FRAME
            if not entry & PRESENT or table >= self.size or (entry & LARGE and shift in (21, 30)):
                break
        return found

    def corrupted(self, address: int) -> bool:
        """True if the CPU finds reserved bits in an entry for ``address``, or a table outside RAM.

        Loads from where no RAM is return all ones on a PC, and those contain the reserved bits.
        """
        entries = self.entries(address)
        last = entries[-1]
        outside = len(entries) < len(_SHIFTS) and last & PRESENT and not last & LARGE
        return bool(outside) or any(entry & PRESENT and entry & _RESERVED for entry in entries)

    def translate(self, address: int, *, write: bool = False, tries: int = _TRIES) -> int:
        """The physical address for a virtual one. Raises Fault if hardware would.

        A page may still be absent when ``resolve`` says that it has brought it in: after ``tries`` times
        this is a Fault, too, where hardware would fault for ever.
        """
        page = address >> PAGE_SHIFT
        index = self._ptes.get(page, 0)
        if not index:
            if not is_canonical(address):
                raise Fault(address & MASK64, write=write)
            if (index := self._entry(address, create=False)) and address >= KERNEL_START:
                self._ptes[page] = index
        entry = self._words[index] if index else 0
        if not entry & PRESENT or (write and not entry & WRITE):
            if physical := self._large(address, write=write):
                return physical
            if tries and self.resolve(address, write):
                return self.translate(address, write=write, tries=tries - 1)
            raise Fault(address, write=write)
        if entry & _FRAME >= self.size:  # a device's page is not memory: Python cannot access it
            raise Fault(address, write=write)
        return (entry & _FRAME) | (address & (PAGE_SIZE - 1))

    # -- access ---------------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at a virtual address, which is not looked at if ``size`` is 0.

        Raises Fault at the first unmapped page, and LimitError for more than all RAM, which can be mapped
        only where page tables map the same frame many times.
        """
        if 0 < size <= PAGE_SIZE - (address & (PAGE_SIZE - 1)):
            at = self.translate(address)
            return bytes(self.view[at : at + size])
        if size > self.size:
            for here in range(address, address + self.size, PAGE_SIZE):
                self.translate(here)
            raise self._frames.exhausted()
        parts = []
        while size > 0:
            at = self.translate(address)
            step = min(size, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            parts.append(bytes(self.view[at : at + step]))
            address += step
            size -= step
        return b"".join(parts)

    def write(self, address: int, data: bytes | bytearray | memoryview, *, force: bool = False) -> None:
        """Write ``data`` at a virtual address; ``force`` ignores write protection, as the loader must.

        Raises Fault at the first page that cannot be written; the pages before it are written.
        """
        done, size = 0, len(data)
        while done < size:
            here = address + done
            at = self.translate(here, write=not force)
            step = min(size - done, PAGE_SIZE - (here & (PAGE_SIZE - 1)))
            self.view[at : at + step] = data[done : done + step]
            done += step

    def cstring(self, address: int, limit: int = 1 << 16) -> bytes:
        """The NUL-terminated string at ``address``, without its NUL; cut at ``limit`` bytes."""
        parts: list[bytes] = []
        left = limit
        while left > 0:
            step = min(left, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            chunk = self.read(address, step)
            end = chunk.find(b"\0")
            if end >= 0:
                parts.append(chunk[:end])
                break
            parts.append(chunk)
            address += step
            left -= step
        return b"".join(parts)

    def fill(self, address: int, byte: int, size: int, *, force: bool = False) -> None:
        """memset()."""
        self.fill_with(address, bytes([byte]), size, force=force)

    def fill_with(self, address: int, pattern: bytes, count: int, *, force: bool = False) -> None:
        """Write ``pattern``, whose length divides a page's, ``count`` times; in pieces, as that may fault."""
        piece = pattern * (PAGE_SIZE // len(pattern))
        left = count * len(pattern)
        while left > 0:
            # Begin with a piece that ends with its page, so that all bytes before a faulting page are
            # written.
            step = min(left, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            self.write(address, piece[:step], force=force)
            piece = piece[step:] + piece[:step]
            address += step
            left -= step

    def u8(self, address: int) -> int:
        """An unsigned byte."""
        return self.view[self.translate(address)]

    def u16(self, address: int) -> int:
        """An unsigned 16-bit value."""
        value: int = _U16.unpack(self.read(address, 2))[0]
        return value

    def u32(self, address: int) -> int:
        """An unsigned 32-bit value."""
        value: int = _U32.unpack(self.read(address, 4))[0]
        return value

    def s32(self, address: int) -> int:
        """A signed 32-bit value."""
        value: int = _S32.unpack(self.read(address, 4))[0]
        return value

    def u64(self, address: int) -> int:
        """An unsigned 64-bit value, or a pointer."""
        if not address & 7:
            return self._words[self.translate(address) >> 3]
        value: int = _U64.unpack(self.read(address, 8))[0]
        return value

    def peek(self, address: int) -> int:
        """The aligned 8 bytes at an address, or the last ones there if its page was unmapped; never a fault.

        0 if there never were any, or if the address is not aligned.
        """
        index = self._entry(address, create=False) if is_canonical(address) and not address & 7 else 0
        frame = self._words[index] & _FRAME if index else 0
        return self._words[(frame | address & PAGE_SIZE - 1) >> 3] if LOW_MEMORY <= frame < self.size else 0

    def s64(self, address: int) -> int:
        """A signed 64-bit value."""
        value: int = _S64.unpack(self.read(address, 8))[0]
        return value

    def set_u8(self, address: int, value: int) -> None:
        """Store a byte."""
        self.view[self.translate(address, write=True)] = value & 0xFF

    def set_u16(self, address: int, value: int) -> None:
        """Store 16 bits."""
        self.write(address, _U16.pack(value & 0xFFFF))

    def set_u32(self, address: int, value: int) -> None:
        """Store 32 bits; a negative value is stored in two's complement."""
        self.write(address, _U32.pack(value & 0xFFFF_FFFF))

    def set_u64(self, address: int, value: int) -> None:
        """Store 64 bits, or a pointer; a negative value is stored in two's complement."""
        if not address & 7:
            self._words[self.translate(address, write=True) >> 3] = value & MASK64
        else:
            self.write(address, _U64.pack(value & MASK64))

    def uint(self, address: int, size: int) -> int:
        """An unsigned value of ``size`` bytes."""
        return int.from_bytes(self.read(address, size), "little")

    def set_uint(self, address: int, value: int, size: int) -> None:
        """Store the low ``size`` bytes of ``value``."""
        self.write(address, (value & ((1 << (8 * size)) - 1)).to_bytes(size, "little"))


def _no_engine() -> None:
    """The default ``on_unmap``: no engine has cached any page table entry yet."""


def _unresolved(address: int, write: bool) -> bool:  # noqa: FBT001 - see Memory.resolve
    del address, write
    return False
