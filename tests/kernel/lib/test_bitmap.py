"""Bitmaps against Python's integers."""

from __future__ import annotations

import random
from errno import EFAULT, EINVAL, EOVERFLOW, ERANGE

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.bitmap import first_set
from ukmod.kernel.lib.bitmap_text import hex_chunks, list_regions
from ukmod.kernel.lib.vsprintf_pointer import bitmap_hex, bitmap_list
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.kernel.mm.slab import ZERO_SIZE_PTR
from ukmod.machine.registers import MASK64

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


@pytest.mark.parametrize("bits", [-1, -64, -(1 << 31)])
def test_a_map_of_a_negative_size(guest: Guest, bits: int) -> None:
    bitmap = guest.words(0, 0)
    assert guest.call_int("bitmap_parse", b"", 0, bitmap, bits) == 0
    assert any(
        "#PF" in line or "page fault" in line for line in guest.oops("bitmap_parselist", b"1", bitmap, bits)
    )


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


class TestMemory:
    """bitmap_alloc() and the like: a whole number of longs."""

    @pytest.mark.parametrize(
        "function", ["bitmap_alloc", "bitmap_alloc_node", "bitmap_zalloc", "bitmap_zalloc_node"]
    )
    @pytest.mark.parametrize(("bits", "size"), [(1, 8), (64, 8), (65, 16), (130, 32)])
    def test_a_map_has_room_for_its_last_long(
        self, guest: Guest, function: str, bits: int, size: int
    ) -> None:
        bitmap = guest.call(function, bits, GFP_KERNEL, 0) & MASK64
        assert guest.kernel.slab.ksize(bitmap) == size
        guest.call("bitmap_free", bitmap)
        guest.call("bitmap_free", 0)
        assert not guest.kernel.reports
        assert guest.oops("bitmap_free", bitmap), "it is freed twice"

    @pytest.mark.parametrize("function", ["bitmap_zalloc", "bitmap_zalloc_node"])
    def test_a_zeroed_map_is_empty_where_another_was(self, guest: Guest, function: str) -> None:
        used = guest.call("bitmap_alloc", 128, GFP_KERNEL) & MASK64
        guest.call("__bitmap_set", used, 0, 128)
        guest.call("bitmap_free", used)
        bitmap = guest.call(function, 128, GFP_KERNEL, 0) & MASK64
        assert guest.kernel.memory.read(bitmap, 16) == bytes(16)

    @pytest.mark.parametrize("function", ["bitmap_alloc", "bitmap_zalloc"])
    def test_a_map_of_no_bits_is_the_pointer_to_nothing(self, guest: Guest, function: str) -> None:
        assert guest.call(function, 0, GFP_KERNEL) == ZERO_SIZE_PTR
        guest.call("bitmap_free", ZERO_SIZE_PTR)
        assert not guest.kernel.reports


class TestArrays:
    """Words of 32 and 64 bits, as user space or hardware has them."""

    @pytest.mark.parametrize("function", ["bitmap_from_arr32", "bitmap_from_arr64"])
    def test_what_is_behind_the_last_bit_is_cleared(self, guest: Guest, function: str) -> None:
        bitmap, source = guest.words(-1, -1, -1), guest.put(b"\xff" * 24)
        guest.call(function, bitmap, source, 70)
        assert [guest.kernel.memory.u64(bitmap + at) for at in (0, 8, 16)] == [MASK64, 0x3F, MASK64]

    def test_the_last_of_an_odd_number_of_words_stands_alone(self, guest: Guest) -> None:
        """A map of 96 bits is three words; the fourth is not touched."""
        words = guest.words(*[0xAAAA_AAAA] * 4, size=4)
        guest.call("bitmap_to_arr32", words, guest.words(0x2222_2222_1111_1111, 0x4444_4444_3333_3333), 96)
        found = [guest.kernel.memory.u32(words + 4 * n) for n in range(4)]
        assert found == [0x1111_1111, 0x2222_2222, 0x3333_3333, 0xAAAA_AAAA]


