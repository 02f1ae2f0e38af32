"""kmalloc() and kfree(): mm/slab_common.c and mm/slub.c.

Every object records who allocated it, and every misuse of an object is detected: see fence.py and kasan.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from errno import ENOMEM
from functools import cache
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.lib.limits import SIZE_MAX
from ukmod.kernel.mm import kasan
from ukmod.kernel.mm.account import RECORD
from ukmod.kernel.mm.fence import Fence, Object, Slot
from ukmod.kernel.mm.gfp import (
    GFP_COMP,
    GFP_DMA32,
    GFP_HIGHMEM,
    GFP_KERNEL,
    described,
)
from ukmod.kernel.mm.packed import Packed
from ukmod.kernel.mm.page_alloc import get_order
from ukmod.kernel.x86.unwind import Frame, StackTrace, capture, frames_of, may_name
from ukmod.machine.abi import GfpT, Int, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import PAGE_SHIFT, PAGE_SIZE, page_align
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module
    from ukmod.kernel.sched.core import Task

ZERO_SIZE_PTR: Final = 16
"""The result of kmalloc(0), include/linux/slab.h."""
KMALLOC_MAX_SIZE: Final = 1 << 22
"""In bytes: 2 ** (MAX_ORDER - 1) pages."""
KMALLOC_MAX_CACHE_SIZE: Final = 8192
"""In bytes: larger objects are whole pages."""
_LARGE: Final = "kmalloc-large"
_MINIMUM_ALIGN: Final = 8
_DOUBLE_FREE: Final = Site("mm/slub.c", 419, "__kmem_cache_free", ("kfree",))
_BUCKETS: Final = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, KMALLOC_MAX_CACHE_SIZE)


@record
class Leak:
    """Objects allocated at one place and not freed."""

    kind: str
    """The name of their cache, or "vmalloc" or "pages"."""
    count: int
    size: int
    """Their total size in bytes."""
    addresses: tuple[int, ...]
    track: kasan.Track
    """The allocation of the first of them."""

    def __str__(self) -> str:
        frame = self.track.where
        where = "the kernel" if frame is None else frame.place()
        objects = f"{self.count} objects" if self.count > 1 else "1 object"
        return f"{objects} of {self.kind}, {self.size} bytes, from {where}"


Allocation = tuple[str, int, int, StackTrace]
"""Kind, address, size in bytes, and the trace of its allocation."""
KERNEL_TRACE: Final = StackTrace(0, "kernel", 0, 0, 0, b"")
"""The trace recorded for allocations that the kernel makes for itself."""


class Slab:
    """All objects in use, of kmalloc() and of every kmem_cache."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.kasan = False
        """Whether to print reports of misuse to the kernel log as well: see kasan.py."""
        self.fence = Fence(kernel.memory)
        self._packed = Packed(kernel.memory)
        self._live: dict[int, Object] = {}
        self._owned: dict[int, Object] = {}
        """The objects that are not the kernel's own: few, compared with those an image has in use."""
        self._kernels_tasks: list[Task] = []
        """The tasks that allocate for the kernel itself: see ``as_kernel``."""
        self._last_freed: dict[str, int] = {}
        """The last object freed, by cache: CONFIG_SLAB_FREELIST_HARDENED itself detects freeing it again."""

    # -- allocation -----------------------------------------------------------------------------------

    def kmalloc(self, size: int, gfp: int = GFP_KERNEL) -> int:
        """The address of ``size`` new bytes; 0 if memory is exhausted or ``size`` exceeds the limit.

        They are zeroed, as with init_on_alloc=1, which is the default of Debian and Ubuntu.
        """
        if size == 0:
            return ZERO_SIZE_PTR
        if size > KMALLOC_MAX_CACHE_SIZE:
            return self.kmalloc_large(size, gfp)
        return self.alloc(size, kmalloc_align(size), bucket(size))

    def kmalloc_large(self, size: int, gfp: int = GFP_KERNEL) -> int:
        """kmalloc_large(): whole pages, for any size."""
        pages = self._k.pages
        if wrong := gfp & (GFP_HIGHMEM | GFP_DMA32):
            gfp &= ~wrong
            bad, good = described(self._k, wrong), described(self._k, gfp)
            self._k.printk(f"Unexpected gfp: {bad}. Fixing up to gfp: {good}. Fix your code!\n")
            self._k.crash.dump_stack()
        gfp |= GFP_COMP
        order = get_order(size)
        if not pages.is_sane(order, gfp):
            return 0
        address = self.alloc(size, kmalloc_align(size), _LARGE)
        if not address:
            pages.warn_alloc(gfp, f"page allocation failure: order:{order}")
        return address

    def kernel_object(self, size: int, *, fenced: bool = True) -> int:
        """A new object that belongs to the kernel itself, so that its caller never leaks it.

        ``fenced=False`` is for objects that come and go with each task: their memory is used again at once.
        Raises LimitError if memory is exhausted.
        """
        address = self.alloc(size, kmalloc_align(size), bucket(size), trace=KERNEL_TRACE, fenced=fenced)
        if not address:
            raise LimitError("the machine's memory is exhausted", errno=ENOMEM)
        return address

    def alloc(
        self,
        size: int,
        align: int,
        cache: str,
        kmem_cache: int = 0,
        trace: StackTrace | None = None,
        *,
        fenced: bool = True,
    ) -> int:
        """A new object of ``size`` zero bytes, or 0 if memory is exhausted.

        ``fenced``: on pages of its own if there are any, so that an access beyond it, or after it was freed,
        is a page fault. Objects of more than a page always are.
        """
        memory = self._k.memory
        try:
            memory.charge(RECORD)
        except LimitError:
            return 0
        large = size > PAGE_SIZE or cache == _LARGE
        slot = self._take(size, cache, large=large) if large or (fenced and not self._is_kernels()) else None
        if slot is not None:
            address = self.fence.place(slot, size, align)
        elif not (address := 0 if large else self._alloc_packed(size, align)):
            memory.charge(-RECORD)
            return 0
        trace = trace or self._capture()
        item = Object(address, size, align, cache, trace, kmem_cache=kmem_cache, slot=slot)
        self._live[address] = item
        if trace is not KERNEL_TRACE:
            self._owned[address] = item
        if slot is not None:
            self.fence.keep(item, slot)
        if (shadow := self._k.shadow) is not None:
            shadow.allocated(item, 0 if slot is not None else self._packed.room(size, align))
        return address

    def _alloc_packed(self, size: int, align: int) -> int:
        try:
            return self._packed.alloc(size, align)
        except LimitError:
            return 0

    def _take(self, size: int, cache: str, *, large: bool) -> Slot | None:
        if not large:
            return self.fence.take()
        pages = page_align(size) >> PAGE_SHIFT
        return self.fence.take_pages(pages, 1 << get_order(size) if cache == _LARGE else pages)

    def kfree(self, address: int) -> None:
        """Free the result of ``kmalloc``; NULL and ZERO_SIZE_PTR are ignored."""
        if address > ZERO_SIZE_PTR:
            self.free(address)

    def free(self, address: int) -> None:
        """Free an object. An address that is no object in use is reported and otherwise ignored."""
        item = self._live.pop(address, None)
        self._owned.pop(address, None)
        if item is None:
            kasan.report_bad_free(self._k, address)
            if self._k.shadow is None and address in self._last_freed.values():
                self._k.crash.bug(_DOUBLE_FREE)
            return
        self._k.memory.charge(-RECORD)
        if damage := self._damage(item):
            kasan.report_damage(self._k, item, damage)
        item.freed = self._capture()
        if self._k.shadow is not None:
            self._k.shadow.freed(item)
        self._last_freed[item.cache] = address
        if item.slot is not None:
            self.fence.retire(item.slot)
        else:
            self._packed.free(item.address, item.size, item.align)

    def _capture(self) -> StackTrace:
        return KERNEL_TRACE if self._is_kernels() else capture(self._k)

    def _is_kernels(self) -> bool:
        """True in a task that allocates for the kernel itself."""
        sched = self._k.sched
        return bool(self._kernels_tasks) and sched.current in self._kernels_tasks and not sched.in_interrupt

    @contextmanager
    def as_kernel(self) -> Iterator[None]:
        """Whatever this task allocates meanwhile belongs to the kernel itself, without a fence.

        It is for work that makes many objects, none of them for a module's code.
        """
        task = self._k.sched.task()
        self._kernels_tasks.append(task)
        try:
            yield
        finally:
            self._kernels_tasks.remove(task)

    def _damage(self, item: Object) -> int:
        if item.slot is not None:
            return self.fence.damage(item, item.slot)
        return self._packed.damage(item.address, item.size, item.align)

    def ksize(self, address: int) -> int:
        """The size of an object in bytes, including slack, which becomes usable; 0 for no object."""
        if not kasan.check_byte(self._k, address) or (item := self._live.get(address)) is None:
            return 0
        self._widen(item, self.room(item))
        return item.size

    def objects(self) -> Iterable[Object]:
        """All objects in use, those of the kernel itself included."""
        return self._live.values()

    def room(self, item: Object) -> int:
        """The size of an object in bytes, including slack."""
        if item.cache == _LARGE:
            return PAGE_SIZE << get_order(item.size)
        if item.kmem_cache:
            return item.size
        if item.slot is None:
            return self._packed.room(item.size, item.align)
        return kmalloc_size_roundup(item.size)

    def _widen(self, item: Object, size: int) -> None:
        """Make ``size`` bytes of an object usable, which its size class has."""
        if size <= item.size:
            return
        if item.slot is not None:
            self.fence.widen(item, item.slot, size)
        else:
            self._k.memory.write(item.address + item.size, bytes(size - item.size))
            item.size = size
        if self._k.shadow is not None:
            self._k.shadow.allow(item.address, size)

    def krealloc(self, address: int, size: int, gfp: int) -> int:
        """krealloc(): an object that still fits its size class stays where it is."""
        memory = self._k.memory
        if size == 0:
            self.kfree(address)
            return ZERO_SIZE_PTR
        if address <= ZERO_SIZE_PTR:
            return self.kmalloc(size, gfp)
        if not kasan.check_byte(self._k, address):
            return 0
        if (item := self._live.get(address)) is None:
            kasan.report_bad_free(self._k, address)
            return 0
        if size <= self.room(item):
            memory.fill(address + size, 0, item.size - size)
            self._widen(item, size)
            return address
        if new := self.kmalloc(size, gfp):
            memory.write(new, memory.read(address, item.size))
            self.kfree(address)
        return new

    def objects_of(self, kmem_cache: int) -> list[Object]:
        """The objects in use of one struct kmem_cache, in order of allocation."""
        return [item for item in self._live.values() if item.kmem_cache == kmem_cache]

    def in_use(self) -> frozenset[int]:
        """The addresses of everything in use, except what is the kernel's own."""
        return frozenset(address for _, address, _, _ in self.allocations())

    def kernels_own(self) -> Counter[str]:
        """The number of the kernel's own objects in use, by cache."""
        return Counter(item.cache for address, item in self._live.items() if address not in self._owned)

    def leaks(self, *, known: Container[int] = ()) -> list[Leak]:
        """Everything in use, by place of allocation, except ``known`` addresses and the kernel's own."""
        return self.by_place(item for item in self.allocations() if item[1] not in known)

    def left_behind(self) -> list[Leak]:
        """Memory that unloaded modules allocated and that has not been freed, by place of allocation."""
        return self.by_place(item for item in self.allocations() if item[3].gone)

    def by_place(self, allocations: Iterable[Allocation]) -> list[Leak]:
        """These allocations, those of a kind together that were made at the same place."""
        tracks: dict[tuple[str, str], kasan.Track] = {}
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for kind, address, size, trace in allocations:
            track = kasan.track_of(self._k, trace)
            site = (kind, str(track.where))
            tracks.setdefault(site, track)
            found.setdefault(site, []).append((address, size))
        return [
            Leak(
                site[0],
                len(objects),
                sum(size for _, size in objects),
                tuple(address for address, _ in objects),
                tracks[site],
            )
            for site, objects in found.items()
        ]

    def disown(self) -> None:
        """Mark everything allocated so far as the kernel's own, so that it is no module's leak."""
        for item in self._owned.values():
            item.allocated = KERNEL_TRACE
        self._owned.clear()
        self._k.vmalloc.disown()
        self._k.pages.disown()

    def settle(self, module: Module, *, gone: bool = False) -> None:
        """Resolve the callers in allocation traces now, because code of ``module`` is about to be freed.

        ``gone``: all of the module's code is freed, not only its init part. Its addresses may later be
        another module's, which would be blamed.
        """
        k = self._k
        code = module.layout.code if gone else module.layout.code[:1]
        known: dict[int, Frame | None] = {}

        def settled(trace: StackTrace) -> StackTrace:
            if trace.gone or not may_name(trace, module, code):
                return trace
            frames = frames_of(k, trace, known)
            owner = next((frame.module for frame in frames if frame.module), "")
            return replace(trace, frames=frames, gone=gone and owner == module.name)

        for item in reversed(self._owned.values()):  # the latest first
            if item.allocated.time < module.since:
                break
            item.allocated = settled(item.allocated)
        k.vmalloc.settle(settled)
        k.pages.settle(settled)

    def allocations(self) -> Iterator[Allocation]:
        """Everything in use, except what is the kernel's own."""
        for item in self._owned.values():
            yield item.cache, item.address, item.size, item.allocated
        for address, size, trace in self._k.vmalloc.live():
            yield "vmalloc", address, size, trace
        for address, size, trace in self._k.pages.live():
            yield "pages", address, size, trace

    def object_at(self, address: int) -> Object | None:
        """The object in use that begins at ``address``, or None."""
        return self._live.get(address)


