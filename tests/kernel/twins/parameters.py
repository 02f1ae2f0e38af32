"""The types of module parameters: kernel/params.c."""

from __future__ import annotations

from tests.kernel.twins.twin import Argument, Dice, Twin, Words, number, word, words

EMPTY = bytes(8)
ROOM = b"q" * 48

KINDS = ("byte", "short", "ushort", "int", "uint", "long", "ulong", "ullong", "hexint")


def parameter(content: bytes) -> Words:
    """A struct kernel_param, of which ``arg`` points to the value; nothing before it is looked at."""
    return words(0, 0, 0, 0, content)


def switch(dice: Dice) -> Words:
    """A parameter that is a bool."""
    return parameter(dice.choice([b"\1", b"\0"]) + bytes(7))


def switching(dice: Dice) -> tuple[Argument, ...]:
    """What sets one: NULL stands for its name alone."""
    return dice.choice([b"", word(dice, b"yYnN10oOfFx", 3)]) or 0, switch(dice)


PARAMETERS = [
    *(Twin(f"param_set_{kind}", "int", lambda d: (number(d), parameter(EMPTY))) for kind in KINDS),
    *(Twin(f"param_get_{kind}", "int", lambda d: (ROOM, parameter(d.randbytes(8)))) for kind in KINDS),
    *(
        Twin(f"param_set_{kind}", "int", switching)
        for kind in ("bool", "invbool", "bool_enable_only", "bint")
    ),
    *(
        Twin(f"param_get_{kind}", "int", lambda d: (ROOM, switch(d)))
        for kind in ("bool", "invbool")
    ),
]  # fmt: skip
