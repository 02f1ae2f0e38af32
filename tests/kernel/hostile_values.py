"""Hostile values for arguments, by what they are: numbers, bad pointers, and objects, forged and live."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

from ukmod.kernel.core import Core

FORMAT: Final = b"%s %n %pV %*d %pK\0"
FORGED: Final = "forged "
"""What begins the name of an object that a seed forges: ``forged SEED``."""
_FORGED_BYTES: Final = 512
_FORGED_WORDS: Final = 24
"""As many words of a forged object, its first, are not 0: those that structs have their links in."""

Make = Callable[[Core], int]


def _object(fill: Callable[[int], bytes], size: int = 256) -> Make:
    """A slab object; ``fill`` makes its contents from its address."""

    def make(k: Core) -> int:
        address = k.slab.kmalloc(size)
        k.memory.write(address, fill(address))
        return address

    return make


def _freed(k: Core) -> int:
    address = k.slab.kmalloc(64)
    k.slab.kfree(address)
    return address


def _number(value: int) -> Make:
    return lambda _: value & (1 << 64) - 1


def _called(name: str, *arguments: int | str) -> Make:
    """What an exported function returns in a task; a text is a value's name, and its own first argument."""

    def make(k: Core) -> int:
        results: list[int] = []
        words = [VALUES[it](k) if isinstance(it, str) else it for it in arguments]

        def entry() -> int:
            results.append(k.cpu.call(k.symbols.address(name), *words))
            return 0

        k.run_task("prepare", entry, limit=1)
        return results[0] if results else 0

    return make


def _initialized(name: str, *arguments: int | str) -> Make:
    """An object of the guest's, which an exported function has initialized."""

    def make(k: Core) -> int:
        address = _object(lambda _: bytes(_FORGED_BYTES), _FORGED_BYTES)(k)
        _called(name, address, *arguments)(k)
        return address

    return make


def _work(k: Core) -> int:
    """INIT_WORK()."""
    address = k.slab.kmalloc(256)
    words = (0xF_FFFF_FFE0_0000, address + 8, address + 8, VALUES["a function that returns 0"](k))
    k.memory.write(address, struct.pack("<4Q", *words) + bytes(224))
    return address


def _block(k: Core) -> int:
    """A struct notifier_block."""
    return _object(lambda _: struct.pack("<32Q", VALUES["a function that returns 0"](k), *[0] * 31))(k)


NUMBERS: Final[dict[str, Make]] = {
    **{
        hex(value): _number(value)
        for value in (
            0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 65, 100, 255, 4095, 4096, 4097, 1 << 16, 1 << 20,
            (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63,
        )
    },
    **{str(value): _number(value) for value in (-1, -2, -22, -4095)},
    "GFP_KERNEL": _number(0xCC0),
}  # fmt: skip
"""Lengths, counts, flags, bits, errors."""

POINTERS: Final[dict[str, Make]] = {
    "ZERO_SIZE_PTR": _number(16),
    "user memory": _number(0x1000),
    "the end of user memory": _number(0x7FFF_FFFF_F000),
    "LIST_POISON1": _number(0xDEAD_0000_0000_0100),
    "not canonical": _number(0x8000_0000_0000_0000),
    "the direct map's guard hole": _number(0xFFFF_8000_0000_0000),
    "the last page": _number(-8),
    "zeros": _object(lambda _: bytes(256)),
    "ones": _object(lambda _: b"\xff" * 256),
    "a list of itself": _object(lambda address: address.to_bytes(8, "little") * 32),
    "a list that skips its head": _object(lambda address: (address + 16).to_bytes(8, "little") * 32),
    "the end of an object": lambda k: _object(lambda _: bytes(256))(k) + 248,
    "unaligned": lambda k: _object(lambda _: bytes(256))(k) + 1,
    "a format": _object(lambda _: FORMAT, len(FORMAT)),
    "a name": _object(lambda _: b"hostile\0", 8),
    "freed": _freed,
    "a function that returns 0": lambda k: k.cpu.stubs.add_function(lambda _: 0),
    "a function that returns its argument": lambda k: k.cpu.stubs.add_function(lambda frame: frame[1]),
    "kernel code": lambda k: k.symbols.address("_printk"),
    "a task": lambda k: k.idle.address,
    "a slab cache": _called("kmem_cache_create", "a name", 64, 8, 0, 0),
    "a workqueue": _called("alloc_workqueue", "a name", 0, 0),
    "vmalloc memory": _called("vmalloc", 8192),
    "per-CPU memory": _called("__alloc_percpu", 64, 8),
    "a page": _called("alloc_pages", 0xCC0, 0),
    "a thread": _called("kthread_create_on_node", "a function that returns 0", 0, 0xFFFF_FFFF, "a name"),
    "a kthread worker": _called("kthread_create_worker", 0, "a name"),
    "a mutex": _initialized("__mutex_init", "a name", 0),
    "a semaphore of readers": _initialized("__init_rwsem", "a name", 0),
    "a timer": _initialized("init_timer_key", "a function that returns 0", 0, 0, 0),
    "an hrtimer": _initialized("hrtimer_init", 1, 0),
    "a wait queue": _initialized("__init_waitqueue_head", "a name", 0),
    "a domain of SRCU": _initialized("init_srcu_struct"),
    "work": _work,
    "a notifier block": _block,
}
"""Addresses at which nothing is, and of objects: damaged ones, freed ones, and good ones."""

VALUES: Final = NUMBERS | POINTERS
"""Hostile values by what they are."""


class Made:
    """The values that the calls of one attempt have: each is made once, so that they share objects."""

    def __init__(self, k: Core) -> None:
        self._k = k
        self._made: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """A value by its name: one of VALUES, or ``forged SEED``; `` + OFFSET`` may follow."""
        name, _, offset = text.partition(" + ")
        if name not in self._made:
            self._made[name] = self._forged(name) if name.startswith(FORGED) else VALUES[name](self._k)
        return self._made[name] + int(offset or 0) & (1 << 64) - 1

    def _forged(self, name: str) -> int:
        """An object of which some of the first words are numbers or pointers, as the seed has it."""
        chance = random.Random(name)
        address = self._made[name] = self._k.slab.kmalloc(_FORGED_BYTES)
        words = [0] * (_FORGED_BYTES // 8)
        for _ in range(chance.choice((1, 2, 4, 8, 16, 64))):
            kind = chance.choice((NUMBERS, POINTERS, None))
            word = address + 8 * chance.randrange(16) if kind is None else self(chance.choice(sorted(kind)))
            words[chance.randrange(_FORGED_WORDS)] = word
        self._k.memory.write(address, struct.pack(f"<{len(words)}Q", *words))
        return address
