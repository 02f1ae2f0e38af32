"""snprintf(), sscanf() and their kin: lib/vsprintf.c."""

from __future__ import annotations

import struct

from tests.kernel.twins.twin import Argument, Dice, Twin, va_list

ROOM = b"q" * 300


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


def in_va_list(arguments: tuple[Argument, ...], fixed: int) -> tuple[Argument, ...]:
    """The same for the function that takes a va_list."""
    return *arguments[:fixed], va_list(*arguments[fixed:])


FORMATS = [
    Twin("sscanf", "int", scan, 1000),
    Twin("vsscanf", "int", lambda d: in_va_list(scan(d), 2), 200),
    Twin("snprintf", "int", plain_format, 1000),
    Twin("vsnprintf", "int", lambda d: in_va_list(plain_format(d), 3), 200),
    Twin("scnprintf", "int", plain_format, 100),
    Twin("vscnprintf", "int", lambda d: in_va_list(plain_format(d), 3), 100),
    Twin("sprintf", "int", lambda d: (ROOM, *plain_format(d)[2:])),
    Twin("vsprintf", "int", lambda d: in_va_list((ROOM, *plain_format(d)[2:]), 2)),
    Twin("snprintf", "int", pointer_format, 1500, about="pointers"),
]
