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
from ukmod.kernel.lib.ratelimit import RateLimit
from ukmod.kernel.mm import kasan
from ukmod.kernel.mm.account import RECORD
from ukmod.kernel.mm.gfp import GFP_COMP, GFP_HIGHMEM, GFP_KERNEL, GFP_NOWARN, GFP_ZERO, described
from ukmod.kernel.x86.unwind import StackTrace, capture
from ukmod.machine.abi import GfpT, Int, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, READ_WRITE, Fault, page_align
from ukmod.machine.registers import MASK64
from ukmod.record import field, mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

VMEMMAP_START: Final = 0xFFFF_EA00_0000_0000
"""Documentation/x86/x86_64/mm.rst"""
MAX_ORDER: Final = 11
"""The lowest order that cannot be allocated, include/linux/mmzone.h."""
_STRUCT_PAGE: Final = 64
_PG_HEAD: Final = 16
"""enum pageflags of v6.1, for modules that have no such enum."""
_COMPOUND_HEAD: Final = 8
"""The offset of struct page's compound_head."""
_COMPOUND_PAGE_DTOR: Final = 1
"""enum compound_dtor_id."""
_ANYWHERE: Final = "nodemask=(null),cpuset=/,mems_allowed=0"
_EXACT_FLAGS: Final = Site("mm/page_alloc.c", 5930, "alloc_pages_exact")
TOO_LARGE: Final = Site("mm/page_alloc.c", 5634, "__alloc_pages", ("__alloc_frozen_pages",))


@mutable
class PageBlock:
    """Frames that were allocated together, and may be freed one by one."""

    frame: int
    """The physical address of the first."""
    count: int
    trace: StackTrace
    freed: set[int] = field(default_factory=set)
    """The physical addresses of those that have been freed."""

    def frames(self, frame: int, count: int) -> range:
        """The physical addresses of ``count`` frames from ``frame`` on, as far as the block has them."""
        end = min(frame + (count << PAGE_SHIFT), self.frame + (self.count << PAGE_SHIFT))
        return range(frame, end, PAGE_SIZE)


