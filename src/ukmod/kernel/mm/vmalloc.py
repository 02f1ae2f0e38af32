"""Virtually contiguous memory: mm/vmalloc.c.

Each area is followed by a page that is never mapped, and a freed area is unmapped. Running off the end of an
area, or using it after vfree(), is therefore an oops, as on hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_WARNING
from ukmod.kernel.lib.ratelimit import RateLimit
from ukmod.kernel.mm.account import RECORD
from ukmod.kernel.mm.gfp import GFP_DMA32, GFP_KERNEL, GFP_NOWARN, GFP_ZERO
from ukmod.kernel.mm.page_alloc import page_of
from ukmod.kernel.mm.util import kvfree
from ukmod.kernel.oops import hashed
from ukmod.kernel.x86.unwind import StackTrace, capture
from ukmod.machine.abi import Bool, GfpT, Int, Ptr, UInt, ULong
from ukmod.machine.area import MODULES_END, MODULES_VADDR, VMALLOC_START, Area
from ukmod.machine.memory import NX, PAGE_SHIFT, PAGE_SIZE, PRESENT, WRITE, page_align
from ukmod.machine.registers import MASK64
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

VMALLOC_END: Final = 0xFFFF_E900_0000_0000
_STACKS_END: Final = VMALLOC_START + 0x100_0000_0000
"""Task stacks are below this address: see task.py."""
VM_ALLOC, VM_MAP, VM_USERMAP = 0x2, 0x4, 0x8
VM_NO_GUARD: Final = 0x40
VM_MAP_PUT_PAGES: Final = 0x200
"""Flags of a vm_struct and of vmap(), include/linux/vmalloc.h."""
_NO_PAGE: Final = Site("mm/vmalloc.c", 545, "vmap_pages_pte_range")
_BAD_ADDRESS: Final = Site("mm/vmalloc.c", 2752, "__vunmap")
_NO_AREA: Final = Site("mm/vmalloc.c", 2758, "__vunmap")
_NO_GUARD: Final = Site("mm/vmalloc.c", 2913, "vmap")
_NO_SIZE: Final = Site("mm/vmalloc.c", 3227, "__vmalloc_node_range")


@record
class PageMapping:
    """An area that vmap() has made of pages that belong to its caller."""

    size: int
    """In bytes."""
    pages: int
    """The address of the array of struct page pointers that vfree() frees, with the pages, or 0."""


@record
class VmArea:
    """An area of the vmalloc space: its address, its size in bytes, and the flags of its vm_struct."""

    address: int
    size: int
    flags: int


class Vmalloc:
    """The vmalloc space and the allocations in it."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._area = Area(kernel.memory, _STACKS_END, VMALLOC_END - _STACKS_END)
        self._live: dict[int, tuple[int, StackTrace]] = {}
        self._own: set[int] = set()
        """The allocations that belong to the kernel itself."""
        self._for_users: set[int] = set()
        """The allocations that user space may map: those of vmalloc_user()."""
        self._mappings: dict[int, PageMapping] = {}
        self._unmapped: set[int] = set()
        """The allocations that vunmap() has unmapped: their memory can no longer be freed."""
        self._refused = RateLimit(kernel, "__execmem_alloc")
        self.found = 0
        """The struct vmap_area that an image's code gets: see image/internal/vmalloc.py."""
        kernel.memory.set_u64(kernel.symbols.add_variable("vmalloc_base", 8), VMALLOC_START)

    def alloc(self, size: int, gfp: int = GFP_KERNEL) -> int:
        """vzalloc(): the address of ``size`` zero bytes, or 0, and a report, if it cannot have them."""
        k = self._k
        if not (address := self.alloc_in(self._area, size, gfp)):
            return 0
        k.memory.charge(RECORD, force=True)
        self._live[address] = (page_align(size), capture(k))
        return address

    def alloc_in(self, area: Area, size: int, gfp: int) -> int:
        """__vmalloc_node_range(): zero bytes in ``area``, which frees them, or 0, and a report."""
        k = self._k
        if not size:
            warn_once(k, _NO_SIZE)
            return 0
        if size >> PAGE_SHIFT > k.memory.size >> PAGE_SHIFT:
            k.pages.warn_alloc(gfp, f"vmalloc error: size {size}, exceeds total pages")
            return 0
        if not area.has_room(size):
            k.pages.warn_alloc(gfp, f"vmalloc error: size {size}, vm_struct allocation failed")
            return 0
        try:
            return area.alloc(size)
        except LimitError:
            whole = page_align(size)
            k.pages.warn_alloc(gfp, f"vmalloc error: size {whole}, page order 0, failed to allocate pages")
            return 0

    def module_alloc(self, size: int) -> int:
        """module_alloc(), until v6.9: memory for code; 0, and a report, without it."""
        if page_align(size) & MASK64 > MODULES_END - MODULES_VADDR:
            return 0
        return self.alloc_in(self._k.module_area, size, GFP_KERNEL)

    def execmem_alloc(self, size: int) -> int:
        """execmem_alloc(), since v6.10: memory for code; 0, and a report, without it."""
        if not (address := self.alloc_in(self._k.module_area, size, GFP_KERNEL | GFP_NOWARN)):
            self._refused.printk("execmem: unable to allocate memory\n", KERN_WARNING)
        return address

    def alloc_for_users(self, size: int, gfp: int) -> int:
        """vmalloc_user(): memory that remap_vmalloc_range() may map into a process."""
        if address := self.alloc(size, gfp):
            self._for_users.add(address)
        return address

    def free(self, address: int) -> None:
        """vfree(): of what vmap() mapped it frees the pages only if VM_MAP_PUT_PAGES gave them away."""
        if not self._exists(address):
            return
        if mapping := self._mappings.pop(address, None):
            self._release(address, mapping)
            self._put_pages(mapping)
            return
        del self._live[address]
        self._k.memory.charge(-RECORD)
        self._own.discard(address)
        self._for_users.discard(address)
        self._area.free(address)

    def _exists(self, address: int) -> bool:
        """Whether an area begins at ``address``; warns unless it does, or is NULL."""
        k = self._k
        if address & PAGE_SIZE - 1:
            warn(k, _BAD_ADDRESS, f"Trying to vfree() bad address ({hashed(k, address)})\n")
            return False
        exists = address in self._mappings or (address in self._live and address not in self._unmapped)
        if address and not exists:
            warn(k, _NO_AREA, f"Trying to vfree() nonexistent vm area ({hashed(k, address)})\n")
        return exists

    def _release(self, address: int, mapping: PageMapping) -> None:
        self._area.release(address, mapping.size)
        self._k.memory.charge(-RECORD)

    def _put_pages(self, mapping: PageMapping) -> None:
        k = self._k
        if mapping.pages:
            for n in range(mapping.size >> PAGE_SHIFT):
                k.pages.free_pages(k.memory.u64(mapping.pages + 8 * n), 0)
            kvfree(k, mapping.pages)

    def area_of(self, address: int) -> VmArea | None:
        """find_vmap_area(): the area in use that contains an address."""
        mapped = ((start, mapping.size, VM_MAP) for start, mapping in self._mappings.items())
        allocated = ((start, size, VM_ALLOC) for start, size in self.areas())
        for start, size, flags in chain(mapped, allocated):
            if start <= address < start + size:
                return VmArea(start, size, flags | (VM_USERMAP if start in self._for_users else 0))
        return None

    def contains(self, address: int) -> bool:
        """is_vmalloc_addr()."""
        return VMALLOC_START <= address < VMALLOC_END

    def size_of(self, address: int) -> int:
        """The size in bytes, in whole pages, of the area that begins at ``address``; 0 if no area does."""
        return self._live[address][0] if address in self._live else 0

    def disown(self) -> None:
        """Mark everything allocated so far as the kernel's own."""
        self._own = self._live.keys() | self._own

    def settle(self, settled: Callable[[StackTrace], StackTrace]) -> None:
        """Replace the allocation traces with what ``settled`` returns for them: see ``Slab.settle``."""
        for address, (size, trace) in self._live.items():
            if address not in self._own:
                self._live[address] = size, settled(trace)

    def areas(self) -> Iterator[tuple[int, int]]:
        """All areas in use, those of the kernel itself included: address and size in bytes."""
        live = self._live.items()
        return ((address, size) for address, (size, _) in live if address not in self._unmapped)

    def live(self) -> list[tuple[int, int, StackTrace]]:
        """The live allocations: address, size in bytes and trace."""
        return [
            (address, size, trace)
            for address, (size, trace) in self._live.items()
            if address not in self._own
        ]

    def map_pages(self, pages: int, count: int, flags: int, prot: int) -> int:
        """vmap(): map the pages of an array of struct page pointers; returns the first address, or 0."""
        k = self._k
        if flags & VM_NO_GUARD:
            warn_once(k, _NO_GUARD)
        if not 0 < count <= k.memory.size >> PAGE_SHIFT:
            return 0
        mapping = PageMapping(count << PAGE_SHIFT, pages if flags & VM_MAP_PUT_PAGES else 0)
        if not self._area.has_room(mapping.size):
            return 0
        address = self._area.reserve(mapping.size)
        if not self._map_each(address, pages, count, prot & (PRESENT | WRITE) | NX):
            self._area.release(address, mapping.size)
            return 0
        k.memory.charge(RECORD, force=True)
        self._mappings[address] = mapping
        return address

    def _map_each(self, address: int, pages: int, count: int, prot: int) -> bool:
        """vmap_pages_range(): False without a page, or without memory for a page table."""
        k = self._k
        for n in range(count):
            if not (page := k.memory.u64(pages + 8 * n)):
                warn(k, _NO_PAGE)
                return False
            try:
                k.memory.map(address + (n << PAGE_SHIFT), k.pages.frame_of(page), PAGE_SIZE, prot)
            except LimitError:
                return False
        return True

    def unmap_pages(self, address: int) -> None:
        """vunmap(): the memory itself is not freed."""
        if not self._exists(address):
            return
        if mapping := self._mappings.pop(address, None):
            self._release(address, mapping)
        else:
            self._unmapped.add(address)
            self._k.memory.unmap(address, self._live[address][0])


