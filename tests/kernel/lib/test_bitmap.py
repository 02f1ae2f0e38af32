"""Bitmaps against Python's integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.bitmap import first_set, parse_hex, parse_list
from ukmod.kernel.lib.vsprintf_pointer import bitmap_hex, bitmap_list

BITS = 130
MAPS = st.integers(0, 2**BITS - 1)


@given(MAPS)
def test_both_texts_are_read_back(bits: int) -> None:
    assert parse_list(bitmap_list(bits, BITS).encode(), BITS) == bits
    assert parse_hex(bitmap_hex(bits, BITS).encode(), BITS) == bits


@given(MAPS, st.integers(0, BITS))
def test_the_first_bit_from_a_place_on(bits: int, start: int) -> None:
    assert first_set(bits, BITS, start) == next((n for n in range(start, BITS) if bits >> n & 1), BITS)


def test_groups_of_a_list() -> None:
    assert parse_list(b"0-9:2/4", 64) == 0b11_0011_0011
    with pytest.raises(ValueError, match="EINVAL"):
        parse_list(b"3-1", 64)
    with pytest.raises(OverflowError):
        parse_list(b"64", 64)


def test_a_range_across_words_is_set_found_and_cleared(guest: Guest) -> None:
    bitmap = guest.words(0, 0, 1 << 63)
    guest.call("__bitmap_set", bitmap, 60, 8)
    assert guest.call_int("__bitmap_weight", bitmap, 128) == 8
    assert guest.call_int("_find_next_bit", bitmap, 128, 3) == 60
    assert guest.call_int("_find_next_zero_bit", bitmap, 128, 60) == 68
    assert guest.call_int("_find_last_bit", bitmap, 128) == 67
    guest.call("__bitmap_clear", bitmap, 60, 8)
    assert guest.call_int("_find_first_bit", bitmap, 128) == 128
    assert guest.kernel.memory.u64(bitmap + 16) == 1 << 63


def test_a_free_region_is_taken_where_it_is_aligned(guest: Guest) -> None:
    bitmap = guest.words(0b0001)
    assert guest.call_int("bitmap_find_free_region", bitmap, 64, 2) == 4
    assert guest.kernel.memory.u64(bitmap) == 0b1111_0001
    assert guest.call_int("bitmap_allocate_region", bitmap, 4, 1) == -16
    guest.call("bitmap_release_region", bitmap, 4, 2)
    assert guest.kernel.memory.u64(bitmap) == 1


def test_a_zero_area_between_set_bits(guest: Guest) -> None:
    bitmap = guest.words(0b1001_0001)
    find = "bitmap_find_next_zero_area_off"
    assert guest.call_int(find, bitmap, 64, 0, 3, 0, 0) == 1
    assert guest.call_int(find, bitmap, 64, 0, 4, 0, 0) == 8
    assert guest.call_int(find, bitmap, 64, 0, 2, 3, 0) == 8