class Pages:
    """The page allocator and its struct pages."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        types = kernel.types
        self.size = types.sizeof("page") if types.has("page", "_refcount") else _STRUCT_PAGE
        self._refcount = types.offset("page", "_refcount") if types.has("page", "_refcount") else 0x34
        self._mapcount = types.offset("page", "_mapcount") if types.has("page", "_mapcount") else 0x30
        self._head = 1 << (types.enum("pageflags").values["PG_head"] if types.has("pageflags") else _PG_HEAD)
        self._end = VMEMMAP_START + (kernel.memory.size >> PAGE_SHIFT) * self.size
        self._blocks: dict[int, PageBlock] = {}
        """By physical address of the first frame."""
        self._own: set[int] = set()
        """The blocks that belong to the kernel itself."""
        self._failures = RateLimit(kernel, "warn_alloc", interval=10, burst=1)
        for name, value in (
            ("page_offset_base", PAGE_OFFSET),
            ("vmemmap_base", VMEMMAP_START),
            ("phys_base", kernel.image.phys_base if kernel.image is not None else 0),
            ("max_pfn", kernel.memory.size >> PAGE_SHIFT),
            ("high_memory", PAGE_OFFSET + kernel.memory.size),
            ("__default_kernel_pte_mask", MASK64),  # of PAGE_KERNEL; no memory is encrypted
            ("sme_me_mask", 0),
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

    def pfn(self, page: int) -> int:
        """page_to_pfn(), of any number, as C computes it."""
        return (page - VMEMMAP_START) // self.size & MASK64

    def frame_of(self, page: int) -> int:
        """page_to_phys(). Raises Fault if ``page`` is not a struct page."""
        number, rest = divmod(page - VMEMMAP_START, self.size)
        if rest or not VMEMMAP_START <= page < self._end:
            raise Fault(page)
        return number << PAGE_SHIFT

    def compound_head(self, page: int) -> int:
        """compound_head(): the first struct page of the compound page that ``page`` belongs to, or itself."""
        at = self._k.memory.u64(page + _COMPOUND_HEAD)
        return at - 1 if at & 1 else page

    def is_head(self, page: int) -> bool:
        """PageHead(): True for the first page of a compound page."""
        return bool(self._k.memory.u64(page) & self._head)

    def _reserve(self, frame: int) -> None:
        """Give a page that is never freed a permanent reference."""
        page = self.page(frame)
        self.populate(page)
        self._k.memory.set_u32(page + self._refcount, 1)

    def _prepare(self, frame: int, count: int, gfp: int) -> None:
        """The struct pages of a new block: prep_new_page()."""
        memory, first = self._k.memory, self.page(frame)
        for page in range(first, first + count * self.size, self.size):
            memory.set_u32(page + self._mapcount, -1)
        memory.set_u32(first + self._refcount, 1)
        if gfp & GFP_COMP and count > 1:
            memory.set_u64(first, memory.u64(first) | self._head)
            for page in range(first + self.size, first + count * self.size, self.size):
                memory.set_u64(page + _COMPOUND_HEAD, first + 1)
            self._set_order(first, (count - 1).bit_length())

    def _set_order(self, head: int, order: int) -> None:
        """prep_compound_head(): members of the first two struct pages, by their names since v6.1."""
        memory, types, second = self._k.memory, self._k.types, head + self.size
        if not types.has("page", "compound_order") and not types.has("folio", "_folio_order"):
            memory.set_u8(second, order)  # the lowest byte of folio->_flags_1, since v6.6
        for struct, member, value in (
            ("page", "compound_dtor", _COMPOUND_PAGE_DTOR),
            ("page", "compound_order", order),
            ("page", "compound_mapcount", -1),
            ("page", "compound_nr", 1 << order),
            ("folio", "_folio_dtor", _COMPOUND_PAGE_DTOR),
            ("folio", "_folio_order", order),
            ("folio", "_entire_mapcount", -1),
            ("folio", "_large_mapcount", -1),
            ("folio", "_folio_nr_pages", 1 << order),
        ):
            if types.has(struct, member):
                at = (head if struct == "folio" else second) + types.offset(struct, member)
                memory.set_uint(at, value, types.member(struct, member).size)

    # -- allocation -----------------------------------------------------------------------------------

    def alloc(self, order: int, gfp: int = GFP_KERNEL) -> int:
        """The physical address of 2 ** ``order`` zeroed frames in the direct map, or 0 if there are none."""
        return self._alloc(1 << order, gfp) if self.is_sane(order, gfp) else 0

    def alloc_exact(self, size: int, gfp: int) -> int:
        """alloc_pages_exact(): enough frames for ``size`` bytes, each with a reference of its own, or 0."""
        if gfp & (GFP_COMP | GFP_HIGHMEM):
            warn_once(self._k, _EXACT_FLAGS)
            gfp &= ~(GFP_COMP | GFP_HIGHMEM)
        count = page_align(size) >> PAGE_SHIFT
        frame = self._alloc(count, gfp) if self.is_sane(get_order(size), gfp) else 0
        if frame:
            first = self.page(frame)
            for page in range(first, first + count * self.size, self.size):
                self._k.memory.set_u32(page + self._refcount, 1)
        return frame

    def is_sane(self, order: int, gfp: int) -> bool:
        """Whether so many pages can be asked for; warns, unless ``gfp`` forbids it, if they cannot."""
        if order >= MAX_ORDER and not gfp & GFP_NOWARN:
            warn_once(self._k, TOO_LARGE)
        return order < MAX_ORDER

    def _alloc(self, count: int, gfp: int) -> int:
        memory, order = self._k.memory, (count - 1).bit_length()
        try:
            frame = memory.alloc_frames(count, PAGE_SIZE << order)
        except LimitError:
            self.warn_alloc(gfp, f"page allocation failure: order:{order}")
            return 0
        memory.charge(RECORD, force=True)
        memory.map_direct(frame, count << PAGE_SHIFT)
        self._blocks[frame] = PageBlock(frame, count, capture(self._k))
        self._prepare(frame, count, gfp)
        return frame

    def warn_alloc(self, gfp: int, message: str) -> None:
        """warn_alloc(): report an allocation that failed, unless ``gfp`` forbids it; once in ten seconds.

        show_mem()'s tables of the machine's memory are left out.
        """
        k = self._k
        if gfp & GFP_NOWARN or not self._failures.allow():
            return
        k.printk(f"{k.log.caller().comm}: {message}, mode:{described(k, gfp)}, {_ANYWHERE}\n")
        k.crash.dump_stack()

    def _block_of(self, frame: int) -> PageBlock | None:
        """The block that a frame belongs to. Blocks are aligned to their size, rounded up to an order."""
        for order in range(MAX_ORDER):
            block = self._blocks.get(frame & -(PAGE_SIZE << order))
            if block is not None and frame in block.frames(block.frame, block.count):
                return block
        return None

    def free(self, frame: int, count: int | None = None) -> None:
        """Free ``count`` frames, or all of their block; a later access is a page fault.

        Frames that are not allocated are reported as misuse.
        """
        block = self._block_of(frame)
        frames = block.frames(frame, block.count if count is None else count) if block else range(0)
        if block is None or block.freed.intersection(frames):
            kasan.report_bad_free(self._k, PAGE_OFFSET + frame)
            return
        memory = self._k.memory
        memory.fill(self.page(frame), 0, len(frames) * self.size)
        memory.unmap(PAGE_OFFSET + frame, len(frames) << PAGE_SHIFT)
        block.freed.update(frames)
        if len(block.freed) == block.count:
            del self._blocks[block.frame]
            self._own.discard(block.frame)
            memory.charge(-RECORD)
            memory.free_frames(block.frame, block.count)

    def put_testzero(self, page: int) -> bool:
        """put_page_testzero(): drop a reference; True if it was the last one."""
        at = page + self._refcount
        count = self._k.memory.u32(at) - 1
        self._k.memory.set_u32(at, count)
        return not count

    def hold(self, page: int) -> None:
        """Give a page in use, which was not handed out as one, its owner's reference. No one maps it."""
        memory, at = self._k.memory, page + self._refcount
        if not memory.u32(at):
            memory.set_u32(at, 1)
            memory.set_u32(page + self._mapcount, -1)

    def freeze(self, page: int) -> None:
        """set_page_count(page, 0): the caller owns the pages without a reference."""
        self._k.memory.set_u32(page + self._refcount, 0)

    def free_pages(self, page: int, order: int) -> None:
        """__free_pages(): drop a reference to 2 ** ``order`` pages, and free them if it was the last one.

        If it was not, only the first page is still somebody's, unless the pages are one compound page.
        """
        frame, head = self.frame_of(page), self.is_head(page)
        if not self._k.memory.u32(page + self._refcount):
            kasan.report_bad_free(self._k, PAGE_OFFSET + frame)
        elif self.put_testzero(page):
            self.free(frame, 1 << order)
        elif not head:
            for smaller in reversed(range(order)):
                self.free(frame + (PAGE_SIZE << smaller), 1 << smaller)

    def put(self, page: int) -> None:
        """put_page(): drop a reference to a page, or to the compound page that it is a part of."""
        head = self.compound_head(page)
        if self.put_testzero(head):
            self.free_folio(head)

    def free_folio(self, page: int) -> None:
        """Free a page without references, or a whole compound page."""
        self.free(self.frame_of(page), None if self.is_head(page) else 1)

    def disown(self) -> None:
        """Mark everything allocated so far as the kernel's own."""
        self._own = self._blocks.keys() | self._own

    def settle(self, settled: Callable[[StackTrace], StackTrace]) -> None:
        """Replace the allocation traces with what ``settled`` returns for them: see ``Slab.settle``."""
        for frame, block in self._blocks.items():
            if frame not in self._own:
                block.trace = settled(block.trace)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """All pages in use, those of the kernel itself included: virtual address and size in bytes."""
        for block in self._blocks.values():
            if block.freed:
                frames = block.frames(block.frame, block.count)
                yield from ((PAGE_OFFSET + at, PAGE_SIZE) for at in frames if at not in block.freed)
            else:
                yield PAGE_OFFSET + block.frame, block.count << PAGE_SHIFT

    def live(self) -> list[tuple[int, int, StackTrace]]:
        """The live allocations: virtual address, size in bytes and trace."""
        return [
            (PAGE_OFFSET + at, block.count - len(block.freed) << PAGE_SHIFT, block.trace)
            for at, block in self._blocks.items()
            if at not in self._own
        ]


