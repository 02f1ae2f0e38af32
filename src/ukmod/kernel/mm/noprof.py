"""Allocation functions whose parameters changed when Linux 6.10 and later renamed them to ``*_noprof``.

With CONFIG_SLAB_BUCKETS some of them take a ``kmem_buckets *`` after the size, and since v6.18 an alignment:
the image's types tell where the flags are. Functions that were merely renamed carry both names where they are
defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.mm.gfp import GFP_NOWARN
from ukmod.kernel.mm.slab import ZERO_SIZE_PTR
from ukmod.kernel.mm.util import kvmalloc_node, kvrealloc
from ukmod.machine.abi import CStr, GfpT, Int, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_FLAGS = 1
"""The place of ``flags`` among the parameters if the types do not tell: size, flags, node."""


def _flags(k: Core, function: str, *rest: int) -> int:
    """The gfp_t among the parameters after the size: the low 32 bits of its register."""
    prototype = k.types.prototype(function)
    names = [parameter.name for parameter in prototype.parameters] if prototype is not None else []
    place = names.index("flags") if "flags" in names else _FLAGS
    return rest[place - 1] & 0xFFFF_FFFF


@export("__kmalloc_node_noprof", "__kmalloc_node_track_caller_noprof", adapts=True)
def kmalloc_node_noprof(k: Core, size: SizeT, second: ULong, third: ULong) -> Ptr:
    """void *__kmalloc_node_noprof(size_t size, [kmem_buckets *b,] gfp_t flags, int node)."""
    return k.slab.kmalloc(size, _flags(k, "__kmalloc_node_noprof", second, third))


@export("__kvmalloc_node_noprof", adapts=True)
def kvmalloc_node_noprof(k: Core, size: SizeT, second: ULong, third: ULong, fourth: ULong) -> Ptr:
    """void *__kvmalloc_node_noprof(size_t size, [kmem_buckets *b,] [align,] gfp_t flags, int node)."""
    return kvmalloc_node(k, size, _flags(k, "__kvmalloc_node_noprof", second, third, fourth), -1)


@export("kvrealloc_noprof")
def kvrealloc_noprof(k: Core, address: Ptr, size: SizeT, gfp: GfpT) -> Ptr:
    """void *kvrealloc_noprof(const void *p, size_t size, gfp_t flags): the allocator knows the old size."""
    if k.vmalloc.contains(address):
        return _vrealloc(k, address, size, gfp)
    quiet = gfp | GFP_NOWARN if size > PAGE_SIZE else gfp
    if new := k.slab.krealloc(address, size, quiet):
        return new
    return kvrealloc(k, address, k.slab.ksize(address), size, gfp)


@export("kvrealloc_node_align_noprof")
def kvrealloc_node_align(k: Core, address: Ptr, size: SizeT, align: ULong, gfp: GfpT, node: Int) -> Ptr:
    """void *kvrealloc_node_align_noprof(const void *p, size_t size, align, gfp_t flags, int nid)."""
    del align, node
    return kvrealloc_noprof(k, address, size, gfp)


@export("vrealloc_node_align_noprof")
def vrealloc_node_align(k: Core, address: Ptr, size: SizeT, align: ULong, gfp: GfpT, node: Int) -> Ptr:
    """void *vrealloc_node_align_noprof(const void *p, size_t size, align, gfp_t flags, int nid)."""
    del align, node
    return _vrealloc(k, address, size, gfp) if address else k.vmalloc.alloc(size, gfp)


def _vrealloc(k: Core, address: int, size: int, gfp: int) -> int:
    """vrealloc()."""
    if not size:
        k.vmalloc.free(address)
        return 0
    old = k.vmalloc.size_of(address)
    if size <= old:
        k.memory.fill(address + size, 0, old - size)
        return address
    if new := k.vmalloc.alloc(size, gfp):
        k.memory.write(new, k.memory.read(address, old))
        k.vmalloc.free(address)
    return new


@export()
def kmem_buckets_create(k: Core, name: CStr, flags: UInt, offset: UInt, size: UInt, ctor: Ptr) -> Ptr:
    """kmem_buckets *kmem_buckets_create(name, flags, useroffset, usersize, ctor): no separate buckets.

    Every object has its own pages anyway, so this returns what a kernel without separate buckets returns.
    """
    del k, name, flags, offset, size, ctor
    return ZERO_SIZE_PTR
