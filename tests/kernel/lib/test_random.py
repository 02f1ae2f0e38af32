"""Random numbers: drivers/char/random.c. They follow from the kernel's seed."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest, layouts

from ukmod.kernel.core import Core


@pytest.mark.parametrize(
    ("function", "bits"),
    [
        ("get_random_u8", 8),
        ("get_random_u16", 16),
        ("get_random_u32", 32),
        ("prandom_u32", 32),
        ("get_random_u64", 64),
    ],
)
def test_numbers_fill_their_type_and_no_more(guest: Guest, function: str, bits: int) -> None:
    drawn = [guest.call(function) & (1 << 64) - 1 for _ in range(40)]
    assert max(drawn) < 1 << bits
    seen = 0
    for number in drawn:
        seen |= number
    assert seen == (1 << bits) - 1, "each bit is set in some of them"


def test_the_same_seed_gives_the_same_numbers() -> None:
    def draw(seed: int | None) -> int:
        with Core(layouts(), seed=seed) as k:
            return Guest(k).call("get_random_u64")

    assert draw(None) == draw(None)
    assert draw(1) == draw(1) != draw(2)


def test_numbers_below_a_ceiling(guest: Guest) -> None:
    assert {guest.call_int("__get_random_u32_below", 4) for _ in range(60)} == {0, 1, 2, 3}


def test_a_ceiling_of_0_is_none(guest: Guest) -> None:
    """get_random_u32_below() in include/linux/random.h: 1 << 32 does not fit into a u32."""
    assert any(guest.call("__get_random_u32_below", 0) >> 31 for _ in range(40))


@pytest.mark.parametrize("function", ["get_random_bytes", "get_random_bytes_arch"])
@pytest.mark.parametrize("count", [1, 31, 4096, 10_000])
def test_all_of_a_buffer_is_filled_and_nothing_beyond_it(guest: Guest, function: str, count: int) -> None:
    buffer = guest.put(bytes(count) + b"end")
    guest.call(function, buffer, count)
    data = guest.kernel.memory.read(buffer, count + 3)
    assert data.endswith(b"end")
    assert count < 31 or (bytes(8) not in data and data[:16] != data[-19:-3])


@pytest.mark.parametrize(("function", "answer"), [("wait_for_random_bytes", 0), ("rng_is_initialized", 1)])
def test_the_generator_is_always_ready(guest: Guest, function: str, answer: int) -> None:
    assert guest.call_int(function) == answer
    assert guest.kernel.clock.now < 10_000, "nanoseconds: nothing was waited for"


def test_a_devices_randomness_changes_nothing_but_has_to_be_readable(guest: Guest) -> None:
    """Runs are to be repeatable; a bad pointer is one all the same."""
    guest.call("add_device_randomness", b"serial number", 13)
    with Core(layouts()) as other:
        assert guest.call("get_random_u64") == Guest(other).call("get_random_u64")
    assert guest.oops("add_device_randomness", 8, 1)[0].startswith("BUG: kernel NULL pointer dereference")
