"""Objects packed side by side in size classes, as in SLUB, for when the electric fence has no slot left.

A freed object is filled with POISON_FREE, and the unused rest of its size class holds a pattern. Writes to
freed objects, and beyond the end of objects smaller than their class, are thus still detected when the object
is reused or freed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ukmod.machine.memory import PAGE_SIZE, READ_WRITE, Memory

POISON_FREE: Final = 0x6B
POISON_END: Final = 0xA5
RED_ZONE: Final = 0xCC
"""include/linux/poison.h"""
_CLASSES: Final = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)


class Packed:
    """Free lists of poisoned objects, by size class."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._free: dict[int, list[int]] = {}

    def alloc(self, size: int, align: int) -> int:
        """The address of ``size`` zero bytes, at most a page. Raises LimitError if RAM is exhausted."""
        room = self.room(size, align)
        free = self._free.setdefault(room, [])
        if not free:
            memory = self._memory
            page = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE, READ_WRITE)
            free += reversed(range(page, page + PAGE_SIZE - room + 1, room))
        address = free.pop()
        self._memory.write(address, bytes(size).ljust(room, bytes([RED_ZONE])))
        return address

    def room(self, size: int, align: int) -> int:
        """The size class for objects of ``size`` bytes."""
        return _room(size, align)

    def damage(self, address: int, size: int, align: int) -> int:
        """The address of the first overwritten byte after the object, or 0."""
        left = self.room(size, align) - size
        behind = self._memory.read(address + size, left) if left else b""
        return next((address + size + n for n, byte in enumerate(behind) if byte != RED_ZONE), 0)

    def free(self, address: int, size: int, align: int) -> None:
        """Poison the object and return it to its free list."""
        room = self.room(size, align)
        self._memory.write(address, bytes([POISON_FREE]) * (room - 1) + bytes([POISON_END]))
        self._free[room].append(address)


@lru_cache
def _room(size: int, align: int) -> int:
    return next(room for room in _CLASSES if room >= size and not room % align)
