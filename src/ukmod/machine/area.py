"""Ranges of kernel addresses allocated in pages: vmalloc space, module space, stacks."""

from __future__ import annotations

from errno import ENOMEM

from ukmod.errors import LimitError
from ukmod.machine.memory import PAGE_SIZE, READ_WRITE, Memory, page_align
from ukmod.record import mutable

VMALLOC_START = 0xFFFF_C900_0000_0000
MODULES_VADDR, MODULES_END = 0xFFFF_FFFF_C000_0000, 0xFFFF_FFFF_FF00_0000
"""Documentation/x86/x86_64/mm.rst, arch/x86/include/asm/pgtable_64_types.h, with CONFIG_RANDOMIZE_BASE."""
MODULES_ONCE = 64 << 20
"""The bytes of module space that are used before freed ones are used again; each 2 MiB take a page table."""


@mutable
class _Range:
    frame: int
    size: int


class Area:
    """Addresses from ``base`` to ``base + size``.

    Each allocation is followed by a page that is never mapped, as in vmalloc space, so that running off its
    end is a page fault. With ``once``, freed addresses are used again only after so many bytes of others, or
    when there are no others, so that a pointer to what has been freed does not become one to something else.
    """

    def __init__(self, memory: Memory, base: int, size: int, *, once: int = 0) -> None:
        self.memory = memory
        self.base = base
        self._next, self._end = base, base + size
        """The gap from which new addresses are taken."""
        self.once = once
        self._turn = base + once
        """The address from which on freed addresses are used again."""
        self._free: dict[int, list[int]] = {}
        """Freed addresses outside that gap, by size; a guard page follows each."""
        self._ranges: dict[int, _Range] = {}

    def reserve(self, size: int) -> int:
        """Take ``size`` bytes of addresses, in whole pages, to which the caller maps memory.

        Raises LimitError if none are left.
        """
        size = page_align(size)
        self._make_room(size)
        if (free := self._free.get(size)) and not (self.once and self._fits(size)):
            return free.pop()
        address = self._next
        self._next = address + size + PAGE_SIZE
        return address

    def has_room(self, size: int) -> bool:
        """True if there are addresses for ``size`` bytes; there may be no memory for them."""
        try:
            self._make_room(page_align(size))
        except LimitError:
            return False
        return True

    def _fits(self, size: int) -> bool:
        return self._next + size + PAGE_SIZE <= self._end

    def _make_room(self, size: int) -> None:
        if self.once and self._next >= self._turn:
            self._change_gap()
        if self._fits(size) or self._free.get(size):
            return
        self._change_gap()
        if not self._fits(size):
            raise LimitError(f"no room for {size} bytes in the area at {self.base:#x}", errno=ENOMEM)

    def _change_gap(self) -> None:
        """Join freed ranges that are next to each other, and continue in the largest."""
        freed = ((at, at + size + PAGE_SIZE) for size, places in self._free.items() for at in places)
        gaps: list[tuple[int, int]] = []
        for start, end in sorted([*freed, (self._next, self._end)]):
            if gaps and gaps[-1][1] == start:
                gaps[-1] = gaps[-1][0], end
            else:
                gaps.append((start, end))
        self._next, self._end = max(gaps, key=lambda gap: gap[1] - gap[0])
        self._turn = self._next + self.once
        self._free = {}
        for start, end in gaps:
            if start not in (self._next, end):
                self._free.setdefault(end - start - PAGE_SIZE, []).append(start)

    def release(self, address: int, size: int) -> None:
        """Unmap the result of ``reserve`` and give the addresses back."""
        size = page_align(size)
        self.memory.unmap(address, size)
        self._free.setdefault(size, []).append(address)

    def alloc(self, size: int, prot: int = READ_WRITE) -> int:
        """Allocate ``size`` bytes, rounded up to pages, zeroed and mapped with ``prot``; returns the address.

        Raises LimitError if the area or the machine's RAM is exhausted.
        """
        size = max(page_align(size), PAGE_SIZE)
        self._make_room(size)
        frame = self.memory.alloc_frames(size // PAGE_SIZE)
        address = self.reserve(size)
        self._ranges[address] = _Range(frame, size)
        try:
            self.memory.map(address, frame, size, prot)
        except LimitError:  # for a page table
            self.free(address)
            raise
        return address

    def free(self, address: int) -> None:
        """Unmap and free the result of ``alloc``."""
        found = self._ranges.pop(address)
        self.memory.free_frames(found.frame, found.size // PAGE_SIZE)
        self.release(address, found.size)

    def size_of(self, address: int) -> int:
        """The size in bytes of the allocation that begins at ``address``; 0 if none does."""
        found = self._ranges.get(address)
        return found.size if found else 0
