"""Caches of objects of one size: mm/slab_common.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn
from ukmod.kernel.export import export
from ukmod.kernel.mm.slab import kmalloc_size_roundup
from ukmod.kernel.oops import hashed
from ukmod.machine.abi import CStr, GfpT, Int, Ptr, SizeT, UInt
from ukmod.machine.memory import PAGE_SIZE, Fault
from ukmod.record import mutable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kernel.core import Core
    from ukmod.kernel.mm.fence import Object

SLAB_HWCACHE_ALIGN: Final = 0x2000
SLAB_PANIC: Final = 0x40000
SLAB_TYPESAFE_BY_RCU: Final = 0x80000
"""include/linux/slab.h"""
CACHE_LINE: Final = 64
POINTER_SIZE: Final = 8
_STRUCT_SIZE: Final = 256
"""The size of a struct kmem_cache in bytes if its layout is unknown: modules only pass its address on."""
_NOTHING: Final = range(0)
_CREATES: Final = ("__kmem_cache_create_args",)
_NO_USER_SIZE: Final = Site("mm/slab_common.c", 320, "kmem_cache_create_usercopy", _CREATES, nth=1, of=3)
_BAD_USER_SIZE: Final = Site("mm/slab_common.c", 321, "kmem_cache_create_usercopy", _CREATES, nth=2, of=3)
_STILL_HAS_OBJECTS: Final = Site("mm/slab_common.c", 493, "kmem_cache_destroy")
_WRONG_CACHE: Final = Site("mm/slab.h", 665, "cache_from_obj")
_SLAB_FLAGS: Final = "0xfffffc0000200(slab|node=0|zone=1|lastcpupid=0x1fffff)"
"""The flags of any slab's page on a machine with one node, as %pGp prints them."""
KMALLOC_TYPES: Final = 20
KMALLOC_SHIFT_HIGH: Final = 13
"""The largest power of two with a kmalloc cache is 2 ** 13 bytes, two pages."""
_ODD_CACHES: Final = {1: 96, 2: 192}
"""The sizes at the indices of kmalloc_caches that would be those for 2 and 4 bytes."""


@mutable
class KmemCache:
    """A struct kmem_cache."""

    address: int
    name: str
    size: int
    """The size of an object in bytes."""
    align: int
    flags: int
    ctor: int
    user: range = _NOTHING
    """The offsets within an object that may be copied to and from user space."""


