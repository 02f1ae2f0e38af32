"""Caches, vmalloc and pages, through the functions that modules call."""

from __future__ import annotations

from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core
from ukmod.kernel.mm.page_alloc import VMEMMAP_START
from ukmod.machine.memory import PAGE_OFFSET


def unsigned(value: int) -> int:
    return value & (1 << 64) - 1


def test_objects_of_a_cache_are_constructed(kernel: Core, guest: Guest) -> None:
    made: list[int] = []

    def construct(address: int) -> int:
        made.append(address)
        kernel.memory.set_u32(address, 7)
        return 0

    ctor = guest.python(construct, 1)
    cache = unsigned(guest.call("kmem_cache_create", b"things", 40, 0, 0, ctor))
    item = unsigned(guest.call("kmem_cache_alloc", cache, 0))
    assert made == [item]
    assert kernel.memory.u32(item) == 7
    assert guest.call_int("kmem_cache_size", cache) == 40
    guest.call("kmem_cache_free", cache, item)
    guest.call("kmem_cache_destroy", cache)
    assert not kernel.warnings
    assert not kernel.reports


def test_a_cache_with_objects_is_destroyed_with_a_warning(kernel: Core, guest: Guest) -> None:
    cache = unsigned(guest.call("kmem_cache_create", b"busy", 40, 0, 0, 0))
    guest.call("kmem_cache_alloc", cache, 0)
    guest.call("kmem_cache_destroy", cache)
    assert "Objects remaining in busy on __kmem_cache_shutdown()" in "\n".join(kernel.log.lines)
    assert kernel.warnings[0].message.startswith("kmem_cache_destroy busy: Slab cache still has objects")
    assert kernel.taint.has("B")


def test_an_object_of_another_cache_is_told(kernel: Core, guest: Guest) -> None:
    one, two = (unsigned(guest.call("kmem_cache_create", name, 40, 0, 0, 0)) for name in (b"one", b"two"))
    item = unsigned(guest.call("kmem_cache_alloc", one, 0))
    guest.call("kmem_cache_free", two, item)
    assert kernel.warnings[0].message == "cache_from_obj: Wrong slab cache. two but object is from one"


def test_bulk(kernel: Core, guest: Guest) -> None:
    cache = unsigned(guest.call("kmem_cache_create", b"bulk", 40, 0, 0, 0))
    array = guest.words(*[0] * 4)
    assert guest.call_int("kmem_cache_alloc_bulk", cache, 0, 4, array) == 4
    assert len({kernel.memory.u64(array + 8 * n) for n in range(4)}) == 4
    guest.call("kmem_cache_free_bulk", cache, 4, array)
    assert guest.call_int("kmem_cache_shrink", cache) == 0


def test_vmalloc_ends_with_a_hole(kernel: Core, guest: Guest) -> None:
    address = unsigned(guest.call("vmalloc", 5000))
    assert guest.call("is_vmalloc_addr", address) == 1
    kernel.memory.write(address, b"x" * 8192)
    assert not kernel.memory.prot(address + 8192)
    guest.call("vfree", address)
    assert not kernel.memory.prot(address)
    guest.call("vfree", address)
    assert kernel.warnings[0].message.startswith("Trying to vfree() nonexistent vm area (")


def test_pages_and_their_struct_pages(kernel: Core, guest: Guest) -> None:
    page = unsigned(guest.call("alloc_pages", 0xCC0, 2))
    frame = (page - VMEMMAP_START) // kernel.pages.size << 12
    assert frame % (4 << 12) == 0
    assert kernel.memory.read(PAGE_OFFSET + frame, 4 << 12) == bytes(4 << 12)
    guest.call("__free_pages", page, 2)
    assert not kernel.memory.prot(PAGE_OFFSET + frame)
    address = unsigned(guest.call("__get_free_pages", 0xCC0, 0))
    guest.call("free_pages", address, 0)
    assert not kernel.pages.live()
