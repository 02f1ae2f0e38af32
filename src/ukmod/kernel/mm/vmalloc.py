"""Virtually contiguous memory: mm/vmalloc.c.

Each area is followed by a page that is never mapped, and a freed area is unmapped. Running off the end of an
area, or using it after vfree(), is therefore an oops, as on hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn
from ukmod.kernel.export import export
from ukmod.kernel.mm.account import RECORD
from ukmod.kernel.mm.page_alloc import page_of
from ukmod.kernel.oops import hashed
from ukmod.kernel.x86.unwind import StackTrace, capture
from ukmod.machine.abi import Bool, GfpT, Int, Ptr, UInt, ULong
from ukmod.machine.area import VMALLOC_START, Area
from ukmod.machine.memory import PAGE_SHIFT, PAGE_SIZE, READ_WRITE, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

VMALLOC_END: Final = 0xFFFF_E900_0000_0000
_STACKS_END: Final = VMALLOC_START + 0x100_0000_0000
"""Task stacks are below this address: see task.py."""
_MODULES: Final = 0xFFFF_FFFF_C000_0000
_BAD_ADDRESS: Final = Site("mm/vmalloc.c", 2752, "__vunmap")
_NO_AREA: Final = Site("mm/vmalloc.c", 2758, "__vunmap")


class Vmalloc:
    """The vmalloc space and the allocations in it."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._area = Area(kernel.memory, _STACKS_END, VMALLOC_END - _STACKS_END)
        self._live: dict[int, tuple[int, StackTrace]] = {}
        self._own: set[int] = set()
        """The allocations that belong to the kernel itself."""
        self._mappings: dict[int, int] = {}
        """vmap() mappings: number of pages by address."""
        self._next_mapping = VMALLOC_END
        kernel.memory.set_u64(kernel.symbols.add_variable("vmalloc_base", 8), VMALLOC_START)

    def alloc(self, size: int) -> int:
        """vzalloc(): the address of ``size`` zero bytes, or 0 if memory is exhausted."""
        if not 0 < size <= self._k.memory.size:
            return 0
        try:
            address = self._area.alloc(size)
        except LimitError:
            return 0
        self._k.memory.charge(RECORD, force=True)
        self._live[address] = (page_align(size), capture(self._k))
        return address

    def free(self, address: int) -> None:
        """vfree()."""
        if not address:
            return
        k = self._k
        if address & PAGE_SIZE - 1:
            warn(k, _BAD_ADDRESS, f"Trying to vfree() bad address ({hashed(k, address)})\n")
        elif self._live.pop(address, None) is None:
            warn(k, _NO_AREA, f"Trying to vfree() nonexistent vm area ({hashed(k, address)})\n")
        else:
            self._own.discard(address)
            self._k.memory.charge(-RECORD)
            self._area.free(address)

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
        return ((address, size) for address, (size, _) in self._live.items())

    def live(self) -> list[tuple[int, int, StackTrace]]:
        """The live allocations: address, size in bytes and trace."""
        return [
            (address, size, trace)
            for address, (size, trace) in self._live.items()
            if address not in self._own
        ]

    def map_pages(self, frames: list[int]) -> int:
        """vmap(): map these frames at consecutive addresses; returns the first address."""
        size = len(frames) << PAGE_SHIFT
        self._next_mapping -= size + PAGE_SIZE
        address = self._next_mapping
        for n, frame in enumerate(frames):
            self._k.memory.map(address + (n << PAGE_SHIFT), frame, PAGE_SIZE, READ_WRITE)
        self._mappings[address] = len(frames)
        return address

    def unmap_pages(self, address: int) -> None:
        """vunmap(): the frames themselves are not freed."""
        k = self._k
        if not address:
            return
        if (count := self._mappings.pop(address, None)) is None:
            warn(k, _NO_AREA, f"Trying to vfree() nonexistent vm area ({hashed(k, address)})\n")
        else:
            k.memory.unmap(address, count << PAGE_SHIFT)


@export(
    "vmalloc",
    "vzalloc",
    "vmalloc_user",
    "vmalloc_32",
    "vmalloc_32_user",
    "vmalloc_noprof",
    "vzalloc_noprof",
    "vmalloc_user_noprof",
    "vmalloc_32_noprof",
    "vmalloc_32_user_noprof",
)
def vmalloc(k: Core, size: ULong) -> Ptr:
    """void *vmalloc(unsigned long size)."""
    return k.vmalloc.alloc(size)


@export("vmalloc_node", "vzalloc_node", "vmalloc_node_noprof", "vzalloc_node_noprof")
def vmalloc_node(k: Core, size: ULong, node: Int) -> Ptr:
    """void *vmalloc_node(unsigned long size, int node)."""
    del node
    return k.vmalloc.alloc(size)


@export("__vmalloc", "vmalloc_huge", "__vmalloc_noprof", "vmalloc_huge_noprof")
def vmalloc_gfp(k: Core, size: ULong, gfp: GfpT) -> Ptr:
    """void *__vmalloc(unsigned long size, gfp_t gfp_mask)."""
    del gfp
    return k.vmalloc.alloc(size)


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
    return k.vmalloc.contains(address) or address >= _MODULES


@export()
def vmalloc_to_page(k: Core, address: Ptr) -> Ptr:
    """struct page *vmalloc_to_page(const void *addr): 0 if the address is not mapped."""
    return page_of(k, k.memory.translate(address)) if k.memory.prot(address) else 0


@export()
def vmalloc_to_pfn(k: Core, address: Ptr) -> ULong:
    """unsigned long vmalloc_to_pfn(const void *addr)."""
    return k.memory.translate(address) >> PAGE_SHIFT


@export()
def vmap(k: Core, pages: Ptr, count: UInt, flags: ULong, prot: ULong) -> Ptr:
    """void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)."""
    del flags, prot
    if not count:
        return 0
    if count > k.memory.size >> PAGE_SHIFT:
        return 0  # totalram_pages()
    frames = [k.pages.frame_of(k.memory.u64(pages + 8 * n)) for n in range(count)]
    return k.vmalloc.map_pages(frames)


@export()
def vunmap(k: Core, address: Ptr) -> None:
    """void vunmap(const void *addr)."""
    k.vmalloc.unmap_pages(address)
