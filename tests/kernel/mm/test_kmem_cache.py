"""Caches of objects of one size: mm/slab_common.c."""

from __future__ import annotations

from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core


def test_objects_of_a_cache_are_constructed(kernel: Core, guest: Guest) -> None:
    made: list[int] = []

    def construct(address: int) -> int:
        made.append(address)
        kernel.memory.set_u32(address, 7)
        return 0

    ctor = guest.python(construct, 1)
    cache = guest.pointer("kmem_cache_create", b"things", 40, 0, 0, ctor)
    item = guest.pointer("kmem_cache_alloc", cache, 0)
    assert made == [item]
    assert kernel.memory.u32(item) == 7
    assert guest.call_int("kmem_cache_size", cache) == 40
    guest.call("kmem_cache_free", cache, item)
    guest.call("kmem_cache_destroy", cache)
    assert not kernel.warnings
    assert not kernel.reports


def test_a_cache_with_objects_is_destroyed_with_a_warning(kernel: Core, guest: Guest) -> None:
    cache = guest.pointer("kmem_cache_create", b"busy", 40, 0, 0, 0)
    guest.call("kmem_cache_alloc", cache, 0)
    guest.call("kmem_cache_destroy", cache)
    assert "Objects remaining in busy on __kmem_cache_shutdown()" in "\n".join(kernel.log.lines)
    assert kernel.warnings[0].message.startswith("kmem_cache_destroy busy: Slab cache still has objects")
    assert kernel.taint.has("B")


def test_an_object_of_another_cache_is_told(kernel: Core, guest: Guest) -> None:
    one, two = (guest.pointer("kmem_cache_create", name, 40, 0, 0, 0) for name in (b"one", b"two"))
    item = guest.pointer("kmem_cache_alloc", one, 0)
    guest.call("kmem_cache_free", two, item)
    assert kernel.warnings[0].message == "cache_from_obj: Wrong slab cache. two but object is from one"


def test_bulk(kernel: Core, guest: Guest) -> None:
    cache = guest.pointer("kmem_cache_create", b"bulk", 40, 0, 0, 0)
    array = guest.words(*[0] * 4)
    assert guest.call_int("kmem_cache_alloc_bulk", cache, 0, 4, array) == 4
    assert len({kernel.memory.u64(array + 8 * n) for n in range(4)}) == 4
    guest.call("kmem_cache_free_bulk", cache, 4, array)
    assert guest.call_int("kmem_cache_shrink", cache) == 0
