"""Ranges of kernel addresses: guard pages, reuse, exhaustion."""

from __future__ import annotations

import pytest

from ukmod.errors import LimitError
from ukmod.machine.area import VMALLOC_START, Area
from ukmod.machine.memory import PAGE_SIZE, READ_ONLY, Fault, Memory


@pytest.fixture
def area(memory: Memory) -> Area:
    return Area(memory, VMALLOC_START, 1 << 20)


def test_whole_pages_zeroed_and_writable(memory: Memory, area: Area) -> None:
    at = area.alloc(PAGE_SIZE + 1)
    assert area.size_of(at) == 2 * PAGE_SIZE
    memory.write(at, b"x" * 2 * PAGE_SIZE)


def test_nothing_still_takes_a_page(area: Area) -> None:
    assert area.size_of(area.alloc(0)) == PAGE_SIZE


def test_a_guard_page_follows(memory: Memory, area: Area) -> None:
    first, second = area.alloc(PAGE_SIZE), area.alloc(PAGE_SIZE)
    assert second == first + 2 * PAGE_SIZE
    with pytest.raises(Fault):
        memory.u8(first + PAGE_SIZE)


def test_protection(memory: Memory, area: Area) -> None:
    at = area.alloc(PAGE_SIZE, READ_ONLY)
    with pytest.raises(Fault):
        memory.set_u8(at, 1)


def test_freed_addresses_fault_and_are_reused(memory: Memory, area: Area) -> None:
    at = area.alloc(PAGE_SIZE)
    memory.write(at, b"secret")
    area.free(at)
    assert area.size_of(at) == 0
    with pytest.raises(Fault):
        memory.u8(at)
    assert area.alloc(PAGE_SIZE) == at
    assert memory.read(at, 6) == bytes(6)


def test_no_addresses_left_leaves_the_memory_alone(memory: Memory, area: Area) -> None:
    left = memory.frames_left()
    with pytest.raises(LimitError, match="no room"):
        area.alloc(1 << 20)
    assert memory.frames_left() == left
    assert area.alloc((1 << 20) - PAGE_SIZE) == area.base


def test_no_memory_left_leaves_the_addresses_alone(memory: Memory) -> None:
    area = Area(memory, VMALLOC_START, 1 << 40)
    with pytest.raises(LimitError, match="exhausted"):
        area.alloc(1 << 30)
    assert area.alloc(PAGE_SIZE) == VMALLOC_START


def test_a_thousand_rounds_use_no_more_than_one(memory: Memory, area: Area) -> None:
    area.free(area.alloc(3 * PAGE_SIZE))
    left = memory.frames_left()
    for _ in range(1000):
        area.free(area.alloc(3 * PAGE_SIZE))
    assert memory.frames_left() == left


def test_addresses_that_are_used_once_are_used_again_when_there_are_no_others(memory: Memory) -> None:
    area = Area(memory, VMALLOC_START, 6 * PAGE_SIZE, once=1 << 20)
    first = area.alloc(PAGE_SIZE)
    area.free(first)
    second, third = area.alloc(PAGE_SIZE), area.alloc(PAGE_SIZE)
    assert len({first, second, third}) == 3
    assert area.alloc(PAGE_SIZE) == first
    with pytest.raises(LimitError):
        area.alloc(PAGE_SIZE)


def test_freed_ranges_that_are_next_to_each_other_are_used_as_one(memory: Memory) -> None:
    """A module that is larger than each that was unloaded finds room where they were."""
    area = Area(memory, VMALLOC_START, 9 * PAGE_SIZE, once=1 << 20)
    small = [area.alloc(PAGE_SIZE) for _ in range(4)]
    for at in (small[2], small[0], small[1]):
        area.free(at)
    large = area.alloc(4 * PAGE_SIZE)
    assert large == small[0]
    assert memory.read(large, 4 * PAGE_SIZE) == bytes(4 * PAGE_SIZE)
    area.free(large)
    with pytest.raises(LimitError):
        area.alloc(6 * PAGE_SIZE)
    area.free(small[3])
    assert area.alloc(8 * PAGE_SIZE) == area.base


def test_addresses_are_used_again_after_so_many_bytes_of_others(memory: Memory) -> None:
    """Unloading modules for ever takes no more page tables; a module that stays is passed over."""
    area = Area(memory, VMALLOC_START, 1 << 30, once=1 << 20)
    stays = area.alloc(PAGE_SIZE)
    places = []
    for _ in range(3000):
        places.append(area.alloc(5 * PAGE_SIZE))
        area.free(places[-1])
    assert max(places) < area.base + (1 << 20) + 16 * PAGE_SIZE
    assert stays not in places
    again = places.index(places[0], 1)
    assert len(set(places[:again])) == again >= (1 << 20) // (6 * PAGE_SIZE)