class Caches:
    """The caches that modules have created, and the kmalloc caches."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._caches: dict[int, KmemCache] = {}
        self._export_kmalloc_caches()

    def _export_kmalloc_caches(self) -> None:
        """Fill ``kmalloc_caches[type][shift]``, which inlined kmalloc() of a constant size reads."""
        k, row = self._k, KMALLOC_SHIFT_HIGH + 1
        types = KMALLOC_TYPES
        if k.types.has("kmalloc_cache_type"):
            types = k.types.enum("kmalloc_cache_type").values["NR_KMALLOC_TYPES"]
        array = k.symbols.add_variable("kmalloc_caches", POINTER_SIZE * row * types)
        made: dict[int, int] = {}
        for index in range(row * types):
            shift = index % row
            size = _ODD_CACHES.get(shift, 1 << shift)
            if size not in made:
                made[size] = self._create(f"kmalloc-{size}", size, POINTER_SIZE, 0, 0).address
            k.memory.set_u64(array + POINTER_SIZE * index, made[size])

    def user_range(self, item: Object) -> range:
        """The offsets within an object that may be copied to and from user space: all of kmalloc()'s."""
        if not item.kmem_cache:
            return range(max(item.size, kmalloc_size_roundup(item.size)))
        return self.at(item.kmem_cache).user

    def create(
        self, name: str, size: int, align: int, flags: int, ctor: int, *, user: range = _NOTHING
    ) -> KmemCache:
        """kmem_cache_create_usercopy(): ``user`` are the offsets that user space may be given."""
        if user.start and not user:
            warn(self._k, _NO_USER_SIZE)
        elif user.stop > size:
            warn(self._k, _BAD_USER_SIZE)
            user = _NOTHING
        if flags & SLAB_HWCACHE_ALIGN:
            # No larger than useful: small objects share a cache line, as in calculate_alignment().
            line = CACHE_LINE
            while line > POINTER_SIZE and size <= line // 2:
                line //= 2
            align = max(align, line)
        cache = self._create(name, size, max(align, POINTER_SIZE), flags, ctor)
        cache.user = user
        return cache

    def _create(self, name: str, size: int, align: int, flags: int, ctor: int) -> KmemCache:
        k, types = self._k, self._k.types
        known = types.has("kmem_cache", "object_size")
        length = types.sizeof("kmem_cache") if known else _STRUCT_SIZE
        address = k.slab.alloc(length, POINTER_SIZE, "kmem_cache")
        if known:
            for member, value in (
                ("object_size", size),
                ("size", -(-size // align) * align),
                ("align", align),
            ):
                if types.has("kmem_cache", member):
                    k.memory.set_u32(address + types.offset("kmem_cache", member), value)
        cache = self._caches[address] = KmemCache(address, name, size, align, flags, ctor)
        return cache

    def at(self, address: int) -> KmemCache:
        """The cache whose struct kmem_cache is at ``address``. Raises Fault if there is none."""
        if (cache := self._caches.get(address)) is None:
            raise Fault(address)
        return cache

    def alloc(self, address: int) -> int:
        """kmem_cache_alloc(): a new object, or 0 if memory is exhausted."""
        cache = self.at(address)
        found = self._k.slab.alloc(cache.size, cache.align, cache.name, kmem_cache=address)
        if found and cache.ctor:
            self._k.cpu.call(cache.ctor, found)
        return found

    def free(self, address: int, item: int) -> None:
        """kmem_cache_free()."""
        cache = self.at(address)
        found = self._k.slab.object_at(item)
        if found is not None and found.kmem_cache != address:
            warn(
                self._k,
                _WRONG_CACHE,
                f"cache_from_obj: Wrong slab cache. {cache.name} but object is from {found.cache}\n",
            )
        self._k.slab.free(item)

    def destroy(self, address: int) -> None:
        """kmem_cache_destroy(): objects still in use are reported and remain."""
        k, cache = self._k, self.at(address)
        if k.slab.objects_of(address):
            for line in _remaining(k, cache):
                k.printk(line + "\n", 3)
            k.crash.dump_stack()
            k.crash.bad_page_taint()
            for line in _objects(k, cache):
                k.printk(line + "\n", 3)
            message = f"kmem_cache_destroy {cache.name}: Slab cache still has objects when called from "
            warn(k, _STILL_HAS_OBJECTS, message + k.caller() + "\n")
        del self._caches[address]
        k.slab.free(address)


def _remaining(k: Core, cache: KmemCache) -> Iterator[str]:
    """slab_bug() and slab_err() of mm/slub.c."""
    used = len(k.slab.objects_of(cache.address))
    yield "=" * 77
    # Only the letters, as print_tainted() prints them here.
    yield f"BUG {cache.name} ({k.taint}): Objects remaining in {cache.name} on __kmem_cache_shutdown()"
    yield "-" * 77
    yield ""
    slab, free, count = (
        hashed(k, cache.address),
        hashed(k, cache.address + 1),
        PAGE_SIZE // max(cache.size, 1),
    )
    yield f"Slab 0x{slab} objects={count} used={used} fp=0x{free} flags={_SLAB_FLAGS}"


def _objects(k: Core, cache: KmemCache) -> Iterator[str]:
    for n, item in enumerate(k.slab.objects_of(cache.address)):
        yield f"Object 0x{hashed(k, item.address)} @offset={n * cache.size}"


@export()
def kmem_cache_create(k: Core, name: CStr, size: UInt, align: UInt, flags: UInt, ctor: Ptr) -> Ptr:
    """struct kmem_cache *kmem_cache_create(name, size, align, slab_flags_t flags, void (*ctor)(void *))."""
    return k.caches.create(name.decode("latin-1"), size, align, flags, ctor).address


@export()
def kmem_cache_create_usercopy(
    k: Core, name: CStr, size: UInt, align: UInt, flags: UInt, offset: UInt, length: UInt, ctor: Ptr
) -> Ptr:
    """struct kmem_cache *kmem_cache_create_usercopy(name, size, align, flags, useroffset, usersize, ctor)."""
    return k.caches.create(
        name.decode("latin-1"), size, align, flags, ctor, user=range(offset, offset + length)
    ).address


@export("__kmem_cache_create_args")
def kmem_cache_create_args(k: Core, name: CStr, size: UInt, args: Ptr, flags: UInt) -> Ptr:
    """struct kmem_cache *__kmem_cache_create_args(name, object_size, struct kmem_cache_args *args, flags)."""

    def member(name: str) -> int:
        found = k.types.member("kmem_cache_args", name)
        return k.memory.uint(args + found.offset, found.size)

    return kmem_cache_create_usercopy(
        k, name, size, member("align"), flags, member("useroffset"), member("usersize"), member("ctor")
    )


@export("kmem_cache_alloc", "kmem_cache_alloc_noprof")
def kmem_cache_alloc(k: Core, cache: Ptr, gfp: GfpT) -> Ptr:
    """void *kmem_cache_alloc(struct kmem_cache *s, gfp_t flags)."""
    del gfp
    return k.caches.alloc(cache)


@export("kmem_cache_alloc_lru", "kmem_cache_alloc_lru_noprof")
def kmem_cache_alloc_lru(k: Core, cache: Ptr, lru: Ptr, gfp: GfpT) -> Ptr:
    """void *kmem_cache_alloc_lru(struct kmem_cache *s, struct list_lru *lru, gfp_t flags)."""
    del lru, gfp
    return k.caches.alloc(cache)


@export("kmem_cache_alloc_node", "kmem_cache_alloc_node_noprof")
def kmem_cache_alloc_node(k: Core, cache: Ptr, gfp: GfpT, node: Int) -> Ptr:
    """void *kmem_cache_alloc_node(struct kmem_cache *s, gfp_t flags, int node)."""
    del gfp, node
    return k.caches.alloc(cache)


@export("kmem_cache_alloc_bulk", "kmem_cache_alloc_bulk_noprof")
def kmem_cache_alloc_bulk(k: Core, cache: Ptr, gfp: GfpT, count: SizeT, array: Ptr) -> Int:
    """int kmem_cache_alloc_bulk(struct kmem_cache *s, gfp_t flags, size_t size, void **p): all or 0.

    A bool since v7.0.
    """
    del gfp
    made: list[int] = []
    while len(made) < count:
        if not (address := k.caches.alloc(cache)):
            for done in made:
                k.caches.free(cache, done)
            return 0
        made.append(address)
        k.memory.set_u64(array + POINTER_SIZE * (len(made) - 1), address)
    prototype = k.types.prototype("kmem_cache_alloc_bulk_noprof")
    succeeded_only = prototype is not None and prototype.returns.size == 1
    return 1 if succeeded_only else count


@export()
def kmem_cache_free(k: Core, cache: Ptr, address: Ptr) -> None:
    """void kmem_cache_free(struct kmem_cache *s, void *x)."""
    k.caches.free(cache, address)


@export()
def kmem_cache_free_bulk(k: Core, cache: Ptr, count: SizeT, array: Ptr) -> None:
    """void kmem_cache_free_bulk(struct kmem_cache *s, size_t size, void **p); NULL for kmalloc()."""
    for n in range(count):
        address = k.memory.u64(array + POINTER_SIZE * n)
        if cache:
            k.caches.free(cache, address)
        else:
            k.slab.kfree(address)


@export()
def kmem_cache_destroy(k: Core, cache: Ptr) -> None:
    """void kmem_cache_destroy(struct kmem_cache *s)."""
    if cache:
        k.caches.destroy(cache)


@export()
def kmem_cache_shrink(k: Core, cache: Ptr) -> Int:
    """int kmem_cache_shrink(struct kmem_cache *s): 0 if no slab remains."""
    return int(bool(k.slab.objects_of(k.caches.at(cache).address)))


@export()
def kmem_cache_size(k: Core, cache: Ptr) -> UInt:
    """unsigned int kmem_cache_size(struct kmem_cache *s)."""
    return k.caches.at(cache).size
