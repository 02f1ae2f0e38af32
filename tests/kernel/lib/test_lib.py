"""The smaller pieces of lib/: sscanf, dumps, UUIDs, random numbers, arithmetic, checked counts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest, layouts

from ukmod.kernel.core import Core
from ukmod.kernel.lib.hexdump import row
from ukmod.kernel.lib.math import best_rational
from ukmod.kernel.lib.uuid import parse, swap


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


def test_uuids_and_guids_differ_in_byte_order(guest: Guest) -> None:
    text = b"00112233-4455-6677-8899-aabbccddeeff"
    buffer = guest.put(b"", room=16)
    assert guest.call_int("guid_parse", text, buffer) == 0
    data = parse(text)
    assert data is not None
    assert guest.kernel.memory.read(buffer, 16) == swap(data) != data
    assert guest.call_int("uuid_parse", b"0011", buffer) == -22


def test_the_same_seed_gives_the_same_numbers() -> None:
    def draw(seed: int | None) -> int:
        with Core(layouts(), seed=seed) as k:
            return Guest(k).call("get_random_u64")

    assert draw(None) == draw(None)
    assert draw(1) == draw(1) != draw(2)


def test_random_numbers_below_a_ceiling(guest: Guest) -> None:
    assert {guest.call_int("__get_random_u32_below", 4) for _ in range(60)} == {0, 1, 2, 3}


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 50))
def test_the_best_rational_is_no_worse_than_any_other(n: int, d: int, limit: int) -> None:
    best_n, best_d = best_rational(n, d, 10**9, limit)
    found = abs(Fraction(best_n, best_d) - Fraction(n, d))
    assert found <= min(abs(Fraction(round(n * q / d), q) - Fraction(n, d)) for q in range(1, limit + 1))


def test_an_underflowing_count_is_saturated_and_warned_of_once(guest: Guest) -> None:
    count = guest.words(0, size=4)
    for _ in range(2):
        guest.call("refcount_warn_saturate", count, 3)
    assert guest.kernel.memory.u32(count) == 0xC0000000
    assert guest.kernel.log.lines.count("refcount_t: underflow; use-after-free.") == 1


def test_a_sound_list_is_valid(guest: Guest) -> None:
    memory = guest.kernel.memory
    head, entry = guest.words(0, 0), guest.words(0, 0)
    for at in (head, head + 8):
        memory.set_u64(at, head)
    assert guest.call_int("__list_add_valid", entry, head, head) == 1
    for a, b in ((head, entry), (entry, head)):
        memory.set_u64(a, b)
        memory.set_u64(b + 8, a)
    assert guest.call_int("__list_del_entry_valid", entry) == 1


def test_ratelimit_lets_a_burst_through(guest: Guest) -> None:
    k = guest.kernel
    state = guest.put(b"", room=k.types.sizeof("ratelimit_state"))
    k.memory.set_u32(state + k.types.offset("ratelimit_state", "interval"), 5 * k.clock.hz)
    k.memory.set_u32(state + k.types.offset("ratelimit_state", "burst"), 3)
    assert [guest.call_int("___ratelimit", state, b"place") for _ in range(5)] == [1, 1, 1, 0, 0]
    k.run(6)
    assert guest.call_int("___ratelimit", state, b"place") == 1
    assert k.log.lines[-1] == "place: 2 callbacks suppressed"
