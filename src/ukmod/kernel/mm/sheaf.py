"""Sheaves of objects of one cache, allocated before they are needed: mm/slub.c since v6.18.

A sheaf is a struct slab_sheaf in guest memory, as kmem_cache_sheaf_size() of the image reads it. Maple trees
use sheaves for nodes that they must not fail to allocate.
"""

from __future__ import annotations

from errno import ENOMEM
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.mm.kmem_cache import POINTER_SIZE
from ukmod.machine.abi import GfpT, Int, Ptr, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def _fill(k: Core, cache: int, sheaf: int, size: int) -> bool:
    """Allocate objects until the sheaf has ``size`` of them; False if memory is exhausted."""
    layout, memory = Layout(k.types, "slab_sheaf"), k.memory
    for n in range(memory.u32(sheaf + layout.size), size):
        if not (item := k.caches.alloc(cache)):
            return False
        memory.set_u64(sheaf + layout.objects + POINTER_SIZE * n, item)
        memory.set_u32(sheaf + layout.size, n + 1)
    return True


@export()
def kmem_cache_prefill_sheaf(k: Core, cache: Ptr, gfp: GfpT, size: UInt) -> Ptr:
    """struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *s, gfp_t gfp, unsigned int size)."""
    del gfp
    layout = Layout(k.types, "slab_sheaf")
    if not (sheaf := k.slab.kmalloc(layout.objects + POINTER_SIZE * size)):
        return 0
    k.memory.fill(sheaf, 0, layout.objects)
    k.memory.set_u32(sheaf + layout.capacity, size)
    k.memory.set_u64(sheaf + layout.cache, cache)
    if not _fill(k, cache, sheaf, size):
        kmem_cache_return_sheaf(k, cache, 0, sheaf)
        return 0
    return sheaf


@export()
def kmem_cache_refill_sheaf(k: Core, cache: Ptr, gfp: GfpT, pointer: Ptr, size: UInt) -> Int:
    """int kmem_cache_refill_sheaf(struct kmem_cache *, gfp_t gfp, struct slab_sheaf **, unsigned int size).

    A sheaf that is too small for ``size`` objects is replaced.
    """
    layout, sheaf = Layout(k.types, "slab_sheaf"), k.memory.u64(pointer)
    if k.memory.u32(sheaf + layout.capacity) >= size:
        return 0 if _fill(k, cache, sheaf, size) else -ENOMEM
    if not (larger := kmem_cache_prefill_sheaf(k, cache, gfp, size)):
        return -ENOMEM
    kmem_cache_return_sheaf(k, cache, gfp, sheaf)
    k.memory.set_u64(pointer, larger)
    return 0


@export()
def kmem_cache_return_sheaf(k: Core, cache: Ptr, gfp: GfpT, sheaf: Ptr) -> None:
    """void kmem_cache_return_sheaf(struct kmem_cache *s, gfp_t gfp, struct slab_sheaf *sheaf)."""
    del gfp
    layout = Layout(k.types, "slab_sheaf")
    for n in range(k.memory.u32(sheaf + layout.size)):
        k.caches.free(cache, k.memory.u64(sheaf + layout.objects + POINTER_SIZE * n))
    k.slab.kfree(sheaf)


@export("kmem_cache_alloc_from_sheaf_noprof")
def kmem_cache_alloc_from_sheaf(k: Core, cache: Ptr, gfp: GfpT, sheaf: Ptr) -> Ptr:
    """void *kmem_cache_alloc_from_sheaf_noprof(struct kmem_cache *s, gfp_t gfp, struct slab_sheaf *sheaf)."""
    del cache, gfp
    layout = Layout(k.types, "slab_sheaf")
    if not (size := k.memory.u32(sheaf + layout.size)):
        return 0
    k.memory.set_u32(sheaf + layout.size, size - 1)
    return k.memory.u64(sheaf + layout.objects + POINTER_SIZE * (size - 1))
