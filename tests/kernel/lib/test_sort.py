"""Sorting and searching by a callback: lib/sort.c, lib/bsearch.c, lib/list_sort.c."""

from __future__ import annotations

import random
import struct

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import list_add_tail, list_entries


def _compare(kernel: Core, a: int, b: int) -> int:
    left, right = kernel.memory.s32(a), kernel.memory.s32(b)
    return (left > right) - (left < right)


def test_sort_and_bsearch(guest: Guest) -> None:
    k = guest.kernel
    numbers = random.Random(1).sample(range(-100, 100), 40)
    array = guest.words(*numbers, size=4)
    compare = guest.python(lambda a, b: _compare(k, a, b), 2)
    guest.call("sort", array, len(numbers), 4, compare, 0)
    assert list(struct.unpack("<40i", k.memory.read(array, 160))) == sorted(numbers)
    key = guest.words(max(numbers), size=4)
    assert guest.call("bsearch", key, array, 40, 4, compare) & (1 << 64) - 1 == array + 4 * 39
    assert guest.call("bsearch", guest.words(1000, size=4), array, 40, 4, compare) == 0


def test_list_sort_keeps_the_order_of_equals(guest: Guest) -> None:
    k = guest.kernel
    head = guest.words(0, 0)
    k.memory.set_u64(head, head)
    k.memory.set_u64(head + 8, head)
    entries = [guest.words(0, 0, key) for key in (2, 1, 2, 1, 0)]
    for entry in entries:
        list_add_tail(k.memory, entry, head)
    compare = guest.python(lambda _, a, b: int(k.memory.u64(a + 16) > k.memory.u64(b + 16)), 3)
    guest.call("list_sort", 0, head, compare)
    assert list(list_entries(k.memory, head)) == [entries[n] for n in (4, 1, 3, 0, 2)]


def test_sort_r_passes_the_callers_pointer_to_both_callbacks(guest: Guest) -> None:
    k, private, swapped = guest.kernel, 0x1234, list[tuple[int, int]]()
    array = guest.words(3, 1, 2, size=4)

    def compare(a: int, b: int, given: int) -> int:
        assert given == private
        return _compare(k, a, b)

    def swap(a: int, b: int, size: int, given: int) -> int:
        swapped.append((size, given))
        left, right = k.memory.u32(a), k.memory.u32(b)
        k.memory.set_u32(a, right)
        k.memory.set_u32(b, left)
        return 0

    guest.call("sort_r", array, 3, 4, guest.python(compare, 3), guest.python(swap, 4), private)
    assert struct.unpack("<3i", k.memory.read(array, 12)) == (1, 2, 3)
    assert set(swapped) == {(4, private)}


def test_nothing_is_compared_if_there_is_at_most_one_element(guest: Guest) -> None:
    never = guest.python(lambda: pytest.fail("it was called"), 0)
    array = guest.words(7)
    guest.call("sort", array, 1, 8, never, never)
    assert guest.call("bsearch", array, array, 0, 8, never) == 0