def get_order(size: int) -> int:
    """get_order(): the order of the pages that ``size`` bytes need; the largest order of all for 0 bytes."""
    return (((size - 1) & MASK64) >> PAGE_SHIFT).bit_length()


def page_of(k: Core, physical: int) -> int:
    """The struct page of a physical address."""
    return k.pages.page(physical & -PAGE_SIZE)


def _virtual(frame: int) -> int:
    return PAGE_OFFSET + frame if frame else 0


@export("alloc_pages", "alloc_pages_noprof", "alloc_pages_current")
def alloc_pages(k: Core, gfp: GfpT, order: UInt) -> Ptr:
    """struct page *alloc_pages(gfp_t gfp, unsigned int order)."""
    frame = k.pages.alloc(order, gfp)
    return k.pages.page(frame) if frame else 0


@export("__alloc_pages", "__alloc_pages_noprof", "__alloc_pages_nodemask")
def alloc_pages_node(k: Core, gfp: GfpT, order: UInt, node: Int, nodes: Ptr) -> Ptr:
    """struct page *__alloc_pages(gfp_t gfp, unsigned int order, int preferred_nid, nodemask_t *nodemask)."""
    del node, nodes
    return alloc_pages(k, gfp, order)


@export("alloc_pages_nolock_noprof", adapts=True)
def alloc_pages_nolock(k: Core, first: ULong, second: ULong, third: ULong) -> Ptr:
    """struct page *alloc_pages_nolock_noprof([gfp_t gfp_flags,] int nid, unsigned int order): zeroed."""
    prototype = k.types.prototype("alloc_pages_nolock_noprof")
    has_flags = prototype is None or len(prototype.parameters) > 2
    gfp, order = (first, third) if has_flags else (0, second)
    return alloc_pages(k, gfp & 0xFFFF_FFFF | GFP_ZERO | GFP_NOWARN, order & 0xFFFF_FFFF)


