"""Ring buffers: lib/kfifo.c."""

from __future__ import annotations

from tests.kernel.twins.twin import Argument, Dice, Twin, Words, words


def fifo(dice: Dice) -> tuple[Words, int]:
    """A struct __kfifo that is somewhat full, with indexes that may wrap, and the size of an element."""
    size, element = dice.choice([2, 4, 8]), dice.choice([1, 2, 3, 4])
    out = dice.choice([0, 3, (1 << 32) - 2])
    used = dice.randrange(size + 1)
    counts, shape = (out + used & 0xFFFF_FFFF) | out << 32, size - 1 | element << 32
    return words(counts, shape, dice.randbytes(size * element)), element


def access(dice: Dice) -> tuple[Argument, ...]:
    """A buffer for so many elements, all of which may not be there or not fit."""
    ring, element = fifo(dice)
    count = dice.randrange(10)
    return ring, dice.randbytes(count * element), count


KFIFOS = [
    *(Twin(name, "unsigned int", access) for name in ("__kfifo_in", "__kfifo_out", "__kfifo_out_peek")),
    Twin("__kfifo_init", "int", lambda d: (fifo(d)[0], bytes(64), d.randrange(64), d.randrange(1, 9))),
]
