"""The electric fence: kernel objects that fault at the exact instruction that misuses them.

Each object has its own page (or pages) of the direct map and ends where the page ends; the next page is not
mapped. So an access behind the object is a page fault, and so is any access after the object was freed, as
its page is unmapped then. It costs the accesses that are fine nothing, and an allocation one page table
entry. What the MMU cannot see, writes before the object or into the few bytes that its alignment leaves
behind it, is seen when it is freed: those bytes hold a pattern.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from ukmod.kernel.x86.unwind import Trace
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, READ_WRITE, Memory

RED_ZONE: Final = 0xCC
"""SLUB_RED_ACTIVE, include/linux/poison.h: what the bytes around an object hold."""
_RED_PAGE: Final = bytes([RED_ZONE]) * PAGE_SIZE
_BATCH: Final = 64
"""Slots made at once."""


@dataclass(slots=True, eq=False)
class Slot:
    """A page of the direct map at ``base`` for one object, followed by a guard page."""

    base: int
    frame: int
    pages: int
    pte: int
    guard_open: bool = False
    """The guard page was mapped, so that an access that was reported could go on."""


@dataclass(slots=True, eq=False)
class Object:
    """An object of the slab allocator, in use or freed."""

    address: int
    size: int
    align: int
    cache: str
    """Of the kmem_cache it came from: "kmalloc-64"."""
    allocated: Trace
    freed: Trace | None = None
    kmem_cache: int = 0
    """The struct kmem_cache it came from; 0 for kmalloc()."""
    slot: Slot | None = None
    """None: it is packed together with others."""
    reported: str = ""
    """The kind of misuse of it that was reported last; once is enough."""


class Fence:
    """Slots and the objects that were last placed in them.

    ``limit``: slots at most. ``quarantine``: freed objects that keep their slot before it is used again.
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
        """By page number, of the objects' own pages and of the guards."""

    def take(self) -> Slot | None:
        """A slot of one page; None when all are in use."""
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

    def take_pages(self, pages: int) -> Slot | None:
        """A slot of several pages, at a multiple of their number rounded up to a power of two."""
        memory = self._memory
        align = PAGE_SIZE << (pages - 1).bit_length()
        if memory.frames_left() < 2 * align >> PAGE_SHIFT:
            return None
        frame = memory.alloc_frames(pages + 1, align)
        return Slot(PAGE_OFFSET + frame, frame, pages, memory.pte(PAGE_OFFSET + frame))

    def place(self, slot: Slot, size: int, align: int) -> int:
        """Map the slot and lay out ``size`` zero bytes at its end, a red zone around them; their address."""
        memory, frame, length = self._memory, slot.frame, slot.pages << PAGE_SHIFT
        start = (length - size) & -align
        if slot.pages == 1:
            memory.view[frame : frame + PAGE_SIZE] = _RED_PAGE
            memory.set_pte(slot.pte, frame | READ_WRITE)
        else:
            memory.view[frame : frame + length] = _RED_PAGE * slot.pages
            memory.map(slot.base, frame, length, READ_WRITE)
        memory.view[frame + start : frame + start + size] = bytes(size)
        if slot.guard_open:
            memory.unmap(slot.base + length, PAGE_SIZE)
            slot.guard_open = False
        return slot.base + start

    def keep(self, item: Object, slot: Slot) -> None:
        """Remember that ``item`` is in ``slot``."""
        page = slot.base >> PAGE_SHIFT
        for n in range(slot.pages + 1):
            self._objects[page + n] = item

    def damage(self, item: Object, slot: Slot) -> int:
        """The address of the first byte around the object that is not as it was left; 0 if all are."""
        view, frame, length = self._memory.view, slot.frame, slot.pages << PAGE_SHIFT
        start = item.address - slot.base
        for begin, end in ((0, start), (min(start + item.size, length), length)):
            around = bytes(view[frame + begin : frame + end])
            if around.count(RED_ZONE) != end - begin:
                return slot.base + begin + next(n for n, byte in enumerate(around) if byte != RED_ZONE)
        return 0

    def retire(self, slot: Slot) -> None:
        """Unmap a freed object. Its bytes stay until the slot is used again."""
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
        for n in range(slot.pages + 1):
            del self._objects[page + n]
        if slot.guard_open:
            self._memory.unmap(slot.base + (slot.pages << PAGE_SHIFT), PAGE_SIZE)
        self._memory.free_frames(slot.frame, slot.pages + 1)

    def object_near(self, address: int) -> Object | None:
        """The object, in use or freed, whose page or guard page ``address`` is in."""
        return self._objects.get(address >> PAGE_SHIFT)

    def is_open(self, address: int) -> bool:
        """Can the page of ``address`` be accessed already?"""
        return bool(self._memory.prot(address & -PAGE_SIZE))

    def widen(self, item: Object, slot: Slot, size: int) -> None:
        """Make ``size`` bytes of the object usable: its slack becomes zero bytes of its own."""
        end = slot.base + (slot.pages << PAGE_SHIFT)
        if item.address + size > end:
            self.open(slot, end)
        self._memory.write(item.address + item.size, bytes(size - item.size))
        item.size = size

    def open(self, slot: Slot, address: int) -> None:
        """Let accesses to the page of ``address`` pass from now on."""
        memory, length = self._memory, slot.pages << PAGE_SHIFT
        memory.map(slot.base, slot.frame, length, READ_WRITE)
        if address >= slot.base + length:
            memory.map(slot.base + length, slot.frame + length, PAGE_SIZE, READ_WRITE)
            slot.guard_open = True