def kmalloc_align(size: int) -> int:
    """The alignment kmalloc() guarantees: the size itself if it is a power of two, and at least 8 bytes.

    Source: Documentation/core-api/memory-allocation.rst.
    """
    return size if size & size - 1 == 0 and size > _MINIMUM_ALIGN else _MINIMUM_ALIGN


def kmalloc_size_roundup(size: int) -> int:
    """The number of bytes that kmalloc() of ``size`` bytes provides: ksize()."""
    if size in (0, SIZE_MAX):
        return size
    return next((room for room in _BUCKETS if size <= room), PAGE_SIZE << get_order(size))


@cache
def bucket(size: int) -> str:
    """The name of the cache that serves kmalloc() of ``size`` bytes."""
    room = kmalloc_size_roundup(size)
    if room > KMALLOC_MAX_CACHE_SIZE:
        return _LARGE
    return f"kmalloc-{room}" if room < 1024 else f"kmalloc-{room >> 10}k"


@export("__kmalloc", "__kmalloc_noprof")
def kmalloc(k: Core, size: SizeT, gfp: GfpT) -> Ptr:
    """``void *__kmalloc(size_t size, gfp_t flags)``."""
    return k.slab.kmalloc(size, gfp)


@export("kmalloc_large", "__kmalloc_large_noprof", "kmalloc_order", "kmalloc_order_trace")
def kmalloc_large(k: Core, size: SizeT, gfp: GfpT) -> Ptr:
    """``void *kmalloc_large(size_t size, gfp_t flags)``."""
    return k.slab.kmalloc_large(size, gfp)


