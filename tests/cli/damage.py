"""What may have been done to a file: it is cut off, bits are turned, tables lie, parts are there twice."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

NUMBERS: Final = (
    *(0, 1, 2, 7, 8, 63, 64, 255, 256, 4095, 4096, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1),
    *(1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 0xFFFF_FFFF_8100_0000),
)
"""Sizes, counts and offsets that a careless reader takes for what they are not."""
WORDS: Final = (
    *map(str.encode, (
        *("\0", "\n", "\\\n", "\r", "#", "=", ".", ":", ",", "/", "../", "~", "\x1b[2J", "\u202e", "\x7f"),
        *("\"", "'", "`", "$", "$(", "(", "{", "}", "%s", "*", "?", "[", "]", "[[:"),
        *("-1", "1e999", "NaN", "0x", "9" * 400),
        *("null", "true", "[]", "{}", '{"a":', '""', "softdep a pre: a\n", "alias * a\n", "install a a\n"),
    )),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"\x80" * 9),
)  # fmt: skip
"""What ends, begins or nests something in one of the languages of the files that are read."""

Damage = Callable[[bytearray, random.Random], None]


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere, but often in the first kilobyte, where headers are, or in the last."""
    size = len(data)
    return chance.choice((
        chance.randrange(size), chance.randrange(min(size, 64)), chance.randrange(min(size, 1024)),
        size - 1 - chance.randrange(min(size, 1024)),
    ))  # fmt: skip


def _part(data: bytearray, chance: random.Random) -> slice:
    start = _place(data, chance)
    return slice(start, start + chance.choice((1, 2, 4, 8, 16, 64, 512, 4096, len(data))))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _lie(data: bytearray, chance: random.Random) -> None:
    """Some number of the file is another one."""
    number, form = chance.choice(NUMBERS), chance.choice(("<Q", "<I", "<I", "<H", ">I", ">H", "<B"))
    size = struct.calcsize(form)
    at = _place(data, chance) // size * size
    data[at : at + size] = struct.pack(form, number & (1 << 8 * size) - 1)


def _move(data: bytearray, chance: random.Random) -> None:
    """A number is a little off."""
    at = _place(data, chance) // 4 * 4
    number = int.from_bytes(data[at : at + 4], "little") + chance.choice((-8, -4, -1, 1, 4, 8, 24, 64))
    data[at : at + 4] = (number & 0xFFFF_FFFF).to_bytes(4, "little")


def _wipe(data: bytearray, chance: random.Random) -> None:
    part = _part(data, chance)
    data[part] = bytes((chance.choice((0, 0, 255, 32, 10, 65)),)) * len(data[part])


def _repeat(data: bytearray, chance: random.Random) -> None:
    part = _part(data, chance)
    often = 1000 if part.stop - part.start < 100 else 1
    data[part.stop : part.stop] = data[part] * chance.choice((1, 2, 10, often))


def _leave_out(data: bytearray, chance: random.Random) -> None:
    del data[_part(data, chance)]


def _copy(data: bytearray, chance: random.Random) -> None:
    """A part is over another one."""
    part, at = data[_part(data, chance)], _place(data, chance)
    data[at : at + len(part)] = part


def _insert(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = chance.choice(WORDS) * chance.choice((1, 1, 1, 2, 100, 20_000))


def _lines(data: bytearray, chance: random.Random) -> None:
    """Lines change places, or one is there often."""
    lines = data.split(b"\n")
    if chance.random() < 0.5:
        chance.shuffle(lines)
    else:
        at = chance.randrange(len(lines))
        lines[at:at] = [lines[at]] * chance.choice((1, 10, 1000))
    data[:] = b"\n".join(lines)


def _word(data: bytearray, chance: random.Random) -> None:
    """A word becomes another one of the file, or one of WORDS."""
    words = bytes(data[: 1 << 16]).split()
    if words:
        old, new = chance.choice(words), chance.choice((chance.choice(words), chance.choice(WORDS)))
        at = data.find(old)
        data[at : at + len(old)] = new


DAMAGES: Final[tuple[Damage, ...]] = (
    _cut, _flip, _flip, _lie, _lie, _lie, _move, _wipe, _repeat, _leave_out, _copy, _insert, _insert,
    _lines, _word,
)  # fmt: skip


def damaged(sample: bytes, seed: int) -> bytes:
    """A file to which some of these things were done, as the seed has it."""
    chance = random.Random(seed)
    data = bytearray(sample)
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        if data:
            chance.choice(DAMAGES)(data, chance)
    return bytes(data)
