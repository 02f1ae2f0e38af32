"""Whole pages: mm/page_alloc.c.

A page's struct page is an element of the array at ``vmemmap_base``, as with CONFIG_SPARSEMEM_VMEMMAP; inlined
code computes one from the other. Each page of the array is mapped when it is first accessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib.list import init_list_head, list_entries
from ukmod.kernel.mm.account import RECORD
from ukmod.kernel.mm.gfp import GFP_NOWARN
from ukmod.kernel.x86.unwind import StackTrace, capture
from ukmod.machine.abi import GfpT, Int, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, READ_WRITE, Fault, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

VMEMMAP_START: Final = 0xFFFF_EA00_0000_0000
"""Documentation/x86/x86_64/mm.rst"""
MAX_ORDER: Final = 11
"""The lowest order that cannot be allocated, include/linux/mmzone.h."""
_ORDER_OF_0: Final = 64 - PAGE_SHIFT
"""get_order() of a size of 0, include/asm-generic/getorder.h: more than can be allocated."""
_STRUCT_PAGE: Final = 64
TOO_LARGE: Final = Site("mm/page_alloc.c", 5634, "__alloc_pages")


class Pages:
    """The page allocator and its struct pages."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        types = kernel.types
        self.size = types.sizeof("page") if types.has("page", "_refcount") else _STRUCT_PAGE
        self._refcount = types.offset("page", "_refcount") if types.has("page", "_refcount") else 0x34
        self._mapcount = types.offset("page", "_mapcount") if types.has("page", "_mapcount") else 0x30
        self._end = VMEMMAP_START + (kernel.memory.size >> PAGE_SHIFT) * self.size
        self._live: dict[int, tuple[int, StackTrace]] = {}
        """By physical address of the first frame: the number of frames, and the trace of their allocation."""
        self._own: set[int] = set()
        """The allocations that belong to the kernel itself."""
        for name, value in (
            ("page_offset_base", PAGE_OFFSET),
            ("vmemmap_base", VMEMMAP_START),
            ("phys_base", kernel.image.phys_base if kernel.image is not None else 0),
            ("max_pfn", kernel.memory.size >> PAGE_SHIFT),
            ("high_memory", PAGE_OFFSET + kernel.memory.size),
        ):
            kernel.memory.set_u64(kernel.symbols.add_variable(name, 8), value)
        zero = kernel.symbols.add_variable("empty_zero_page", PAGE_SIZE, align=PAGE_SIZE)
        self._reserve(kernel.memory.translate(zero) & -PAGE_SIZE)

    def populate(self, address: int) -> bool:
        """Map the page of the struct page array that contains ``address``; False if it is outside."""
        page = address & -PAGE_SIZE
        if not VMEMMAP_START <= address < self._end or self._k.memory.prot(page):
            return False
        self._k.memory.map(page, self._k.memory.alloc_frames(1), PAGE_SIZE, READ_WRITE)
        return True

    # -- struct pages ---------------------------------------------------------------------------------

    def page(self, frame: int) -> int:
        """pfn_to_page(): the struct page of the frame at physical address ``frame``."""
        return VMEMMAP_START + (frame >> PAGE_SHIFT) * self.size

    def frame_of(self, page: int) -> int:
        """page_to_phys(). Raises Fault if ``page`` is not a struct page."""
        number, rest = divmod(page - VMEMMAP_START, self.size)
        if rest or not VMEMMAP_START <= page < self._end:
            raise Fault(page)
        return number << PAGE_SHIFT

    # -- allocation -----------------------------------------------------------------------------------

    def _reserve(self, frame: int) -> None:
        """Give a page that is never freed a permanent reference."""
        page = self.page(frame)
        self.populate(page)
        self._k.memory.set_u32(page + self._refcount, 1)

    def alloc(self, count: int, gfp: int = 0) -> int:
        """The physical address of ``count`` zeroed frames in the direct map, or 0 if there are not enough."""
        memory = self._k.memory
        order = (count - 1).bit_length()
        if order >= MAX_ORDER:
            if not gfp & GFP_NOWARN:
                warn_once(self._k, TOO_LARGE)
            return 0
        try:
            frame = memory.alloc_frames(count, PAGE_SIZE << order)
        except LimitError:
            return 0
        memory.charge(RECORD, force=True)
        memory.map_direct(frame, count << PAGE_SHIFT)
        self._live[frame] = (count, capture(self._k))
        page = self.page(frame)
        memory.set_u32(page + self._refcount, 1)
        memory.set_u32(page + self._mapcount, -1)
        return frame

    def free(self, frame: int) -> None:
        """Free the result of ``alloc``; a later access is a page fault. Raises Fault for other addresses."""
        if (found := self._live.pop(frame, None)) is None:
            raise Fault(PAGE_OFFSET + frame, write=True)
        self._own.discard(frame)
        memory = self._k.memory
        memory.charge(-RECORD)
        memory.set_u32(self.page(frame) + self._refcount, 0)
        memory.unmap(PAGE_OFFSET + frame, found[0] << PAGE_SHIFT)
        memory.free_frames(frame, found[0])

    def put(self, page: int) -> None:
        """put_page(): drop a reference; the last one frees the pages."""
        at = page + self._refcount
        count = self._k.memory.u32(at) - 1
        self._k.memory.set_u32(at, count)
        if count == 0:
            self.free(self.frame_of(page))

    def disown(self) -> None:
        """Mark everything allocated so far as the kernel's own."""
        self._own = self._live.keys() | self._own

    def settle(self, settled: Callable[[StackTrace], StackTrace]) -> None:
        """Replace the allocation traces with what ``settled`` returns for them: see ``Slab.settle``."""
        for frame, (count, trace) in self._live.items():
            if frame not in self._own:
                self._live[frame] = count, settled(trace)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """All pages in use, those of the kernel itself included: virtual address and size in bytes."""
        return ((PAGE_OFFSET + at, count << PAGE_SHIFT) for at, (count, _) in self._live.items())

    def live(self) -> list[tuple[int, int, StackTrace]]:
        """The live allocations: virtual address, size in bytes and trace."""
        return [
            (PAGE_OFFSET + at, count << PAGE_SHIFT, trace)
            for at, (count, trace) in self._live.items()
            if at not in self._own
        ]