@export("kmalloc_large_node", "__kmalloc_large_node_noprof")
def kmalloc_large_node(k: Core, size: SizeT, gfp: GfpT, node: Int) -> Ptr:
    """``void *kmalloc_large_node(size_t size, gfp_t flags, int node)``."""
    del node
    return k.slab.kmalloc_large(size, gfp)


@export("__kmalloc_node", "__kmalloc_node_track_caller")
def kmalloc_node(k: Core, size: SizeT, gfp: GfpT, node: Int) -> Ptr:
    """``void *__kmalloc_node(size_t size, gfp_t flags, int node)``."""
    del node
    return k.slab.kmalloc(size, gfp)


@export("__kmalloc_track_caller")
def kmalloc_track_caller(k: Core, size: SizeT, gfp: GfpT, caller: Ptr) -> Ptr:
    """``void *__kmalloc_track_caller(size_t size, gfp_t flags, unsigned long caller)``."""
    del caller
    return k.slab.kmalloc(size, gfp)


@export("_kmalloc_nolock_noprof")
def kmalloc_nolock(k: Core, size: SizeT, gfp: GfpT, node: Int) -> Ptr:
    """``void *_kmalloc_nolock_noprof(size_t size, gfp_t gfp_flags, int node)``: from any context."""
    del node
    return k.slab.kmalloc(size, gfp)


