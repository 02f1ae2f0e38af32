"""The shadow memory of a kernel with KASAN: a byte for each eight bytes of kernel memory (mm/kasan/shadow.c).

Code of such a kernel, and of modules built for it, looks at the shadow before each access. At the beginning
one page of zeros stands for all of it, as in kasan_early_init(): everything may be accessed. A part of it
becomes memory of its own when it is first written, by the guest or by Python.

Stacks and variables are marked by the code that the compiler makes, slab objects by Python's allocator.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ukmod.machine.memory import NX, PAGE_SHIFT, PAGE_SIZE, PRESENT, READ_ONLY, READ_WRITE, WRITE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.mm.fence import Object
    from ukmod.machine.memory import Memory

OFFSET: Final = 0xDFFF_FC00_0000_0000
"""CONFIG_KASAN_SHADOW_OFFSET of x86-64."""
GRANULE: Final = 8
"""The bytes of memory that a byte of shadow stands for."""
MASK: Final = (1 << 64) - 1
START, END = 0xFFFF_EC00_0000_0000, 0xFFFF_FC00_0000_0000
"""Where the shadow of the kernel's half of the addresses lies: KASAN_SHADOW_START, KASAN_SHADOW_END."""

# Values of shadow bytes, mm/kasan/kasan.h. One below GRANULE is the number of bytes that may be accessed; 0
# says all of them.
SLAB_REDZONE, SLAB_FREE, SLAB_FREETRACK = 0xFC, 0xFB, 0xFA
STACK_LEFT: Final = 0xF1

_LEVELS: Final = (39, 30, 21, PAGE_SHIFT)
_TABLE: Final = PRESENT | WRITE
_ENTRY: Final = struct.Struct("<Q")


def shadow_of(address: int) -> int:
    """kasan_mem_to_shadow(): the address of the byte that stands for the granule of ``address``."""
    return ((address >> 3) + OFFSET) & MASK


