"""Bitmaps against Python's integers."""

from __future__ import annotations

from errno import EINVAL, EOVERFLOW, ERANGE

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.bitmap import first_set
from ukmod.kernel.lib.bitmap_text import hex_chunks, list_regions
from ukmod.kernel.lib.vsprintf_pointer import bitmap_hex, bitmap_list

BITS = 130
MAPS = st.integers(0, 2**BITS - 1)


@given(MAPS)
def test_lists_and_hex_words_are_read_back(bits: int) -> None:
    assert sum(list_regions(bitmap_list(bits, BITS).encode(), BITS)) == bits
    words = hex_chunks(bitmap_hex(bits, BITS).encode(), BITS)
    assert sum(word << 32 * n for n, word in enumerate(words)) == bits


@given(MAPS, st.integers(0, BITS))
def test_the_first_bit_from_a_place_on(bits: int, start: int) -> None:
    assert first_set(bits, BITS, start) == next((n for n in range(start, BITS) if bits >> n & 1), BITS)


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        (b"0-9:2/4", [0b11_0011_0011]),
        (b" 1,,2 \n", [0b10, 0b100]),
        (b"all:1/32", [1 | 1 << 32]),
        (b"N,0", [1 << 63, 1]),
        (b"3\n4", [1 << 3]),
        (b"", []),
    ],
)
def test_lists(text: bytes, regions: list[int]) -> None:
    assert list(list_regions(text, 64)) == regions


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"3-1", EINVAL),
        (b"1-4:5/4", EINVAL),
        (b"5:1/2", EINVAL),
        (b"0-9:2", EINVAL),
        (b"-1", EINVAL),
        (b"64", ERANGE),
        (b"4294967296", EOVERFLOW),
    ],
)
def test_what_is_no_list(text: bytes, error: int) -> None:
    with pytest.raises(OSError, match=rf"Errno {error}\b"):
        list(list_regions(text, 64))


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"1,ffffffff", [0xFFFF_FFFF, 1]), (b" f , 1\n2", [1, 0xF]), (b"\n1", []), (b",,", [])],
)
def test_words_of_a_map(text: bytes, words: list[int]) -> None:
    assert list(hex_chunks(text, 64)) == words


@pytest.mark.parametrize(
    ("text", "error"), [(b"0x1", EINVAL), (b"123456789", EOVERFLOW), (b"1,2,3", EOVERFLOW)]
)
def test_what_is_no_word(text: bytes, error: int) -> None:
    with pytest.raises(OSError, match=rf"Errno {error}\b"):
        list(hex_chunks(text, 64))


def test_a_map_that_is_read_is_cleared_behind_its_words(guest: Guest) -> None:
    bitmap = guest.words(-1, -1)
    assert guest.call_int("bitmap_parse", b"ff", 2, bitmap, 100) == 0
    assert guest.kernel.memory.uint(bitmap, 16) == 0xFF | (1 << 128) - (1 << 100)
    assert guest.call_int("bitmap_parse", b"10", 2, bitmap, 4) == -EOVERFLOW


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
