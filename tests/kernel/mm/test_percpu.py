"""The per-CPU area: mm/percpu.c."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest

from ukmod.errors import LimitError
from ukmod.kernel.core import Core
from ukmod.kernel.mm.percpu import AREA_SIZE, PREEMPT_NEED_RESCHED


@pytest.mark.parametrize("align", [1, 8, 64, 4096])
def test_variables_are_zero_aligned_and_apart(kernel: Core, guest: Guest, align: int) -> None:
    first, second = (guest.call("__alloc_percpu", 24, align) for _ in range(2))
    assert first
    assert first % align == second % align == 0
    assert abs(first - second) >= 24
    assert kernel.memory.read(kernel.percpu.base + first, 24) == bytes(24)


@pytest.mark.parametrize(("size", "align"), [(0, 8), (8, 3), (8, 8192), (AREA_SIZE * 2, 8)])
def test_what_cannot_be_is_null(guest: Guest, size: int, align: int) -> None:
    assert guest.call("__alloc_percpu", size, align) == 0


def test_what_was_freed_is_given_again_and_zeroed(kernel: Core, guest: Guest) -> None:
    first = guest.call("__alloc_percpu", 40, 8)
    kernel.memory.write(kernel.percpu.base + first, b"x" * 40)
    guest.call("free_percpu", first)
    guest.call("free_percpu", 0)
    assert guest.call("__alloc_percpu", 40, 8) == first
    assert kernel.memory.read(kernel.percpu.base + first, 40) == bytes(40)


def test_freeing_twice_gives_the_room_once(kernel: Core, guest: Guest) -> None:
    first = guest.call("__alloc_percpu", 40, 8)
    guest.call("free_percpu", first)
    guest.call("free_percpu", first)
    assert guest.call("__alloc_percpu", 40, 8) != guest.call("__alloc_percpu", 40, 8)


def test_the_area_has_an_end(kernel: Core) -> None:
    with pytest.raises(LimitError, match="exhausted"):
        kernel.percpu.reserve(AREA_SIZE, 8)
    assert kernel.percpu.reserve(4096, 8)


def test_the_preempt_count_carries_the_inverted_need_resched_bit(kernel: Core) -> None:
    percpu = kernel.percpu
    at = percpu.base + percpu.preempt_offset
    before = percpu.preempt_count()
    percpu.add_preempt(1)
    assert percpu.preempt_count() == before + 1
    assert kernel.memory.u32(at) & PREEMPT_NEED_RESCHED
    percpu.set_preempt(0)
    assert kernel.memory.u32(at) == PREEMPT_NEED_RESCHED