@export("__folio_alloc", "__folio_alloc_noprof")
def folio_alloc_node(k: Core, gfp: GfpT, order: UInt, node: Int, nodes: Ptr) -> Ptr:
    """struct folio *__folio_alloc(gfp_t gfp, unsigned int order, int preferred_nid, nodemask_t *nodemask)."""
    del node, nodes
    return alloc_pages(k, gfp | GFP_COMP, order)


@export("folio_alloc", "folio_alloc_noprof")
def folio_alloc(k: Core, gfp: GfpT, order: UInt) -> Ptr:
    """struct folio *folio_alloc(gfp_t gfp, unsigned order): a compound page."""
    return alloc_pages(k, gfp | GFP_COMP, order)


@export("__get_free_pages", "get_free_pages_noprof")
def get_free_pages(k: Core, gfp: GfpT, order: UInt) -> ULong:
    """unsigned long __get_free_pages(gfp_t gfp_mask, unsigned int order)."""
    return _virtual(k.pages.alloc(order, gfp))


@export("get_zeroed_page", "get_zeroed_page_noprof")
def get_zeroed_page(k: Core, gfp: GfpT) -> ULong:
    """unsigned long get_zeroed_page(gfp_t gfp_mask)."""
    return _virtual(k.pages.alloc(0, gfp))


@export("alloc_pages_exact", "alloc_pages_exact_noprof")
def alloc_pages_exact(k: Core, size: SizeT, gfp: GfpT) -> Ptr:
    """void *alloc_pages_exact(size_t size, gfp_t gfp_mask)."""
    return _virtual(k.pages.alloc_exact(size, gfp))


@export()
def free_pages(k: Core, address: ULong, order: UInt) -> None:
    """void free_pages(unsigned long addr, unsigned int order)."""
    if address:
        k.pages.free_pages(page_of(k, address - PAGE_OFFSET), order)


@export()
def free_pages_exact(k: Core, address: Ptr, size: SizeT) -> None:
    """void free_pages_exact(void *virt, size_t size)."""
    for at in range(address, address + page_align(size), PAGE_SIZE):
        free_pages(k, at, 0)


@export("__free_pages", "___free_pages", "free_pages_nolock")
def free_page_struct(k: Core, page: Ptr, order: UInt) -> None:
    """void __free_pages(struct page *page, unsigned int order)."""
    k.pages.free_pages(page, order)


@export("__put_page", "__folio_put", native=True)
def put_page_last(k: Core, page: Ptr) -> None:
    """void __folio_put(struct folio *folio): called by inlined code after it dropped the last reference.

    An image's own also takes a page of a process off its LRU list.
    """
    k.pages.free_folio(page)


@export()
def put_pages_list(k: Core, pages: Ptr) -> None:
    """void put_pages_list(struct list_head *pages): drop a reference to each; the list is empty then."""
    memory, lru = k.memory, k.types.offset("page", "lru")
    for entry in list_entries(memory, pages):
        k.pages.put(entry - lru)
    init_list_head(memory, pages)


@export("nr_free_buffer_pages")
def nr_free_buffer_pages(k: Core) -> ULong:
    """unsigned long nr_free_buffer_pages(void): all of RAM, of which the zones of an image know nothing."""
    return k.memory.size >> PAGE_SHIFT
