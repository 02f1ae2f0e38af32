"""Command lines and option strings: lib/cmdline.c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.lib.ctype import SPACES
from ukmod.kernel.lib.kstrtox import fixup_radix, parse_integer, simple_number
from ukmod.machine.abi import Int, Ptr, ULongLong

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel

_SUFFIXES = {b"K": 10, b"M": 20, b"G": 30, b"T": 40, b"P": 50, b"E": 60}


@dataclass(frozen=True, slots=True)
class Arg:
    """One parameter of a command line; ``value`` is None where there is no equals sign."""

    name: bytes
    value: bytes | None
    rest: bytes
    """What follows it, without leading spaces."""


def next_arg(line: bytes) -> Arg:
    """Take the first parameter off a line: next_arg().

    Quotes keep spaces together wherever they are, and are removed around the whole and around the value only.
    """
    quoted = line[:1] == b'"'
    text = line[1:] if quoted else line
    end, equals = _scan(text, in_quote=quoted)
    name, value = text[:end], None
    if equals:
        name, value = text[:equals], text[equals + 1 : end]
        if value[:1] == b'"':
            value = value[1:].removesuffix(b'"')
            quoted = False
        elif quoted:
            value = value.removesuffix(b'"')
    elif quoted:
        name = name.removesuffix(b'"')
    return Arg(name, value, text[end + 1 :].lstrip(SPACES))


def _scan(text: bytes, *, in_quote: bool) -> tuple[int, int]:
    """Where the parameter ends and where its first equals sign is; one at the very start does not count."""
    equals = 0
    for at, byte in enumerate(text):
        if byte in SPACES and not in_quote:
            return at, equals
        if byte == ord("=") and not equals:
            equals = at
        if byte == ord('"'):
            in_quote = not in_quote
    return len(text), equals


def parse_memory(text: bytes) -> tuple[int, int]:
    """A number with a suffix K to E: its value and the length of the text it took (memparse())."""
    base, skip = fixup_radix(text, 0)
    value, length = parse_integer(text[skip:], base)
    end = skip + length
    if (shift := _SUFFIXES.get(text[end : end + 1].upper())) is not None:
        return value << shift, end + 1
    return value, end


@export()
def memparse(k: Kernel, text: Ptr, end: Ptr) -> ULongLong:
    """``unsigned long long memparse(const char *ptr, char **retptr)``."""
    value, length = parse_memory(k.memory.cstring(text))
    if end:
        k.memory.set_u64(end, text + length)
    return value


@export()
def get_option(k: Kernel, at: Ptr, result: Ptr) -> Int:
    """``int get_option(char **str, int *pint)``: 0 no number, 1 the last, 2 a comma follows, 3 a range."""
    memory = k.memory
    text = memory.u64(at)
    if not text or not memory.u8(text):
        return 0
    negative = memory.u8(text) == ord("-")
    start = text + negative
    value = simple_number(k, start, at, 0)
    if result:
        memory.set_u32(result, -value if negative else value)
    end = memory.u64(at)
    if end == start:
        return 0
    if memory.u8(end) == ord(","):
        memory.set_u64(at, end + 1)
        return 2
    return 3 if memory.u8(end) == ord("-") else 1


@dataclass(frozen=True, slots=True)
class Options:
    """The numbers of an option string, and where it stopped."""

    numbers: list[int]
    end: int


def parse_options(text: bytes, limit: int) -> Options:
    """``1,3-5``: at most ``limit`` numbers, ranges written out: get_options()."""
    numbers: list[int] = []
    at = 0
    while len(numbers) < limit and at < len(text):
        value, length = _option(text[at:])
        if not length:
            break
        at += length
        numbers.append(value)
        if text[at : at + 1] == b"-":
            upper, length = _option(text[at + 1 :])
            if upper - value < 0:
                numbers.pop()
                at += 1
                break
            at += 1 + length
            numbers += range(value + 1, min(upper, value + limit - len(numbers)) + 1)
        if text[at : at + 1] != b",":
            break
        at += 1
    return Options(numbers, at)


def _option(text: bytes) -> tuple[int, int]:
    negative = text[:1] == b"-"
    base, skip = fixup_radix(text[negative:], 0)
    value, length = parse_integer(text[negative + skip :], base)
    return (-value if negative else value), (negative + skip + length if length or skip else 0)


@export()
def get_options(k: Kernel, text: Ptr, room: Int, ints: Ptr) -> Ptr:
    """``char *get_options(const char *str, int nints, int *ints)``: ``ints[0]`` is how many there are."""
    options = parse_options(k.memory.cstring(text), room - 1 if room else 1 << 16)
    for index, number in enumerate(options.numbers if room else (), 1):
        k.memory.set_u32(ints + 4 * index, number)
    k.memory.set_u32(ints, len(options.numbers))
    return text + options.end


@export("next_arg")
def next_arg_export(k: Kernel, line: Ptr, name: Ptr, value: Ptr) -> Ptr:
    """``char *next_arg(char *args, char **param, char **val)``: cuts the line up in place."""
    memory = k.memory
    text = memory.cstring(line)
    arg = next_arg(text)
    name_at = line + (text[:1] == b'"')
    memory.write(name_at, arg.name + b"\0")
    memory.set_u64(name, name_at)
    if arg.value is None:
        memory.set_u64(value, 0)
    else:
        value_at = name_at + len(arg.name) + 1
        value_at += memory.u8(value_at) == ord('"')
        memory.write(value_at, arg.value + b"\0")
        memory.set_u64(value, value_at)
    return line + len(text) - len(arg.rest)