class TestWholeMaps:
    """The functions behind bitmap_and() and the like, for maps whose size is not a constant."""

    @pytest.mark.parametrize("size", [1, 63, 64, 65, BITS])
    def test_results_are_those_of_integers(self, guest: Guest, size: int) -> None:
        """Bits behind the last one decide nothing."""
        mask, dice = (1 << size) - 1, random.Random(size)
        out = guest.put(bytes(24))

        def stored() -> int:
            return guest.kernel.memory.uint(out, 24) & mask

        for _ in range(4):
            a, b, c = (dice.getrandbits(192) for _ in range(3))
            at, bt, ct = (guest.put(value.to_bytes(24, "little")) for value in (a, b, c))
            for name, result in (("and", a & b), ("or", a | b), ("xor", a ^ b), ("andnot", a & ~b)):
                any_left = guest.call_int(f"__bitmap_{name}", out, at, bt, size)
                assert stored() == result & mask
                assert name in ("or", "xor") or any_left == bool(result & mask)
            guest.call("__bitmap_complement", out, at, size)
            assert stored() == ~a & mask
            guest.call("__bitmap_replace", out, at, bt, ct, size)
            assert stored() == (a & ~c | b & c) & mask
            assert guest.call_int("__bitmap_weight", at, size) == (a & mask).bit_count()
            assert guest.call_int("__bitmap_weight_and", at, bt, size) == (a & b & mask).bit_count()

    @pytest.mark.parametrize("size", [1, 63, 64, 65, BITS])
    def test_maps_are_compared_to_their_last_bit(self, guest: Guest, size: int) -> None:
        last, behind = 1 << size - 1, 1 << size
        a = guest.put((last | behind).to_bytes(24, "little"))
        for b, equal, intersects, subset in (
            (last, 1, 1, 1),
            (behind, 0, 0, 0),
            (2 * behind - 1, size == 1, 1, 1),
        ):
            other = guest.put(b.to_bytes(24, "little"))
            assert guest.call_int("__bitmap_equal", a, other, size) == equal
            assert guest.call_int("__bitmap_intersects", a, other, size) == intersects
            assert guest.call_int("__bitmap_subset", a, other, size) == subset

    @pytest.mark.parametrize("shift", [0, 1, 63, 64, 65, 99])
    def test_shifts_carry_from_word_to_word(self, guest: Guest, shift: int) -> None:
        bits = 0x8000_0000_0000_0001_8000_0000_0000_0001
        source, out = guest.put(bits.to_bytes(16, "little")), guest.put(bytes(16))
        guest.call("__bitmap_shift_right", out, source, shift, 100)
        assert guest.kernel.memory.uint(out, 16) == (bits & (1 << 100) - 1) >> shift
        guest.call("__bitmap_shift_left", out, source, shift, 100)
        assert guest.kernel.memory.uint(out, 16) & (1 << 100) - 1 == bits << shift & (1 << 100) - 1

    def test_bits_are_cut_out_and_the_rest_moves_down(self, guest: Guest) -> None:
        """lib/bitmap.c has this picture; the map may be cut in place."""
        bitmap = guest.put((0b1111 << 62 | 0b101).to_bytes(16, "little"))
        guest.call("bitmap_cut", bitmap, bitmap, 3, 60, 128)
        assert guest.kernel.memory.uint(bitmap, 16) == 0b111 << 3 | 0b101

    def test_a_clump_is_eight_bits_at_a_multiple_of_eight(self, guest: Guest) -> None:
        """for_each_set_clump8(), include/linux/bitops.h."""
        bitmap, clump = guest.words(0, 0x8000), guest.words(0)
        assert guest.call("find_next_clump8", clump, bitmap, 128, 0) == 72
        assert guest.kernel.memory.u64(clump) == 0x80
        assert guest.call("find_next_clump8", clump, bitmap, 128, 80) == 128, "there is none"


class TestText:
    def test_a_map_is_printed_to_the_end_of_the_page(self, guest: Guest) -> None:
        """A sysfs file's buffer is a page; bitmap_print_to_pagebuf() takes the page's rest for the size."""
        bitmap, page = guest.words(0b1011), guest.put(bytes(4096))
        page = (page + 4095) & -4096
        assert guest.call_int("bitmap_print_to_pagebuf", 1, page, bitmap, 64) == 6
        assert guest.string(page) == b"0-1,3\n"
        assert guest.call_int("bitmap_print_to_pagebuf", 0, page, bitmap, 4) == 2
        assert guest.string(page) == b"b\n"

    def test_a_list_that_is_refused_leaves_the_regions_before_the_error(self, guest: Guest) -> None:
        bitmap = guest.words(-1)
        assert guest.call_int("bitmap_parselist", b"1,3-4,70", bitmap, 64) == -ERANGE
        assert guest.kernel.memory.u64(bitmap) == 0b11010

    def test_a_map_from_user_space_has_to_be_readable(self, guest: Guest) -> None:
        bitmap, user = guest.words(0), guest.kernel.user.alloc(b"f0\n")
        assert guest.call_int("bitmap_parse_user", user, 3, bitmap, 64) == 0
        assert guest.kernel.memory.u64(bitmap) == 0xF0
        assert guest.call_int("bitmap_parse_user", user, 9000, bitmap, 64) == -EFAULT


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_the_weight_of_a_word(guest: Guest, bits: int) -> None:
    for word in (0, 1, (1 << bits) - 1, 0xAAAA_AAAA_AAAA_AAAA & (1 << bits) - 1):
        assert guest.call_int(f"__sw_hweight{bits}", word) == word.bit_count()
