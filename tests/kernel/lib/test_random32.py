"""Pseudo-random numbers with a seed: lib/random32.c."""

from __future__ import annotations

import struct

import pytest
from tests.kernel.conftest import Guest

_TABLE = [(931557656, 959, 2975593782), (1339693295, 876, 3887776532), (601730776, 723, 1776162651)]
"""Seed, number of draws, and the last of them, from GSL's taus113: the kernel's self-test has these too."""


def seeded(seed: int) -> bytes:
    """prandom_seed_state() as the self-test has it: a linear congruential generator, and a warm-up."""
    state, last = [], seed
    for least in (2, 8, 16, 128):
        last = last * 69069 & 0xFFFF_FFFF
        state.append(last + least if last < least else last)
    return struct.pack("<4I", *state)


@pytest.mark.parametrize(("seed", "draws", "result"), _TABLE)
def test_the_sequence_is_that_of_gsl(guest: Guest, seed: int, draws: int, result: int) -> None:
    state = guest.put(seeded(seed))
    for _ in range(10 + draws - 1):
        guest.call("prandom_u32_state", state)
    assert guest.call("prandom_u32_state", state) & 0xFFFF_FFFF == result


def test_bytes_are_those_of_the_numbers(guest: Guest) -> None:
    state, other = guest.put(seeded(5)), guest.put(seeded(5))
    numbers = [guest.call("prandom_u32_state", state) & 0xFFFF_FFFF for _ in range(3)]
    buffer = guest.put(b"q" * 16)
    guest.call("prandom_bytes_state", other, buffer, 10)
    assert guest.kernel.memory.read(buffer, 11) == struct.pack("<3I", *numbers)[:10] + b"q"


def test_states_of_all_cpus_are_seeded_from_the_kernels_randomness(guest: Guest) -> None:
    states = guest.call("__alloc_percpu", 16, 4) & (1 << 64) - 1
    guest.call("prandom_seed_full_state", states)
    state = struct.unpack("<4I", guest.kernel.memory.read(guest.kernel.percpu.base + states, 16))
    assert all(state)
