"""Allocations that are kmalloc()'s or, if they are large, vmalloc()'s: mm/util.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib.limits import INT_MAX
from ukmod.kernel.mm.gfp import GFP_NOWARN, may_sleep
from ukmod.kernel.mm.slab import ZERO_SIZE_PTR
from ukmod.machine.abi import GfpT, Int, Ptr, SizeT
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_CRAZY_SIZE: Final = Site("mm/util.c", 596, "kvmalloc_node", ("__kvmalloc_node",))


@export()
def kvfree(k: Core, address: Ptr) -> None:
    """void kvfree(const void *addr): frees the result of kmalloc() or vmalloc()."""
    if k.vmalloc.contains(address):
        k.vmalloc.free(address)
    else:
        k.slab.kfree(address)


@export()
def kvfree_sensitive(k: Core, address: Ptr, size: SizeT) -> None:
    """void kvfree_sensitive(const void *addr, size_t len)."""
    if address > ZERO_SIZE_PTR:
        k.memory.fill(address, 0, size)
    kvfree(k, address)


@export("kvmalloc_node")
def kvmalloc_node(k: Core, size: SizeT, gfp: GfpT, node: Int) -> Ptr:
    """void *kvmalloc_node(size_t size, gfp_t flags, int node): kmalloc(), or vmalloc() for a large size."""
    del node
    if size <= PAGE_SIZE:
        return k.slab.kmalloc(size, gfp)
    address = k.slab.kmalloc(size, gfp | GFP_NOWARN)
    if address or not may_sleep(gfp):
        return address
    if size > INT_MAX:
        if not gfp & GFP_NOWARN:
            warn_once(k, _CRAZY_SIZE)
        return 0
    return k.vmalloc.alloc(size, gfp)


@export()
def kvrealloc(k: Core, address: Ptr, old: SizeT, size: SizeT, gfp: GfpT) -> Ptr:
    """void *kvrealloc(const void *p, size_t oldsize, size_t newsize, gfp_t flags)."""
    if old >= size:
        return address
    if new := kvmalloc_node(k, size, gfp, -1):
        k.memory.write(new, k.memory.read(address, old) if old else b"")
        kvfree(k, address)
    return new