def page_of(k: Core, physical: int) -> int:
    """The struct page of a physical address."""
    return k.pages.page(physical & -PAGE_SIZE)


def _virtual(frame: int) -> int:
    return PAGE_OFFSET + frame if frame else 0


@export("alloc_pages", "alloc_pages_noprof")
def alloc_pages(k: Core, gfp: GfpT, order: UInt) -> Ptr:
    """struct page *alloc_pages(gfp_t gfp, unsigned int order)."""
    frame = k.pages.alloc(1 << min(order, 63), gfp)
    return k.pages.page(frame) if frame else 0


@export("__alloc_pages", "__folio_alloc", "__alloc_pages_noprof", "__folio_alloc_noprof")
def alloc_pages_node(k: Core, gfp: GfpT, order: UInt, node: Int, nodes: Ptr) -> Ptr:
    """struct page *__alloc_pages(gfp_t gfp, unsigned int order, int preferred_nid, nodemask_t *nodemask)."""
    del node, nodes
    return alloc_pages(k, gfp, order)


@export("folio_alloc", "folio_alloc_noprof")
def folio_alloc(k: Core, gfp: GfpT, order: UInt) -> Ptr:
    """struct folio *folio_alloc(gfp_t gfp, unsigned order)."""
    return alloc_pages(k, gfp, order)


@export("__get_free_pages", "get_free_pages_noprof")
def get_free_pages(k: Core, gfp: GfpT, order: UInt) -> ULong:
    """unsigned long __get_free_pages(gfp_t gfp_mask, unsigned int order)."""
    return _virtual(k.pages.alloc(1 << min(order, 63), gfp))


@export("get_zeroed_page", "get_zeroed_page_noprof")
def get_zeroed_page(k: Core, gfp: GfpT) -> ULong:
    """unsigned long get_zeroed_page(gfp_t gfp_mask)."""
    return _virtual(k.pages.alloc(1, gfp))


@export("alloc_pages_exact", "alloc_pages_exact_noprof")
def alloc_pages_exact(k: Core, size: SizeT, gfp: GfpT) -> Ptr:
    """void *alloc_pages_exact(size_t size, gfp_t gfp_mask)."""
    return _virtual(k.pages.alloc(page_align(size) >> PAGE_SHIFT or 1 << _ORDER_OF_0, gfp))


@export()
def free_pages(k: Core, address: ULong, order: UInt) -> None:
    """void free_pages(unsigned long addr, unsigned int order)."""
    del order
    if address:
        k.pages.put(page_of(k, address - PAGE_OFFSET))


@export()
def free_pages_exact(k: Core, address: Ptr, size: SizeT) -> None:
    """void free_pages_exact(void *virt, size_t size)."""
    if address and size:
        k.pages.put(page_of(k, address - PAGE_OFFSET))


@export("__free_pages")
def free_page_struct(k: Core, page: Ptr, order: UInt) -> None:
    """void __free_pages(struct page *page, unsigned int order)."""
    del order
    k.pages.put(page)


@export("__put_page", "__folio_put")
def put_page_last(k: Core, page: Ptr) -> None:
    """void __folio_put(struct folio *folio): called by inlined code after it dropped the last reference."""
    k.pages.free(k.pages.frame_of(page))


@export()
def put_pages_list(k: Core, pages: Ptr) -> None:
    """void put_pages_list(struct list_head *pages)."""
    memory, lru = k.memory, k.types.offset("page", "lru")
    for entry in list_entries(memory, pages):
        k.pages.put(entry - lru)
    init_list_head(memory, pages)
