"""Bitmaps, sscanf() and snprintf(): the image's own and those in Python give the same."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from tests.kernel.image.computing import Argument, Dice, Image, Run, Twin, differences, word

pytestmark = pytest.mark.real

BITS = 192
ROOM = b"q" * 300


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
    Twin("__sw_hweight32", "unsigned int", lambda d: (d.getrandbits(32),)),
    Twin("__sw_hweight64", "unsigned long", lambda d: (d.getrandbits(64),)),
]  # fmt: skip


@pytest.mark.parametrize("twin", BITMAPS, ids=str)
def test_bitmaps(run: Run, twin: Twin) -> None:
    assert differences(run, twin) == []


# -- sscanf -----------------------------------------------------------------------------------------------

CONVERSIONS = (
    b"%d %i %u %x %X %o %hhd %hu %lld %lx %zu %Lx %3d %2x %5i %1i %2i %0d %s %3s %c %2c %n %hn %*d %*s "
    b"%4[a-c] %4[abc1] %5[^ab,] %[ab] %*[a] %% %p %-d"
).split()
WORDS = b"12 -7 +5 0x1f 0X 0x 017 08 0xg fFg 99999999999 - abc a1 , x %".split()


def scan(dice: Dice) -> tuple[Argument, ...]:
    fmt = [
        dice.choice(CONVERSIONS) + dice.choice([b"", b"", b" ", b","]) for _ in range(dice.randrange(1, 5))
    ]
    text = [dice.choice(WORDS) + dice.choice([b"", b" ", b"\t", b","]) for _ in range(dice.randrange(6))]
    return b"".join(text) + b"\0", b"".join(fmt) + b"\0", *[b"q" * 40] * 4


# -- snprintf ---------------------------------------------------------------------------------------------


def plain_format(dice: Dice) -> tuple[Argument, ...]:
    """Conversions of C, with any flags, and a buffer that may be too small."""
    fmt: list[bytes] = []
    values: list[int | bytes] = []
    for _ in range(dice.randrange(1, 4)):
        flags = dice.choice([b"", b"-", b"0", b"#", b"+", b" ", b"#0", b"-0", b"+0"])
        width = dice.choice([b"", b"", b"5", b"12"]) + dice.choice([b"", b".0", b".3", b".10", b"."])
        kind = dice.choice([b"d", b"u", b"x", b"X", b"o", b"i", b"c", b"s", b"%"])
        fmt.append(b"%" + flags + width + dice.choice([b"", b"l", b"h", b"hh", b"ll", b"z"]) + kind)
        if kind == b"s":
            values.append(dice.choice([b"hello\0", b"\0", b"a\0"]))
        elif kind != b"%":
            values.append(dice.getrandbits(dice.randrange(1, 65)))
    return b"q" * 60, dice.choice([60, 60, 60, 5, 1, 0]), b"<%s>\0" % b"|".join(fmt), *values


POINTERS = (
    b"%pM %pMR %pMF %pm %pmR %20pM %pI4 %pi4 %pI4h %pI4n %-20pI4| %pI6 %pi6 %pI6c %20pI6c %pUb %pUB %pUl "
    b"%pUL %*ph %*phC %*phD %*phN %4ph %8phN %*pE %*pEn %*pEh %*pEhp %*pEo %pEa %*pbl %*pb %pISpc %pIS "
    b"%pIShpc %pISfsc %p4cc %pad %pap %pa %ptR %ptRd %ptRt %ptRr %ptTs %ptTd %ptTsr %pt %px %pe"
).split()


def socket_address(dice: Dice) -> bytes:
    """A struct sockaddr of IPv4, IPv6 or neither."""
    mapped = bytes(10) + b"\xff\xff\1\2\3\4" + bytes(4)
    rest = [dice.randbytes(30), bytes(30), b"\x12\x34" + dice.randbytes(4) + mapped + bytes(4)]
    return struct.pack("<H", dice.choice([1, 2, 10])) + dice.choice(rest)


def pointer_format(dice: Dice) -> tuple[Argument, ...]:
    """Conversions of the kernel's, and something they can point to."""
    fmt = dice.choice(POINTERS)
    content = dice.choice([
        dice.randbytes(32),
        bytes(16) + dice.randbytes(16),
        socket_address(dice),
        b"\x20\x01\x0d\xb8" + bytes(6) + b"\x00\x01" + bytes(3) + b"\1" + bytes(16),
        b'ab\n\t"\\\x80\0\1z7' * 3,
        struct.pack("<9i", *(dice.randrange(-70, 3000) for _ in range(9))),
    ])  # fmt: skip
    arguments: tuple[Argument, ...] = (content,)
    if b"*" in fmt:
        arguments = (dice.choice([0, 1, 4, 8, 16, 20, 30]), content)
    elif fmt == b"%px":
        arguments = (dice.getrandbits(64),)
    elif fmt == b"%pe":
        arguments = (-dice.randrange(1, 200) & (1 << 64) - 1,)
    return ROOM, len(ROOM), fmt + b"\0", *arguments


FORMATS = [
    Twin("sscanf", "int", scan, 1000),
    Twin("snprintf", "int", plain_format, 1000),
    Twin("scnprintf", "int", plain_format, 100),
    Twin("snprintf", "int", pointer_format, 1500),
]


@pytest.mark.parametrize("twin", FORMATS, ids=str)
def test_formats(run: Run, twin: Twin) -> None:
    assert differences(run, twin) == []


# -- print_hex_dump ---------------------------------------------------------------------------------------


def test_print_hex_dump(run: Run) -> None:
    """Lines of the log are the same, and their levels."""

    def dump(image: Image) -> list[list[list[object]]]:
        dice, logged = random.Random(1), list[list[object]]()
        image.k.on_record(lambda record: logged.append([record.level, record.text]))
        ours, found = image.k.core.symbols.address("print_hex_dump"), []
        for _ in range(50):
            prefix, data = image.put(dice.choice([b"\0", b"x: \0"])), image.put(dice.randbytes(80))
            rows = dice.choice([0, 16, 32]), dice.choice([1, 2, 3, 4, 8])
            where = dice.choice([0, 2])  # DUMP_PREFIX_NONE and _OFFSET: addresses are hashed with another key
            more = prefix, where, *rows, data, dice.randrange(81), dice.randrange(2)
            for function in (image.native("print_hex_dump"), ours):
                logged.clear()
                image.k.call(function, image.put(b"\x016\0"), *more, returns=None)
                found.append([*logged])
        return found

    lines = run(dump)
    assert lines[::2] == lines[1::2]
    assert sum(map(len, lines)) > 100
