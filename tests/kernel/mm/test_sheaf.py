"""Sheaves of objects of a cache, which cannot fail to be there when they are needed: mm/slub.c, v6.18."""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENOMEM

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.structs import kernel_with
from tests.kernel.tasks import in_task

from ukmod.kernel.core import Core
from ukmod.kernel.mm.gfp import GFP_KERNEL

SLAB_SHEAF = {"capacity": 4, "pfmemalloc": 1, "": 11, "cache": 8, "size": 4, "node": 4, "objects": 0}


@pytest.fixture
def kernel() -> Iterator[Core]:
    """A kernel that has sheaves."""
    with kernel_with(slab_sheaf=SLAB_SHEAF) as k:
        yield k


class Sheaf:
    """A cache of objects of ``size`` bytes, and a sheaf with ``count`` of them."""

    def __init__(self, guest: Guest, count: int, size: int = 40) -> None:
        self.guest, self.k = guest, guest.kernel
        self.cache = guest.pointer("kmem_cache_create", b"nodes", size, 0, 0, 0)
        self.pointer = guest.words(self.prefilled(count))

    @property
    def address(self) -> int:
        return self.k.memory.u64(self.pointer)

    @property
    def allocated(self) -> int:
        """The objects of the cache that are allocated, in the sheaf or out of it."""
        return len(self.k.slab.objects_of(self.cache))

    def prefilled(self, count: int) -> int:
        return self.guest.pointer("kmem_cache_prefill_sheaf", self.cache, GFP_KERNEL, count)

    def refill(self, count: int) -> int:
        return self.guest.call_int("kmem_cache_refill_sheaf", self.cache, GFP_KERNEL, self.pointer, count)

    def alloc(self) -> int:
        return self.guest.pointer("kmem_cache_alloc_from_sheaf_noprof", self.cache, GFP_KERNEL, self.address)

    def give_back(self) -> None:
        self.guest.call("kmem_cache_return_sheaf", self.cache, GFP_KERNEL, self.address)


def test_a_prefilled_sheaf_gives_each_of_its_objects_once_and_then_none(guest: Guest) -> None:
    sheaf = Sheaf(guest, 3)
    assert sheaf.allocated == 3
    items = [sheaf.alloc() for _ in range(4)]
    assert set(items[:3]) == {found.address for found in guest.kernel.slab.objects_of(sheaf.cache)}
    assert items[3] == 0
    assert sheaf.allocated == 3


def test_what_is_left_in_a_sheaf_is_freed_with_it(guest: Guest) -> None:
    sheaf = Sheaf(guest, 3)
    item = sheaf.alloc()
    sheaf.give_back()
    assert sheaf.allocated == 1
    guest.call("kmem_cache_free", sheaf.cache, item)
    guest.call("kmem_cache_destroy", sheaf.cache)
    assert not guest.kernel.warnings


def test_refilling_makes_up_for_what_was_taken(guest: Guest) -> None:
    sheaf = Sheaf(guest, 4)
    before, taken = sheaf.address, [sheaf.alloc() for _ in range(3)]
    assert sheaf.refill(4) == 0
    assert sheaf.address == before
    again = [sheaf.alloc() for _ in range(4)]
    assert len({*taken, *again} - {0}) == 7


def test_a_sheaf_that_is_too_small_is_replaced(guest: Guest) -> None:
    sheaf = Sheaf(guest, 2)
    before = sheaf.address
    assert sheaf.refill(6) == 0
    assert sheaf.address != before
    assert sheaf.allocated == 6, "the objects of the small one have been freed"
    assert all(sheaf.alloc() for _ in range(6))


def test_without_memory_there_is_no_sheaf_and_none_is_lost(guest: Guest) -> None:
    sheaf = Sheaf(guest, 2, size=5000)
    before = sheaf.address
    results: list[int] = []

    def body() -> None:
        guest.kernel.memory.alloc_frames(guest.kernel.memory.frames_left() - 30)
        results.extend((sheaf.prefilled(60), sheaf.refill(60)))

    in_task(guest.kernel, body)
    assert results == [0, -ENOMEM]
    assert sheaf.address == before
    assert sheaf.allocated == 2
