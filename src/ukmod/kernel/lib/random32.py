"""Pseudo-random numbers from a seed that the caller keeps: lib/random32.c, L'Ecuyer's taus113."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.machine.abi import Ptr, SizeT, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_STATE: Final = struct.Struct("<4I")
"""struct rnd_state."""
_MASK32: Final = (1 << 32) - 1
_STEPS: Final = ((6, 13, -2, 18), (2, 27, -8, 2), (13, 21, -16, 7), (3, 12, -128, 13))
"""Of each of the four generators: its two shifts, the mask of its state, and the last shift."""
_SMALLEST: Final = (2, 8, 16, 128)
"""The smallest state that each of the generators may have."""
_WARMUP: Final = 10


def _next(state: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(
        ((s & c) << d & _MASK32) ^ ((s << a & _MASK32) ^ s) >> b
        for s, (a, b, c, d) in zip(state, _STEPS, strict=True)
    )


def _draw(k: Core, address: int) -> int:
    state = _next(_STATE.unpack(k.memory.read(address, _STATE.size)))
    k.memory.write(address, _STATE.pack(*state))
    return state[0] ^ state[1] ^ state[2] ^ state[3]


@export(native=True)
def prandom_u32_state(k: Core, state: Ptr) -> UInt:
    """``u32 prandom_u32_state(struct rnd_state *state)``."""
    return _draw(k, state)


@export(native=True)
def prandom_bytes_state(k: Core, state: Ptr, buffer: Ptr, count: SizeT) -> None:
    """``void prandom_bytes_state(struct rnd_state *state, void *buf, size_t bytes)``."""
    for done in range(0, count, 4):  # an absurd size ends in a page fault
        k.memory.write(buffer + done, _draw(k, state).to_bytes(4, "little")[: count - done])


@export(native=True)
def prandom_seed_full_state(k: Core, states: Ptr) -> None:
    """``void prandom_seed_full_state(struct rnd_state __percpu *pcpu_state)``."""
    seeds = _STATE.unpack(k.entropy.bytes(_STATE.size))
    state: tuple[int, ...] = tuple(
        seed + least if seed < least else seed for seed, least in zip(seeds, _SMALLEST, strict=True)
    )
    for _ in range(_WARMUP):
        state = _next(state)
    k.memory.write(k.percpu.base + states, _STATE.pack(*state))
