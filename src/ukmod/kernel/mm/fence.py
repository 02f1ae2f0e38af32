"""The electric fence: a misuse of a kernel object faults at the exact instruction that causes it.

Each object has its own page (or pages) of the direct map and ends at the end of the page; the next page is
not mapped. An access beyond the object is therefore a page fault. So is any access to a freed object, since
its page is then unmapped. Valid accesses cost nothing extra, and an allocation costs one page table entry.
The MMU cannot catch writes before the object, or into the few bytes that its alignment leaves after it. Those
bytes hold a pattern, which is checked when the object is freed.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ukmod.kernel.mm.packed import RED_ZONE
from ukmod.kernel.x86.unwind import StackTrace
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, READ_WRITE, Memory
from ukmod.record import mutable

_RED_PAGE: Final = bytes([RED_ZONE]) * PAGE_SIZE
_BATCH: Final = 64
"""The number of slots created at a time."""


@mutable
class Slot:
    """Pages of the direct map at ``base`` for one object, followed by guard pages."""

    base: int
    frame: int
    pages: int
    """Those that the object is in, at their end."""
    pte: int
    guards: int = 1
    open_guards: int = 0
    """The guard pages that have been mapped: the object grew, or an access to them has been reported."""

    @property
    def end(self) -> int:
        """The address behind the object's own pages."""
        return self.base + (self.pages << PAGE_SHIFT)


@mutable
class Object:
    """An object of the slab allocator, in use or freed."""

    address: int
    size: int
    align: int
    cache: str
    """The name of its kmem_cache, such as "kmalloc-64"."""
    allocated: StackTrace
    freed: StackTrace | None = None
    kmem_cache: int = 0
    """The address of its struct kmem_cache; 0 for kmalloc()."""
    slot: Slot | None = None
    """None if the object is packed together with others."""
    reported: str = ""
    """The kind of misuse last reported for the object, so that each kind is reported only once."""


class Fence:
    """Slots and the objects most recently placed in them.

    ``limit``: the maximum number of slots. ``quarantine``: the number of freed objects whose slots are not
    reused yet.
    """

    def __init__(self, memory: Memory, limit: int = 16384, quarantine: int = 2048) -> None:
        self._memory = memory
        self.limit = limit
        self.quarantine = quarantine
        self._made = 0
        self._fresh: list[Slot] = []
        self._retired: deque[Slot] = deque()
        self._retired_pages: deque[Slot] = deque()
        self._objects: dict[int, Object] = {}
        """Objects by page number, both of their own pages and of their guard pages."""

    def take(self) -> Slot | None:
        """A slot of one page, or None if all are in use."""
        retired = self._retired
        if len(retired) <= self.quarantine and (self._fresh or self._make()):
            return self._fresh.pop()
        return retired.popleft() if retired else None

    def _make(self) -> bool:
        memory = self._memory
        if self._made + _BATCH > self.limit or memory.frames_left() < 4 * _BATCH:
            return False
        self._made += _BATCH
        frame = memory.alloc_frames(2 * _BATCH)
        for n in reversed(range(_BATCH)):
            at = frame + 2 * n * PAGE_SIZE
            self._fresh.append(Slot(PAGE_OFFSET + at, at, 1, memory.pte(PAGE_OFFSET + at)))
        return True

    def take_pages(self, pages: int, room: int) -> Slot | None:
        """A slot of several pages that may grow to ``room`` pages, aligned to a power of two as large."""
        memory = self._memory
        align = PAGE_SIZE << (room - 1).bit_length()
        if memory.frames_left() < 2 * align >> PAGE_SHIFT:
            return None
        frame = memory.alloc_frames(room + 1, align)
        return Slot(PAGE_OFFSET + frame, frame, pages, memory.pte(PAGE_OFFSET + frame), room + 1 - pages)

    def place(self, slot: Slot, size: int, align: int) -> int:
        """Map the slot and place ``size`` zero bytes at its end, between red zones; returns their address."""
        memory, frame, length = self._memory, slot.frame, slot.pages << PAGE_SHIFT
        start = (length - size) & -align
        if slot.pages == 1:
            memory.view[frame : frame + PAGE_SIZE] = _RED_PAGE
            memory.set_pte(slot.pte, frame | READ_WRITE)
        else:
            memory.view[frame : frame + length] = _RED_PAGE * slot.pages
            memory.map(slot.base, frame, length, READ_WRITE)
        memory.view[frame + start : frame + start + size] = bytes(size)
        self._close(slot)
        return slot.base + start

    def keep(self, item: Object, slot: Slot) -> None:
        """Record that ``item`` is in ``slot``."""
        page = slot.base >> PAGE_SHIFT
        for n in range(slot.pages + slot.guards):
            self._objects[page + n] = item

    def damage(self, item: Object, slot: Slot) -> int:
        """The address of the first overwritten byte around the object, or 0."""
        view, frame, length = self._memory.view, slot.frame, slot.pages << PAGE_SHIFT
        start = item.address - slot.base
        for begin, end in ((0, start), (min(start + item.size, length), length)):
            around = bytes(view[frame + begin : frame + end])
            if around.count(RED_ZONE) != end - begin:
                return slot.base + begin + next(n for n, byte in enumerate(around) if byte != RED_ZONE)
        return 0

    def retire(self, slot: Slot) -> None:
        """Unmap a freed object. Its contents remain until the slot is used again."""
        memory = self._memory
        if slot.pages == 1:
            memory.set_pte(slot.pte, slot.frame)
            memory.on_unmap()
            self._retired.append(slot)
            return
        memory.unmap(slot.base, slot.pages << PAGE_SHIFT)
        self._retired_pages.append(slot)
        if len(self._retired_pages) > self.quarantine >> 5:
            self._release(self._retired_pages.popleft())

    def _release(self, slot: Slot) -> None:
        page = slot.base >> PAGE_SHIFT
        for n in range(slot.pages + slot.guards):
            del self._objects[page + n]
        self._close(slot)
        self._memory.free_frames(slot.frame, slot.pages + slot.guards)

    def _close(self, slot: Slot) -> None:
        if slot.open_guards:
            self._memory.unmap(slot.end, slot.open_guards << PAGE_SHIFT)
            slot.open_guards = 0

    def object_near(self, address: int) -> Object | None:
        """The object, in use or freed, whose page or guard page contains ``address``."""
        return self._objects.get(address >> PAGE_SHIFT)

    def is_open(self, address: int) -> bool:
        """True if the page of ``address`` is accessible."""
        return bool(self._memory.prot(address & -PAGE_SIZE))

    def widen(self, item: Object, slot: Slot, size: int) -> None:
        """Make ``size`` bytes of the object usable: the added bytes are zeroed and no longer red zone."""
        if item.address + size > slot.end:
            self.open(slot, item.address + size - 1)
        self._memory.write(item.address + item.size, bytes(size - item.size))
        item.size = size

    def open(self, slot: Slot, address: int) -> None:
        """Allow accesses to the pages up to that of ``address`` from now on."""
        memory, length = self._memory, slot.pages << PAGE_SHIFT
        memory.map(slot.base, slot.frame, length, READ_WRITE)
        if address >= slot.end:
            guards = (address - slot.end >> PAGE_SHIFT) + 1
            memory.map(slot.end, slot.frame + length, guards << PAGE_SHIFT, READ_WRITE)
            slot.open_guards = max(slot.open_guards, guards)