@export("__kmalloc_flags_noprof")
def kmalloc_flags(k: Core, size: SizeT, gfp: GfpT, alloc_flags: UInt, node: Int) -> Ptr:
    """``void *__kmalloc_flags_noprof(size_t size, gfp_t flags, unsigned int alloc_flags, int node)``."""
    del alloc_flags, node
    return k.slab.kmalloc(size, gfp)


@export("kmalloc_trace", "kmem_cache_alloc_trace", "__kmalloc_cache_noprof")
def kmalloc_trace(k: Core, cache: Ptr, gfp: GfpT, size: SizeT) -> Ptr:
    """``void *kmalloc_trace(struct kmem_cache *, gfp_t, size_t)``: kmalloc() of a constant size."""
    del cache
    return k.slab.kmalloc(size, gfp)


@export("kmalloc_node_trace", "kmem_cache_alloc_node_trace", "__kmalloc_cache_node_noprof")
def kmalloc_node_trace(k: Core, cache: Ptr, gfp: GfpT, node: Int, size: SizeT) -> Ptr:
    """``void *kmalloc_node_trace(struct kmem_cache *s, gfp_t flags, int node, size_t size)``."""
    del cache, node
    return k.slab.kmalloc(size, gfp)


@export("kfree_const", image_first=True)
@export("kfree", "kfree_nolock")
def kfree(k: Core, address: Ptr) -> None:
    """``void kfree(const void *object)``."""
    k.slab.kfree(address)


