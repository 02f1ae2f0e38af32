"""Functions of an image for address spaces and pages, whose allocator is in Python."""

from __future__ import annotations

from errno import EBUSY, EIO
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib.list import list_entries
from ukmod.kernel.mm.page_alloc import alloc_pages
from ukmod.kernel.mm.switch import count_pages, mm_of, set_mm, use_mm
from ukmod.machine.abi import GfpT, Int, Long, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_MF_COUNT_INCREASED: Final = 1
_USE_MM: Final = tuple(Site("kernel/kthread.c", 1420 + n, "kthread_use_mm", nth=n, of=2) for n in (0, 1))
_UNUSE_MM: Final = tuple(Site("kernel/kthread.c", 1464 + n, "kthread_unuse_mm", nth=n, of=2) for n in (0, 1))


@export("flush_tlb_mm_range")
def flush_tlb_mm_range(k: Core) -> None:
    """void flush_tlb_mm_range(struct mm_struct *mm, unsigned long start, unsigned long end, ...)."""
    k.cpu.flush_tlb()


@export("lru_add_drain_all", "__lru_add_drain_all")
def lru_add_drain_all(k: Core) -> None:
    """void lru_add_drain_all(void): of the only CPU. No pages wait but those that mlock(2) collects."""
    assert k.image is not None
    k.cpu.call(k.image.address("lru_add_drain"))


@export("switch_mm", "switch_mm_irqs_off")
def switch_mm_irqs_off(k: Core, before: Ptr, after: Ptr, task: Ptr) -> None:
    """void switch_mm_irqs_off(struct mm_struct *prev, struct mm_struct *next, struct task_struct *tsk)."""
    del before, task
    use_mm(k, k.sched.task(), after)


@export()
def enter_lazy_tlb(k: Core, mm: Ptr, task: Ptr) -> None:
    """void enter_lazy_tlb(struct mm_struct *mm, struct task_struct *tsk): it has no mm of its own."""
    del mm
    use_mm(k, k.tasks.at(task), 0)


@export()
def kthread_use_mm(k: Core, mm: Ptr) -> None:
    """void kthread_use_mm(struct mm_struct *mm).

    The image's own would drop a reference to init_mm, which its scheduler would have taken.
    """
    task = k.sched.task()
    for site, is_wrong in zip(_USE_MM, (not task.is_kthread, bool(mm_of(k, task))), strict=True):
        if is_wrong:
            warn_once(k, site)
    count = mm + k.types.offset("mm_struct", "mm_count")
    k.memory.set_u32(count, k.memory.u32(count) + 1)
    set_mm(k, task, mm)


@export()
def kthread_unuse_mm(k: Core, mm: Ptr) -> None:
    """void kthread_unuse_mm(struct mm_struct *mm)."""
    task = k.sched.task()
    for site, is_wrong in zip(_UNUSE_MM, (not task.is_kthread, not mm_of(k, task)), strict=True):
        if is_wrong:
            warn_once(k, site)
    count_pages(k, mm)
    set_mm(k, task, 0)
    count = mm + k.types.offset("mm_struct", "mm_count")
    left = k.memory.u32(count) - 1
    k.memory.set_u32(count, left & 0xFFFF_FFFF)
    if not left and k.image is not None:
        k.cpu.call(k.image.address("__mmdrop"), mm)


@export("memblock_alloc_try_nid", "memblock_alloc_try_nid_raw")
def memblock_alloc(k: Core, size: SizeT) -> Ptr:
    """void *memblock_alloc_try_nid(phys_addr_t size, ...): uses the normal allocator, which is already up."""
    return k.slab.kernel_object(size)


@export("free_frozen_pages", "__free_frozen_pages", "__free_pages_ok")
def free_pages_ok(k: Core, page: Ptr, order: UInt) -> None:
    """void free_frozen_pages(struct page *page, unsigned int order, ...): pages without references."""
    k.pages.free(k.pages.frame_of(page), 1 << order)


