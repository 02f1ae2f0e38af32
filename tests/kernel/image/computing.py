"""The functions of a kernel image, called on data of a test's."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ukmod.kernel.api import Kernel

MASK = (1 << 64) - 1
GFP_KERNEL = 0xCC0
_JMP = 0xE9


@dataclass(frozen=True)
class Ref:
    """An argument ``char **``: the address of a pointer to a copy of ``content``.

    ``at`` is where the pointer is in a structure that is zero up to there.
    """

    content: bytes
    at: int = 0


Argument = int | bytes | Ref
Outcome = list[Any]
"""What a function returned, and what its arguments in memory hold afterwards."""


@dataclass
class Image:
    """The image's own functions, whatever Python has under the same names."""

    k: Kernel

    def put(self, content: bytes) -> int:
        """A copy in the machine's memory."""
        address = self.k.core.slab.kmalloc(max(len(content), 8), GFP_KERNEL)
        self.k.core.memory.write(address, content)
        return address

    def room(self, size: int) -> int:
        """Zeroed memory for a function to work in."""
        address: int = self.k.call("vzalloc", size, returns="void *")
        return address

    def get(self, address: int, size: int) -> bytes:
        return self.k.core.memory.read(address, size)

    def struct(self, name: str, **members: int) -> int:
        """A structure with these members set and all others zero."""
        types = self.k.core.types
        address = self.put(bytes(types.sizeof(name)))
        for member, value in members.items():
            where = address + types.offset(name, member)
            self.k.core.memory.set_uint(where, value, types.member(name, member).size)
        return address

    def member(self, address: int, name: str, member: str) -> int:
        """A member of the structure ``name`` that is at an address."""
        types = self.k.core.types
        where = address + types.offset(name, member)
        return self.k.core.memory.uint(where, types.member(name, member).size)

    def has(self, name: str) -> bool:
        """Does the image have a function of its own with this name?"""
        assert self.k.core.image is not None
        return self.k.core.image.get(name) is not None

    def native(self, name: str) -> int:
        """Where the image's own function is, or that of ``module:function``, which is loaded if need be."""
        assert self.k.core.image is not None
        module = name.partition(":")[0]
        if ":" in name and module not in self.k.modules:
            assert self.k.modprobe(module).status == 0
        where = self.k.address(name) if ":" in name else self.k.core.image.address(name)
        assert not self._replaced(where), f"{name} has been replaced"
        return where

    def _replaced(self, where: int) -> bool:
        """Does a function begin with a jump out of the image? One that is another's equal jumps inside it."""
        memory, image = self.k.core.memory, self.k.core.image
        assert image is not None
        return memory.u8(where) == _JMP and not image.contains(where + 5 + memory.s32(where + 1))

    def call(self, name: str, *arguments: int | bytes, returns: str = "unsigned long") -> Any:
        """Call ``function`` of the image, or ``module:function``."""
        values = [self.put(item) if isinstance(item, bytes) else item for item in arguments]
        return self.k.call(self.native(name), *values, returns=returns)

    def both(
        self, name: str, *arguments: Argument, returns: str = "unsigned long", native: str = ""
    ) -> tuple[Outcome, Outcome]:
        """What comes of the image's own function and of the one in Python, on the same arguments.

        The second finds them at the same addresses, so that pointers can be compared too.
        """
        places: list[tuple[int, bytes]] = []
        values = []
        for item in arguments:
            content = item.content if isinstance(item, Ref) else item
            if isinstance(content, bytes):
                places.append((self.put(content), content))
            if isinstance(item, Ref):
                pointer = bytes(item.at) + struct.pack("<Q", places[-1][0])
                places.append((self.put(pointer), pointer))
            values.append(item if isinstance(item, int) else places[-1][0])
        outcomes: list[Outcome] = []
        assert self.k.core.symbols.is_python(name)
        for function in (self.native(native or name), self.k.core.symbols.address(name)):
            for address, content in places:
                self.k.core.memory.write(address, content)
            result = self.k.call(function, *values, returns=returns)
            outcomes.append([result, *(self.get(at, len(content)).hex() for at, content in places)])
        for address, _ in places:
            self.k.core.slab.kfree(address)
        return outcomes[0], outcomes[1]

    def differences(self, name: str, cases: Sequence[tuple[Argument, ...]], **how: str) -> list[Any]:
        """Those cases on which the two do not agree, with both outcomes."""
        outcomes = [(repr(case), *self.both(name, *case, **how)) for case in cases]
        return [found for found in outcomes if found[1] != found[2]]


Run = Callable[[Callable[[Image], Any]], Any]
"""Does something in a copy of the machine; what it returns, as JSON can say it."""


# -- one function written twice ---------------------------------------------------------------------------

Dice = random.Random
ROUNDS = 60


@dataclass(frozen=True)
class Twin:
    """A function that the image has and that is written in Python, and how to make up arguments for it."""

    name: str
    returns: str
    arguments: Callable[[Dice], tuple[Argument, ...]]
    rounds: int = ROUNDS
    native: str = ""
    """``module:function`` where it is not in the image."""

    def __str__(self) -> str:
        return self.name


def differences(run: Run, twin: Twin) -> list[Any]:
    """Where the two do not agree, on arguments that are the same each time."""
    dice = random.Random(twin.name)
    cases = [twin.arguments(dice) for _ in range(twin.rounds)]
    found: list[Any] = run(
        lambda image: image.differences(twin.name, cases, returns=twin.returns, native=twin.native)
    )
    return found


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
