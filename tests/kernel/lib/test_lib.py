"""The smaller pieces of lib/: sscanf, dumps, checked counts."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.hexdump import row


@pytest.mark.parametrize(
    ("text", "fmt", "values"),
    [
        (b"12 -7", b"%d %d", [12, -7]),
        (b"0x1f:052", b"%i:%i", [31, 42]),
        (b"12345", b"%2d%3d", [12, 345]),
        (b"77 99", b"%*d %d", [99]),
        (b"5%6", b"%d%%%d", [5, 6]),
        (b"7,x", b"%d,%d", [7]),
        (b"-", b"%d", []),
        (b"8", b"%o", []),
    ],
)
def test_sscanf_stores_numbers(guest: Guest, text: bytes, fmt: bytes, values: list[int]) -> None:
    results = [guest.words(0, size=4) for _ in range(2)]
    assert guest.call_int("sscanf", text, fmt, *results) == len(values)
    assert [guest.kernel.memory.s32(at) for at in results[: len(values)]] == values


def test_sscanf_stores_words_and_sets(guest: Guest) -> None:
    word, letters = guest.put(b"", room=16), guest.put(b"", room=16)
    assert guest.call_int("sscanf", b"  hello: aab!", b"%4s%*s %10[ab]", word, letters) == 2
    assert (guest.string(word), guest.string(letters)) == (b"hell", b"aab")


def test_sscanf_tells_how_far_it_came(guest: Guest) -> None:
    value, place = guest.words(0, size=4), guest.words(0, size=4)
    assert guest.call_int("sscanf", b"123abc", b"%d%n", value, place) == 1
    assert guest.kernel.memory.u32(place) == 3


def test_a_row_of_a_dump() -> None:
    assert row(b"\x00A\xff", 16, 1, ascii_column=True) == "00 41 ff".ljust(49) + ".A."
    assert row(b"\x01\x02\x03\x04", 16, 4, ascii_column=False) == "04030201"
    assert row(b"\x01\x02\x03", 16, 2, ascii_column=False) == "01 02 03"


def test_an_underflowing_count_is_saturated_and_warned_of_once(guest: Guest) -> None:
    count = guest.words(0, size=4)
    for _ in range(2):
        guest.call("refcount_warn_saturate", count, 3)
    assert guest.kernel.memory.u32(count) == 0xC0000000
    assert guest.kernel.log.lines.count("refcount_t: underflow; use-after-free.") == 1


def test_a_count_of_0_is_not_decremented_and_warned_of(guest: Guest) -> None:
    count = guest.words(0, size=4)
    assert guest.call("refcount_dec_not_one", count)
    assert guest.kernel.memory.u32(count) == 0
    (warning,) = guest.kernel.warnings
    assert (warning.file, warning.line) == ("lib/refcount.c", 87)
