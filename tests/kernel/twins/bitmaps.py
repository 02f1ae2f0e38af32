"""Bitmaps: lib/bitmap.c, lib/find_bit.c, lib/hweight.c."""

from __future__ import annotations

from collections.abc import Callable

from tests.kernel.twins.twin import Argument, Dice, Twin, User, word

BITS = 192


# -- bitmaps ----------------------------------------------------------------------------------------------


def bitmap(dice: Dice) -> bytes:
    """Any bits, few, many, none or all."""
    some, others = dice.getrandbits(BITS), dice.getrandbits(BITS)
    return dice.choice([some, some & others, some | others, 0, (1 << BITS) - 1]).to_bytes(BITS // 8, "little")


def bits(dice: Dice) -> int:
    """A length, most at the edge of a word."""
    return dice.choice([0, 1, 7, 63, 64, 65, 127, 128, 130, 190, BITS])


def maps(dice: Dice, count: int) -> list[bytes]:
    return [bitmap(dice) for _ in range(count)]


def span(dice: Dice) -> tuple[int, int, int]:
    """A length, and two numbers whose sum does not exceed it."""
    size = bits(dice)
    first = dice.randrange(size + 1)
    return size, first, dice.randrange(size - first + 1)


def bit_list(dice: Dice) -> bytes:
    """What bitmap_parselist() reads, and what it does not."""

    def region() -> bytes:
        low, high = dice.randrange(90), dice.randrange(140)
        spans = [b"%d" % high, b"%d-%d" % (low, high), b"%d-%d:%d/%d" % (low, high, low % 5, high % 6)]
        words = [
            b"all",
            b"All:1/2",
            b"N",
            b"0-N",
            b"N-N:1/2",
            b"4294967296",
            word(dice, b"0123-,:/aN \n", 5)[:-1],
        ]
        return dice.choice([*spans, *spans, *words])

    mark = dice.choice([b",", b",", b" ", b", ", b"\n", b",,"])
    return mark.join(region() for _ in range(dice.randrange(4))) + dice.choice([b"", b"\n", b" "]) + b"\0"


def hex_map(dice: Dice) -> bytes:
    """What bitmap_parse() reads, and what it does not."""

    def chunk() -> bytes:
        some = dice.getrandbits(dice.randrange(1, 34))
        return dice.choice([b"%x" % some, b"%08X" % some, b"", word(dice, b"0123fgF, \n", 5)[:-1]])

    mark = dice.choice([b",", b",", b"\n", b" "])
    return mark.join(chunk() for _ in range(dice.randrange(6))) + dice.choice([b"", b"\n", b" "]) + b"\0"


def hex_parse(dice: Dice) -> tuple[Argument, ...]:
    text = hex_map(dice)
    return text, dice.choice([len(text) - 1, len(text), 0xFFFF_FFFF, 5]), bitmap(dice), max(bits(dice), 1)


def hex_parse_user(dice: Dice) -> tuple[Argument, ...]:
    text = hex_map(dice)
    return (
        User(text),
        dice.choice([len(text) - 1, len(text) - 1, 0, 5, 100]),
        bitmap(dice),
        max(bits(dice), 1),
    )


def shifted(dice: Dice) -> tuple[Argument, ...]:
    size, first, _ = span(dice)
    return *maps(dice, 2), first, size


def cut(dice: Dice) -> tuple[Argument, ...]:
    size, first, length = span(dice)
    return *maps(dice, 2), first, length, size


def operation(count: int) -> Callable[[Dice], tuple[Argument, ...]]:
    """``count`` maps and their length."""
    return lambda dice: (*maps(dice, count), bits(dice))


BITMAPS = [
    *(Twin(name, "bool", operation(3)) for name in ("__bitmap_and", "__bitmap_andnot")),
    *(Twin(name, "void", operation(3)) for name in ("__bitmap_or", "__bitmap_xor")),
    *(
        Twin(name, "bool", lambda d: (one := bitmap(d), d.choice([one, bitmap(d)]), bits(d)))
        for name in ("__bitmap_equal", "__bitmap_intersects", "__bitmap_subset")
    ),
    Twin("__bitmap_complement", "void", operation(2)),
    Twin("__bitmap_replace", "void", operation(4)),
    *(Twin(name, "void", shifted) for name in ("__bitmap_shift_right", "__bitmap_shift_left")),
    Twin("bitmap_cut", "void", cut),
    Twin("__bitmap_weight", "unsigned int", operation(1)),
    Twin("__bitmap_weight_and", "unsigned int", operation(2)),
    *(
        Twin(name, "void", lambda d: (bitmap(d), *span(d)[1:]))
        for name in ("__bitmap_set", "__bitmap_clear")
    ),
    *(
        Twin(name, "unsigned long", operation(1))
        for name in ("_find_first_bit", "_find_first_zero_bit", "_find_last_bit")
    ),
    Twin("_find_first_and_bit", "unsigned long", operation(2)),
    *(
        Twin(name, "unsigned long", lambda d: (bitmap(d), bits(d), d.randrange(200)))
        for name in ("_find_next_bit", "_find_next_zero_bit")
    ),
    *(
        Twin(name, "unsigned long", lambda d: (*maps(d, 2), bits(d), d.randrange(200)))
        for name in ("_find_next_and_bit", "_find_next_andnot_bit")
    ),
    *(
        Twin(f"{name}_le", "unsigned long", lambda d: (bitmap(d), bits(d), d.randrange(200)), native=name)
        for name in ("_find_next_bit", "_find_next_zero_bit")
    ),
    Twin("_find_first_zero_bit_le", "unsigned long", operation(1), native="_find_first_zero_bit"),
    Twin("find_next_clump8", "unsigned long", lambda d: (
        bytes(8), bitmap(d), d.choice([64, 128, BITS]), d.randrange(24) * 8)),
    Twin("bitmap_find_next_zero_area_off", "unsigned long", lambda d: (
        bitmap(d), bits(d), d.randrange(100), d.randrange(1, 9), (1 << d.randrange(5)) - 1, d.randrange(4),
    ), 200),
    Twin("bitmap_find_free_region", "int", lambda d: (bitmap(d), bits(d), d.randrange(6))),
    Twin("bitmap_allocate_region", "int", lambda d: (bitmap(d), d.randrange(4) * 32, d.randrange(6))),
    Twin("bitmap_release_region", "void", lambda d: (bitmap(d), d.randrange(4) * 32, d.randrange(6))),
    *(Twin(name, "void", operation(2)) for name in ("bitmap_from_arr32", "bitmap_to_arr32")),
    Twin("bitmap_print_to_pagebuf", "int", lambda d: (d.randrange(2), bytes(512), bitmap(d), bits(d))),
    Twin("bitmap_parselist", "int", lambda d: (bit_list(d), bitmap(d), d.choice([64, 128, 130, BITS])), 300),
    Twin("bitmap_parse", "int", hex_parse, 300),
    Twin("bitmap_parse_user", "int", hex_parse_user, 300),
    Twin("__sw_hweight8", "unsigned int", lambda d: (d.getrandbits(8),), native="__sw_hweight32"),
    Twin("__sw_hweight16", "unsigned int", lambda d: (d.getrandbits(16),), native="__sw_hweight32"),
    Twin("__sw_hweight32", "unsigned int", lambda d: (d.getrandbits(32),)),
    Twin("__sw_hweight64", "unsigned long", lambda d: (d.getrandbits(64),)),
]  # fmt: skip