@export(adapts=True)
def free_unref_page(k: Core, page: Ptr, order: UInt) -> None:
    """void free_unref_page(struct page *page[, unsigned int order]): one page until v5.13."""
    prototype = k.types.prototype("free_unref_page")
    single = prototype is not None and len(prototype.parameters) == 1
    free_pages_ok(k, page, 0 if single else order)


@export()
def free_unref_page_list(k: Core, head: Ptr) -> None:
    """void free_unref_page_list(struct list_head *list): free pages without references."""
    offset = k.types.offset("page", "lru")
    for entry in list(list_entries(k.memory, head)):
        k.pages.free_folio(entry - offset)
    k.memory.set_u64(head, head)
    k.memory.set_u64(head + 8, head)


@export()
def free_unref_folios(k: Core, batch: Ptr) -> None:
    """void free_unref_folios(struct folio_batch *folios): replaced free_unref_page_list() in v6.10."""
    count = batch + k.types.offset("folio_batch", "nr")
    first = batch + k.types.offset("folio_batch", "folios")
    for n in range(k.memory.read(count, 1)[0]):
        k.pages.free_folio(k.memory.u64(first + 8 * n))
    k.memory.write(count, b"\0")


@export("__ksize")
def ksize(k: Core, address: Ptr) -> SizeT:
    """size_t __ksize(const void *object): struct pages are not marked as the slab allocator's here."""
    return k.slab.ksize(address)


@export("__alloc_pages_bulk", "alloc_pages_bulk_array_mempolicy", "alloc_pages_bulk_noprof",
        "alloc_pages_bulk_array_mempolicy_noprof", "alloc_pages_bulk_mempolicy_noprof")  # fmt: skip
def alloc_pages_bulk(k: Core) -> ULong:
    """unsigned long __alloc_pages_bulk(...): 0 pages, so that callers allocate them singly."""
    del k
    return 0


@export("alloc_contig_range", "alloc_contig_range_noprof")
def alloc_contig_range(k: Core) -> Int:
    """int alloc_contig_range(unsigned long start, unsigned long end, ...): no page is ever migrated."""
    del k
    return -EBUSY


@export()
def validate_slab_cache(k: Core, cache: Ptr) -> Long:
    """long validate_slab_cache(struct kmem_cache *s): the number of damaged objects, which are reported."""
    del cache
    return len(k.reports)


@export("__alloc_frozen_pages_noprof")
def alloc_frozen_pages_node(k: Core, gfp: GfpT, order: UInt, node: Int, nodes: Ptr) -> Ptr:
    """struct page *__alloc_frozen_pages_noprof(gfp_t gfp, unsigned int order, int nid, nodemask_t *)."""
    del node, nodes
    return alloc_frozen_pages(k, gfp, order)


@export("alloc_frozen_pages_noprof")
def alloc_frozen_pages(k: Core, gfp: GfpT, order: UInt) -> Ptr:
    """struct page *alloc_frozen_pages_noprof(gfp_t gfp, unsigned int order): pages without a reference."""
    if page := alloc_pages(k, gfp, order):
        k.pages.freeze(page)
    return page


@export("alloc_frozen_pages_nolock_noprof")
def alloc_frozen_pages_nolock(k: Core, gfp: GfpT, node: Int, order: UInt) -> Ptr:
    """struct page *alloc_frozen_pages_nolock_noprof(gfp_t gfp_flags, int nid, unsigned int order)."""
    del node
    return alloc_frozen_pages(k, gfp, order)


@export("soft_offline_page", "soft_offline_page.part.0")
def soft_offline_page(k: Core, pfn: ULong, flags: Int) -> Int:
    """int soft_offline_page(unsigned long pfn, int flags): -EIO, as of a page that is not online.

    There are no sections of memory, by which the image would look for one.
    """
    if flags & _MF_COUNT_INCREASED:
        k.pages.put(k.pages.page(pfn << PAGE_SHIFT))
    return -EIO
