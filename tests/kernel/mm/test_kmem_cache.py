"""Caches of objects of one size: mm/slab_common.c."""

from __future__ import annotations

import struct

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.machine.btfwriter import BtfWriter

from ukmod.kernel.core import Core
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.machine.types import Btf, Types, TypeSource


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


ALLOCATORS = {
    "kmem_cache_alloc": (GFP_KERNEL,),
    "kmem_cache_alloc_lru": (0, GFP_KERNEL),
    "kmem_cache_alloc_node": (GFP_KERNEL, -1),
}
"""What each takes behind the cache."""


@pytest.mark.parametrize("suffix", ["", "_noprof"])
@pytest.mark.parametrize("function", ALLOCATORS)
def test_each_allocator_gives_objects_of_the_cache(
    kernel: Core, guest: Guest, function: str, suffix: str
) -> None:
    cache = guest.pointer("kmem_cache_create", b"things", 40, 64, 0, 0)
    item = guest.pointer(function + suffix, cache, *ALLOCATORS[function])
    assert item % 64 == 0
    assert kernel.memory.read(item, 40) == bytes(40)
    found = kernel.slab.object_at(item)
    assert found is not None
    assert (found.size, found.kmem_cache) == (40, cache)


@pytest.mark.parametrize("function", ["kmem_cache_alloc_bulk", "kmem_cache_alloc_bulk_noprof"])
def test_a_bulk_that_cannot_be_whole_is_nothing(kernel: Core, guest: Guest, function: str) -> None:
    cache = guest.pointer("kmem_cache_create", b"pages", 5000, 0, 0, 0)
    array = guest.words(*[0] * 8)
    assert guest.call_int(function, cache, GFP_KERNEL, 0, array) == 0
    assert guest.call_int(function, cache, GFP_KERNEL, 8, array) == 8
    kernel.memory.alloc_frames(kernel.memory.frames_left() - 30)
    assert guest.call_int(function, cache, GFP_KERNEL, 8, array) == 0
    assert len(kernel.slab.objects_of(cache)) == 8


@pytest.mark.parametrize(
    ("offset", "size", "warned", "whole"), [(8, 16, 0, True), (8, 0, 1, False), (32, 16, 1, False)]
)
def test_user_space_is_given_a_part_of_an_object_at_most(
    kernel: Core, guest: Guest, offset: int, size: int, warned: int, whole: bool
) -> None:
    """A part that cannot be is none at all."""
    cache = guest.pointer("kmem_cache_create_usercopy", b"part", 40, 0, 0, offset, size, 0)
    assert len(kernel.warnings) == warned
    item = guest.pointer("kmem_cache_alloc", cache, GFP_KERNEL)
    if whole:
        guest.call("__check_object_size", item + 8, 16, 1)
        assert not kernel.oopses
    with pytest.raises(ValueError, match="not enough values"):
        guest.call("__check_object_size", item + 8, 17, 1)
    assert len(kernel.oopses) == 1


def test_the_arguments_of_a_newer_kernel() -> None:
    """struct kmem_cache_args, since v6.12."""
    btf = BtfWriter()
    u32, u64 = btf.integer("unsigned int", 4), btf.integer("unsigned long", 8)
    members = (("align", u32, 0), ("useroffset", u32, 32), ("usersize", u32, 64), ("ctor", u64, 128))
    btf.aggregate("kmem_cache_args", 24, *members)
    with Core(Types([*layouts()._sources, TypeSource(Btf(btf.data()))])) as k:
        guest, made = Guest(k), list[int]()
        ctor = guest.python(lambda address: made.append(address) or 0, 1)
        args = guest.put(struct.pack("<IIIIQ", 32, 8, 16, 0, ctor))
        cache = guest.pointer("__kmem_cache_create_args", b"new", 40, args, 0)
        item = guest.pointer("kmem_cache_alloc_noprof", cache, GFP_KERNEL)
        assert made == [item]
        assert item % 32 == 0
        guest.call("__check_object_size", item + 8, 16, 1)
        assert not k.oopses