_VMALLOC32: Final = GFP_DMA32 | GFP_KERNEL
"""GFP_VMALLOC32"""


@export("vmalloc", "vmalloc_noprof")
def vmalloc(k: Core, size: ULong) -> Ptr:
    """void *vmalloc(unsigned long size)."""
    return k.vmalloc.alloc(size)


@export("vzalloc", "vzalloc_noprof")
def vzalloc(k: Core, size: ULong) -> Ptr:
    """void *vzalloc(unsigned long size)."""
    return k.vmalloc.alloc(size, GFP_KERNEL | GFP_ZERO)


@export("vmalloc_user", "vmalloc_user_noprof")
def vmalloc_user(k: Core, size: ULong) -> Ptr:
    """void *vmalloc_user(unsigned long size)."""
    return k.vmalloc.alloc_for_users(size, GFP_KERNEL | GFP_ZERO)


@export("vmalloc_32", "vmalloc_32_noprof")
def vmalloc_32(k: Core, size: ULong) -> Ptr:
    """void *vmalloc_32(unsigned long size): memory that 32-bit devices can address."""
    return k.vmalloc.alloc(size, _VMALLOC32)


@export("vmalloc_32_user", "vmalloc_32_user_noprof")
def vmalloc_32_user(k: Core, size: ULong) -> Ptr:
    """void *vmalloc_32_user(unsigned long size)."""
    return k.vmalloc.alloc_for_users(size, _VMALLOC32 | GFP_ZERO)


