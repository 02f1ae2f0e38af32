"""Units of time and the types of module parameters: the image's functions and Python's do the same."""

from __future__ import annotations

import struct

import pytest
from tests.kernel.image.computing import MASK, Dice, Ref, Run, Twin, differences, number, word

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

EMPTY = bytes(8)
ROOM = b"q" * 48


def quantity(dice: Dice) -> int:
    """A number of some unit: small, at an edge, or any."""
    edges = [1 << bit for bit in (31, 32, 62, 63)]
    near = [edge + by & MASK for edge in (0, *edges) for by in (-2, -1, 0, 1)]
    return dice.choice([*near, dice.randrange(10_000), dice.getrandbits(dice.randrange(1, 65))])


def timespec(dice: Dice) -> bytes:
    return struct.pack("<QQ", quantity(dice), dice.choice([0, 999_999_999, dice.randrange(10**9)]))


TIMES = [
    *(
        Twin(name, "unsigned int", lambda d: (quantity(d),))
        for name in ("jiffies_to_msecs", "jiffies_to_usecs")
    ),
    *(
        Twin(name, "unsigned long", lambda d: (quantity(d),))
        for name in (
            "__msecs_to_jiffies", "__usecs_to_jiffies", "jiffies_to_clock_t", "jiffies_64_to_clock_t",
            "clock_t_to_jiffies", "jiffies64_to_nsecs", "jiffies64_to_msecs", "nsecs_to_jiffies",
            "nsecs_to_jiffies64",
        )
    ),
    Twin("ktime_add_safe", "unsigned long", lambda d: (quantity(d), quantity(d))),
    Twin("timespec64_to_jiffies", "unsigned long", lambda d: (timespec(d),)),
    Twin("jiffies_to_timespec64", "void", lambda d: (quantity(d), bytes(16))),
    Twin("set_normalized_timespec64", "void", lambda d: (
        bytes(16), d.getrandbits(32), d.randrange(-(10**10), 10**10) & MASK)),
    Twin("mktime64", "unsigned long", lambda d: (
        d.randrange(1, 5000), d.randrange(1, 13), d.randrange(1, 32), d.randrange(24), d.randrange(60),
        d.randrange(60),
    )),
    Twin("time64_to_tm", "void", lambda d: (
        d.randrange(-(1 << 58), 1 << 58) >> d.randrange(58) & MASK, d.randrange(1 << 17) - (1 << 16) & MASK,
        bytes(56),
    )),
]  # fmt: skip

ARG = 32
"""Where struct kernel_param has its ``arg``, behind all that setting and getting does not look at."""
KINDS = ("byte", "short", "ushort", "int", "uint", "long", "ulong", "ullong", "hexint")

PARAMETERS = [
    *(Twin(f"param_set_{kind}", "int", lambda d: (number(d), Ref(EMPTY, ARG))) for kind in KINDS),
    *(Twin(f"param_get_{kind}", "int", lambda d: (ROOM, Ref(d.randbytes(8), ARG))) for kind in KINDS),
    *(
        Twin(f"param_set_{kind}", "int", lambda d: (
            d.choice([b"", word(d, b"yYnN10oOfFx", 3)]) or 0, Ref(d.choice([b"\1", b"\0"]) + bytes(7), ARG)))
        for kind in ("bool", "invbool", "bool_enable_only", "bint")
    ),
    *(
        Twin(f"param_get_{kind}", "int", lambda d: (ROOM, Ref(d.choice([b"\1", b"\0"]) + bytes(7), ARG)))
        for kind in ("bool", "invbool")
    ),
]  # fmt: skip


@pytest.mark.parametrize("twin", TIMES, ids=str)
def test_times(run: Run, twin: Twin) -> None:
    assert differences(run, twin) == []


@pytest.mark.parametrize("twin", PARAMETERS, ids=str)
def test_parameters(run: Run, booted: Kernel, twin: Twin) -> None:
    assert booted.core.types.offset("kernel_param", "arg") == ARG
    assert differences(run, twin) == []
