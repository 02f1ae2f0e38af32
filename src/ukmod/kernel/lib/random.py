"""Random numbers (drivers/char/random.c), derived from the kernel's seed so that runs are repeatable."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Bool, Int, Ptr, SizeT, UChar, UInt, ULong, UShort
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from random import Random

    from ukmod.kernel.core import Core

_MAGIC = 0x6C64_6D6B
"""The default seed: without another one, every run has the same random numbers."""


class Entropy:
    """The kernel's random numbers."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = _MAGIC if seed is None else seed

    @cached_property
    def _random(self) -> Random:
        from random import Random  # few machines are asked for a random number

        return Random(self._seed)  # noqa: S311 - not a secret

    def bytes(self, count: int) -> bytes:
        """``count`` random bytes."""
        return self._random.randbytes(count)

    def bits(self, count: int) -> int:
        """A random number of ``count`` bits."""
        return self._random.getrandbits(count)

    def below(self, ceiling: int) -> int:
        """A random number from 0 to ``ceiling - 1``."""
        return self._random.randrange(ceiling)


@export()
def get_random_bytes(k: Core, buffer: Ptr, count: SizeT) -> None:
    """``void get_random_bytes(void *buf, size_t len)``."""
    for done in range(0, count, PAGE_SIZE):  # an absurd size ends in a page fault
        k.memory.write(buffer + done, k.entropy.bytes(min(count - done, PAGE_SIZE)))


@export()
def get_random_bytes_arch(k: Core, buffer: Ptr, count: SizeT) -> SizeT:
    """``size_t get_random_bytes_arch(void *buf, size_t len)``: the bytes that the CPU could give, all."""
    get_random_bytes(k, buffer, count)
    return count


@export()
def get_random_u8(k: Core) -> UChar:
    """``u8 get_random_u8(void)``."""
    return k.entropy.bits(8)


@export()
def get_random_u16(k: Core) -> UShort:
    """``u16 get_random_u16(void)``."""
    return k.entropy.bits(16)


@export("get_random_u32", "prandom_u32")
def get_random_u32(k: Core) -> UInt:
    """``u32 get_random_u32(void)``."""
    return k.entropy.bits(32)


@export()
def get_random_u64(k: Core) -> ULong:
    """``u64 get_random_u64(void)``."""
    return k.entropy.bits(64)


@export("__get_random_u32_below")
def get_random_u32_below(k: Core, ceiling: UInt) -> UInt:
    """``u32 __get_random_u32_below(u32 ceil)``; a ceiling of 0 means no limit."""
    return k.entropy.below(ceiling) if ceiling else k.entropy.bits(32)


@export()
def wait_for_random_bytes(k: Core) -> Int:
    """``int wait_for_random_bytes(void)``: always ready."""
    del k
    return 0


@export()
def rng_is_initialized(k: Core) -> Bool:
    """``bool rng_is_initialized(void)``."""
    del k
    return True


@export("add_device_randomness")
def add_device_randomness(k: Core, buffer: Ptr, count: SizeT) -> None:
    """``void add_device_randomness(const void *buf, size_t len)``: ignored, since runs must be repeatable."""
    k.memory.read(buffer, count)