@export("vmalloc_node", "vmalloc_node_noprof")
def vmalloc_node(k: Core, size: ULong, node: Int) -> Ptr:
    """void *vmalloc_node(unsigned long size, int node)."""
    del node
    return k.vmalloc.alloc(size)


@export("vzalloc_node", "vzalloc_node_noprof")
def vzalloc_node(k: Core, size: ULong, node: Int) -> Ptr:
    """void *vzalloc_node(unsigned long size, int node)."""
    del node
    return k.vmalloc.alloc(size, GFP_KERNEL | GFP_ZERO)


@export("__vmalloc", "vmalloc_huge", "__vmalloc_noprof", "vmalloc_huge_noprof")
def vmalloc_gfp(k: Core, size: ULong, gfp: GfpT) -> Ptr:
    """void *__vmalloc(unsigned long size, gfp_t gfp_mask)."""
    return k.vmalloc.alloc(size, gfp)


@export("vmalloc_huge_node_noprof")
def vmalloc_huge_node(k: Core, size: ULong, gfp: GfpT, node: Int) -> Ptr:
    """void *vmalloc_huge_node_noprof(unsigned long size, gfp_t gfp_mask, int node)."""
    del node
    return k.vmalloc.alloc(size, gfp)


@export("vfree", "vfree_atomic")
def vfree(k: Core, address: Ptr) -> None:
    """void vfree(const void *addr)."""
    k.vmalloc.free(address)


@export(native=True)
def is_vmalloc_addr(k: Core, address: Ptr) -> Bool:
    """bool is_vmalloc_addr(const void *x)."""
    return k.vmalloc.contains(address)


@export()
def is_vmalloc_or_module_addr(k: Core, address: Ptr) -> Int:
    """int is_vmalloc_or_module_addr(const void *x)."""
    return k.vmalloc.contains(address) or MODULES_VADDR <= address < MODULES_END


@export()
def vmalloc_to_page(k: Core, address: Ptr) -> Ptr:
    """struct page *vmalloc_to_page(const void *addr): 0 if the address is not mapped."""
    if not k.memory.prot(address):
        return 0
    page = page_of(k, k.memory.translate(address))
    k.pages.hold(page)
    return page


@export()
def vmalloc_to_pfn(k: Core, address: Ptr) -> ULong:
    """unsigned long vmalloc_to_pfn(const void *addr): that of NULL if the address is not mapped."""
    return k.pages.pfn(vmalloc_to_page(k, address))


@export()
def vmap(k: Core, pages: Ptr, count: UInt, flags: ULong, prot: ULong) -> Ptr:
    """void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)."""
    return k.vmalloc.map_pages(pages, count, flags, prot)


@export()
def vunmap(k: Core, address: Ptr) -> None:
    """void vunmap(const void *addr)."""
    k.vmalloc.unmap_pages(address)
