"""Units of time: kernel/time/time.c, kernel/time/timeconv.c."""

from __future__ import annotations

import struct

from tests.kernel.twins.twin import Dice, Twin

MASK = (1 << 64) - 1


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
