"""Objects side by side, for when the electric fence has no room left: size classes, as in SLUB.

A freed object is filled with POISON_FREE, and what its size class leaves behind it holds a pattern. So
writes to freed objects, and over the end of objects that do not fill their class, are still found: when the
object is used again, or freed.
"""

from __future__ import annotations

from typing import Final

from ukmod.machine.memory import PAGE_SIZE, READ_WRITE, Memory

POISON_FREE: Final = 0x6B
POISON_END: Final = 0xA5
RED_ZONE: Final = 0xCC
"""include/linux/poison.h"""
_CLASSES: Final = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)


class Packed:
    """Free lists of ready-poisoned objects, by size class."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._free: dict[int, list[int]] = {}

    def alloc(self, size: int, align: int) -> int:
        """``size`` zero bytes, at most a page; their address. Raises LimitError when RAM is used up."""
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
        """The size class that objects of ``size`` are taken from."""
        return next(room for room in _CLASSES if room >= size and not room % align)

    def damage(self, address: int, size: int, align: int) -> int:
        """The address of the first byte behind the object that is not as it was left; 0 if all are."""
        left = self.room(size, align) - size
        behind = self._memory.read(address + size, left) if left else b""
        return next((address + size + n for n, byte in enumerate(behind) if byte != RED_ZONE), 0)

    def free(self, address: int, size: int, align: int) -> None:
        """Poison the object and give it back."""
        room = self.room(size, align)
        self._memory.write(address, bytes([POISON_FREE]) * (room - 1) + bytes([POISON_END]))
        self._free[room].append(address)
