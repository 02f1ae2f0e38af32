"""A function that exists twice, in the kernel and in Python, and the outcome of a call of either.

Arguments are random, but the same each time, and lie at the same addresses in each machine. So the outcomes
of two functions can be compared, pointers included, and those of the kernel's can be recorded (recorded.py).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ukmod.kernel.core import Core
from ukmod.machine.abi import TYPES, c_value
from ukmod.machine.memory import PAGE_SIZE, READ_WRITE

Dice = random.Random
ROUNDS = 60
_FIRST, _USER = 0xFFFF_F000_0000_0000, 0x7000_0000_0000
"""The addresses of the first argument in kernel memory and in user memory. Nothing else is there."""


@dataclass(frozen=True)
class Words:
    """An argument that points to an array of longs, each a number or a pointer to something."""

    items: tuple[Argument, ...]
    indeterminate: bool = False
    """Its content after the call is not compared."""


@dataclass(frozen=True)
class User:
    """An argument that points to a copy of ``content`` in user memory."""

    content: bytes


Argument = int | bytes | Words | User
"""A number; a pointer to a copy of these bytes; or one of the above."""


def words(*items: Argument) -> Words:
    """An array of longs."""
    return Words(items)


def va_list(*items: Argument) -> Words:
    """A ``va_list`` whose arguments all are on the stack: 48 bytes of registers, and 304, are used up."""
    return Words((48 | 304 << 32, Words(items), 0), indeterminate=True)


@dataclass(frozen=True)
class Twin:
    """A function, and how to make up arguments for it."""

    name: str
    returns: str
    """The C type of its result."""
    arguments: Callable[[Dice], tuple[Argument, ...]]
    rounds: int = ROUNDS
    native: str = ""
    """``module:function`` where it is not in the image."""
    about: str = ""
    """A word that distinguishes it from another twin of the same name."""

    def __str__(self) -> str:
        return f"{self.name}-{self.about}" if self.about else self.name

    @property
    def cases(self) -> list[tuple[Argument, ...]]:
        """Arguments, the same each time."""
        dice = random.Random(self.name)
        return [self.arguments(dice) for _ in range(self.rounds)]

    @property
    def kept(self) -> int:
        """The number of rounds whose outcome is recorded."""
        return min(self.rounds, max(25, self.rounds // 10))

    @property
    def digest(self) -> str:
        """A hash of the arguments of the recorded rounds."""
        return sha256(repr(self.cases[: self.kept]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Place:
    """An argument's address, and its content before the call."""

    address: int
    content: bytes
    compared: bool = True
    """Is its content after the call part of the outcome?"""


def places(arguments: Sequence[Argument]) -> tuple[list[int], list[Place]]:
    """The values to pass for these arguments, and the places of those that are pointers.

    Each ends with a page of its own: an access beyond it faults.
    """
    found: list[Place] = []

    def value(argument: Argument) -> int:
        if isinstance(argument, int):
            return argument
        if isinstance(argument, Words):
            longs = [value(item) & (1 << 64) - 1 for item in argument.items]
            content = struct.pack(f"<{len(longs)}Q", *longs)
        else:
            content = argument if isinstance(argument, bytes) else argument.content
        room = max(len(content) + 7 & -8, 8)
        end = (_USER if isinstance(argument, User) else _FIRST) + (2 * len(found) + 1) * PAGE_SIZE
        compared = not (isinstance(argument, Words) and argument.indeterminate)
        found.append(Place(end - room, content, compared))
        return end - room

    return [value(argument) for argument in arguments], found


def outcomes(k: Core, function: int, returns: str, cases: Sequence[tuple[Argument, ...]]) -> list[str]:
    """The outcomes of calls of a function with each of these arguments; see ``_told``."""
    told: list[str] = []

    def entry() -> int:
        for arguments in cases:
            values, where = places(arguments)
            for place in where:
                _provide(k, place)
            result = c_value(
                k.memory, TYPES[returns.replace("void *", "unsigned long")], k.cpu.call(function, *values)
            )
            after = [k.memory.read(place.address, len(place.content)) for place in where]
            told.append(_told(result, where, after))
        return 0

    k.run_task("twin", entry)
    assert len(told) == len(cases), f"an oops or a lockup, on {cases[len(told)]!r}"
    return told


def _provide(k: Core, place: Place) -> None:
    page = place.address & -PAGE_SIZE
    if not k.memory.prot(page):
        k.memory.map(page, k.memory.alloc_frames(1), PAGE_SIZE, READ_WRITE)
    k.memory.write(place.address, place.content)


def _told(result: Any, where: Sequence[Place], after: Sequence[bytes]) -> str:
    """An outcome as a line: the result, or ``&2+5`` for a pointer to byte 5 of place 2; then each change of
    content, as ``2+5:`` and the new bytes."""
    words = [str(result)]
    if isinstance(result, int):
        for n, place in enumerate(where):
            if 0 <= result - place.address <= max(len(place.content), 8):
                words = [f"&{n}+{result - place.address}"]
    for n, (place, content) in enumerate(zip(where, after, strict=True)):
        changed = [at for at, byte in enumerate(place.content) if byte != content[at]]
        if changed and place.compared:
            words.append(f"{n}+{changed[0]}:{content[changed[0] : changed[-1] + 1].hex()}")
    return " ".join(words)


# -- arguments --------------------------------------------------------------------------------------------


def word(dice: Dice, letters: bytes, most: int) -> bytes:
    """A string of some of these letters."""
    return bytes(dice.choice(letters) for _ in range(dice.randrange(most + 1))) + b"\0"


def number(dice: Dice) -> bytes:
    """A string that mostly is a number, in range or not, with what may stand before and behind it."""
    some = dice.getrandbits(dice.randrange(1, 70))
    limit = (1 << dice.choice([7, 8, 15, 16, 31, 32, 63, 64])) + dice.choice([-1, 0, 1])
    digits = [b"%d" % some, b"0x%x" % some, b"0X%X" % some, b"0%o" % some, b"%d" % limit]
    odd = [b"0x", b"0xg", b"0", b"", word(dice, b"0123456789abfxX", 8)[:-1]]
    sign = dice.choice([b"", b"", b"", b"-", b"+", b" ", b"--"])
    end = dice.choice([b"", b"", b"", b"\n", b"\n\n", b" ", b","])
    suffix = dice.choice([b"", b"", b"k", b"K", b"M", b"g", b"G", b"T", b"P", b"E", b"e"])
    return sign + dice.choice([*digits, *digits, *odd]) + suffix + end + b"\0"