class Shadow:
    """The shadow of all kernel memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._zeros = memory.alloc_frames(1)
        """The page that stands for all shadow that nothing has been written to."""
        table = self._table_of(self._zeros | READ_ONLY)
        middle = self._table_of(table | _TABLE)
        self._shared = frozenset((table, middle))
        """The page tables that stand in more than one place."""
        for address in range(START, END, 1 << _LEVELS[0]):
            self._store(
                self._place(memory.kernel_root, address, _LEVELS[0]), self._table_of(middle | _TABLE) | _TABLE
            )
        self._frames: dict[int, int] = {}
        """The physical addresses of the pages that have been written to, by their page numbers."""
        self.reported: set[tuple[str, int]] = set()
        """The kinds of misuse that checks have found, each with the place that it was found at."""

    def _table_of(self, entry: int) -> int:
        """The physical address of a new page table, all of whose entries are the same."""
        frame = self._memory.alloc_frames(1)
        self._memory.view[frame : frame + PAGE_SIZE] = _ENTRY.pack(entry) * (PAGE_SIZE // _ENTRY.size)
        return frame

    @staticmethod
    def _place(table: int, address: int, shift: int) -> int:
        """The physical address of the entry for ``address`` in a page table."""
        return table + _ENTRY.size * (address >> shift & 511)

    def _load(self, place: int) -> int:
        entry: int = _ENTRY.unpack_from(self._memory.view, place)[0]
        return entry

    def _store(self, place: int, entry: int) -> None:
        _ENTRY.pack_into(self._memory.view, place, entry)

    def populate(self, address: int) -> bool:
        """Give a page of the shadow its own memory; False if it has that already, or is no such page."""
        page = address >> PAGE_SHIFT
        if not START <= address < END or page in self._frames:
            return False
        self._own(page)
        return True

    def _own(self, page: int) -> int:
        """The physical address of a page of the shadow that is no longer shared."""
        if frame := self._frames.get(page):
            return frame
        memory, address = self._memory, page << PAGE_SHIFT
        place = self._place(memory.kernel_root, address, _LEVELS[0])
        for shift in _LEVELS[1:]:
            table = self._load(place) & -PAGE_SIZE
            if table in self._shared:
                shared, table = table, memory.alloc_frames(1)
                memory.view[table : table + PAGE_SIZE] = memory.view[shared : shared + PAGE_SIZE]
                self._store(place, table | _TABLE)
            place = self._place(table, address, shift)
        frame = memory.alloc_frames(1)
        self._store(place, frame | READ_WRITE | NX)
        memory.on_unmap()
        self._frames[page] = frame
        return frame

    # -- marking ----------------------------------------------------------------------------------------

    def fill(self, address: int, size: int, value: int) -> None:
        """Set the bytes of all granules in ``size`` bytes at an aligned address."""
        at = shadow_of(address)
        end = at + (size + GRANULE - 1) // GRANULE
        while at < end:
            page, start = divmod(at, PAGE_SIZE)
            count = min(end - at, PAGE_SIZE - start)
            if value or page in self._frames:
                frame = self._own(page) + start
                self._memory.view[frame : frame + count] = bytes((value,)) * count
            at += count

    def allow(self, address: int, size: int) -> None:
        """kasan_unpoison(): allow access to ``size`` bytes at an aligned address."""
        self.fill(address, size - size % GRANULE, 0)
        if rest := size % GRANULE:
            self.fill(address + size - rest, rest, rest)

    def allocated(self, item: Object, room: int) -> None:
        """Mark a new slab object, and what follows it or surrounds it as a red zone.

        ``room``: the bytes of its size class, for one that is packed with others.
        """
        if (slot := item.slot) is None:
            self.fill(item.address, room, SLAB_REDZONE)
        elif slot.pages == 1:
            self.fill(slot.base, (slot.pages + slot.guards) << PAGE_SHIFT, SLAB_REDZONE)
        else:
            return  # its frames may later be anybody's; the fence watches over it
        self.allow(item.address, item.size)

    def freed(self, item: Object) -> None:
        """Mark a slab object that has been freed."""
        if item.slot is None or item.slot.pages == 1:
            self.fill(item.address, item.size, SLAB_FREE)
            self.fill(item.address, GRANULE, SLAB_FREETRACK)

    # -- looking ----------------------------------------------------------------------------------------

    def read(self, address: int, count: int) -> bytes:
        """The bytes that stand for the ``count`` granules from that of ``address`` on."""
        found = bytearray()
        for at in range(start := shadow_of(address), start + count):
            page, offset = divmod(at, PAGE_SIZE)
            found.append(self._memory.view[self._frames[page] + offset] if page in self._frames else 0)
        return bytes(found)

    def first_bad(self, address: int, size: int) -> int:
        """kasan_find_first_bad_addr(): the first address of an access whose granule is not all accessible."""
        if not size:
            return address
        end = min(address + size - 1, MASK)
        first, last = shadow_of(address), shadow_of(end)
        # The pages without a frame are zeros. A size that a guest forges has many of them.
        for page in sorted(self._frames):
            start, stop = max(first, page << PAGE_SHIFT), min(last + 1, (page + 1) << PAGE_SHIFT)
            if start < stop:
                at = self._frames[page] + start % PAGE_SIZE
                bad = bytes(self._memory.view[at : at + stop - start]).lstrip(b"\0")
                if bad:
                    return min(address + GRANULE * (stop - len(bad) - first), end)
        return address


def depth_at(k: Core, task: int) -> int:
    """``&task->kasan_depth``: how often kasan_disable_current() was called; 0 without KASAN."""
    if not k.types.has("task_struct", "kasan_depth"):
        return 0
    return task + k.types.offset("task_struct", "kasan_depth")


def shadow_for(k: Core) -> Shadow | None:
    """The shadow of a kernel whose image was built with KASAN, whose checks are on from now on; or None."""
    image = k.image
    if image is None or image.get("__asan_load8") is None:
        return None
    if depth := depth_at(k, image.address("init_task")):
        k.memory.set_u32(depth, 0)  # as kasan_init() does at its end
    return Shadow(k.memory)
