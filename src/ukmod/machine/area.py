"""Ranges of kernel addresses allocated in pages: vmalloc space, module space, stacks."""

from __future__ import annotations

from ukmod.errors import LimitError
from ukmod.machine.memory import PAGE_SIZE, READ_WRITE, Memory, page_align
from ukmod.record import mutable

VMALLOC_START = 0xFFFF_C900_0000_0000
MODULES_VADDR = 0xFFFF_FFFF_C000_0000
"""Documentation/x86/x86_64/mm.rst."""


@mutable
class _Range:
    frame: int
    size: int


class Area:
    """Addresses from ``base`` to ``base + size``.

    Each allocation is followed by a page that is never mapped, as in vmalloc space, so that running off its
    end is a page fault. With ``once``, freed addresses are used again only when there are no others, so that
    a pointer to what has been freed does not become one to something else.
    """

    def __init__(self, memory: Memory, base: int, size: int, *, once: bool = False) -> None:
        self.memory = memory
        self.base = base
        self.end = base + size
        self._next = base
        self.once = once
        self._free: dict[int, list[int]] = {}
        self._ranges: dict[int, _Range] = {}

    def reserve(self, size: int) -> int:
        """Take ``size`` bytes of addresses, in whole pages, to which the caller maps memory.

        Raises LimitError if none are left.
        """
        size = page_align(size)
        self._check_room(size)
        if (free := self._free.get(size)) and (self._is_full(size) or not self.once):
            return free.pop()
        address = self._next
        self._next = address + size + PAGE_SIZE
        return address

    def _is_full(self, size: int) -> bool:
        return self._next + size + PAGE_SIZE > self.end

    def _check_room(self, size: int) -> None:
        if not self._free.get(size) and self._is_full(size):
            raise LimitError(f"no room for {size} bytes in the area at {self.base:#x}", errno=12)

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
        self._check_room(size)
        frame = self.memory.alloc_frames(size // PAGE_SIZE)
        address = self.reserve(size)
        self.memory.map(address, frame, size, prot)
        self._ranges[address] = _Range(frame, size)
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