@export()
def kfree_sensitive(k: Core, address: Ptr) -> None:
    """``void kfree_sensitive(const void *p)``: clears the memory first."""
    if size := k.slab.ksize(address):
        k.memory.fill(address, 0, size)
    k.slab.kfree(address)


@export("krealloc", "krealloc_noprof")
def krealloc(k: Core, address: Ptr, size: SizeT, gfp: GfpT) -> Ptr:
    """``void *krealloc(const void *p, size_t new_size, gfp_t flags)``."""
    return k.slab.krealloc(address, size, gfp)


@export("krealloc_node_align_noprof")
def krealloc_node_align(k: Core, address: Ptr, size: SizeT, align: ULong, gfp: GfpT, node: Int) -> Ptr:
    """``void *krealloc_node_align_noprof(const void *p, size_t new_size, align, gfp_t flags, int nid)``."""
    del align, node
    return k.slab.krealloc(address, size, gfp)


@export()
def ksize(k: Core, address: Ptr) -> SizeT:
    """size_t ksize(const void *objp)."""
    return k.slab.ksize(address)


@export("kmalloc_size_roundup", native=True)
def size_roundup(k: Core, size: SizeT) -> SizeT:
    """size_t kmalloc_size_roundup(size_t size)."""
    del k
    return kmalloc_size_roundup(size)
