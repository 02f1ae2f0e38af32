"""Command lines and option strings: lib/cmdline.c."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.lib.kstrtox import fixup_radix, parse_integer
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kmod.nextarg import cut
from ukmod.machine.abi import Int, Ptr, ULongLong
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_SUFFIXES = {b"K": 10, b"M": 20, b"G": 30, b"T": 40, b"P": 50, b"E": 60}


def parse_memory(text: bytes) -> tuple[int, int]:
    """Parse a number with an optional suffix K to E: its value and the length of its text (memparse())."""
    base, skip = fixup_radix(text, 0)
    value, length = parse_integer(text[skip:], base)
    end = skip + length
    if (shift := _SUFFIXES.get(text[end : end + 1].upper())) is not None:
        return value << shift, end + 1
    return value, end


@export(native=True)
def memparse(k: Core, text: Ptr, end: Ptr) -> ULongLong:
    """``unsigned long long memparse(const char *ptr, char **retptr)``."""
    value, length = parse_memory(k.memory.cstring(text))
    if end:
        k.memory.set_u64(end, text + length)
    return value


class Found(IntEnum):
    """The result of get_option()."""

    NOTHING = 0
    LAST = 1
    COMMA = 2
    """A number followed by a comma, which is consumed."""
    RANGE = 3
    """A number followed by a hyphen."""


@record
class OptionNumber:
    """The number at the start of an option string: an int, 0 if there is none."""

    number: int
    found: Found
    length: int
    """The number of characters consumed, including a leading hyphen that no digit follows."""


def parse_option(text: bytes) -> OptionNumber:
    """The first number of ``1,3-5``: get_option()."""
    negative = text[:1] == b"-"
    base, skip = fixup_radix(text[negative:], 0)
    value, digits = parse_integer(text[negative + skip :], base)
    number = signed(-value if negative else value, 4)
    length = negative + skip + digits
    if not skip + digits:
        return OptionNumber(number, Found.NOTHING, length)
    match text[length : length + 1]:
        case b",":
            return OptionNumber(number, Found.COMMA, length + 1)
        case b"-":
            return OptionNumber(number, Found.RANGE, length)
        case _:
            return OptionNumber(number, Found.LAST, length)


@export(image_first=True)
def get_option(k: Core, at: Ptr, result: Ptr) -> Int:
    """``int get_option(char **str, int *pint)``: 0 no number, 1 the last, 2 a comma follows, 3 a range."""
    memory = k.memory
    text = memory.u64(at)
    if not text or not memory.u8(text):
        return Found.NOTHING
    option = parse_option(memory.cstring(text))
    memory.set_u64(at, text + option.length)
    if result:
        memory.set_u32(result, option.number)
    return option.found


@record
class OptionNumbers:
    """The numbers of an option string: get_options()."""

    stored: list[int]
    """The numbers that fitted, then the start of a descending range, if one ended the list."""
    count: int
    """The number of all values, whether they fitted or not."""
    end: int
    """The offset at which parsing stopped."""


def parse_options(text: bytes, room: int | None) -> OptionNumbers:
    """Parse ``1,3-5``, expanding ranges, until ``room`` is used up (None: count all, store none)."""
    stored: list[int] = []
    at = count = 0
    while at < len(text) and (room is None or count < room):
        option = parse_option(text[at:])
        at += option.length
        number, left = option.number, 0 if room is None else room - count
        stored[count:] = [number] if left else []
        if option.found == Found.NOTHING:
            break
        if option.found == Found.RANGE:
            at += 1
            upper = parse_option(text[at:]).number  # this number is also parsed again as the next one
            if upper < number:
                break
            stored[count:] = [*range(number, min(upper, number + left))] or stored[count:]
            count += upper - number
            continue
        count += 1
        if option.found == Found.LAST:
            break
    return OptionNumbers(stored, count, at)


@export(image_first=True)
def get_options(k: Core, text: Ptr, room: Int, ints: Ptr) -> Ptr:
    """``char *get_options(const char *str, int nints, int *ints)``: ``ints[0]`` is the count."""
    options = parse_options(k.memory.cstring(text), room - 1 if room else None)
    for index, number in enumerate(options.stored, 1):
        k.memory.set_u32(ints + 4 * index, number)
    k.memory.set_u32(ints, options.count)
    return text + options.end


@export("next_arg", native=True)
def next_arg_export(k: Core, line: Ptr, name: Ptr, value: Ptr) -> Ptr:
    """``char *next_arg(char *args, char **param, char **val)``: splits the line in place."""
    cuts = cut(k.memory.cstring(line))
    for end in cuts.ends:
        k.memory.set_u8(line + end, 0)
    k.memory.set_u64(name, line + cuts.name)
    k.memory.set_u64(value, 0 if cuts.value is None else line + cuts.value)
    return line + cuts.rest
