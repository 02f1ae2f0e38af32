"""The pure part of vsnprintf(): parsing format strings, and formatting numbers and strings.

Nothing here accesses guest memory; vsprintf.py reads the arguments and follows the pointers. The rules come
from lib/vsprintf.c and Documentation/core-api/printk-formats.rst.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final

from ukmod.record import record, replace

LEFT: Final = 1
PLUS: Final = 2
SPACE: Final = 4
ZEROPAD: Final = 16
SMALL: Final = 32
SPECIAL: Final = 64
SIGN: Final = 128

FIELD_WIDTH_MAX: Final = (1 << 23) - 1
PRECISION_MAX: Final = (1 << 15) - 1

_FLAGS = {ord("-"): LEFT, ord("+"): PLUS, ord(" "): SPACE, ord("#"): SPECIAL, ord("0"): ZEROPAD}
_DIGITS = b"0123456789"
_HEX_UPPER, _HEX_LOWER = "0123456789ABCDEF", "0123456789abcdef"


class FormatType(Enum):
    """The kind of value that a conversion prints."""

    CHAR = "c"
    STR = "s"
    PTR = "p"
    PERCENT = "%"
    NUMBER = "number"
    INVALID = "invalid"
    """An unknown conversion: the rest of the format is dropped."""


@record
class Spec:
    """One conversion: struct printf_spec.

    ``size`` is the size of a number's argument in bytes. ``extension`` holds the letters after ``%p``; for an
    invalid conversion, the offending character. A width or precision of -1 was not given.
    """

    kind: FormatType
    flags: int = 0
    width: int = -1
    precision: int = -1
    base: int = 10
    size: int = 4
    extension: bytes = b""
    star_width: bool = False
    star_precision: bool = False

    def with_width(self, width: int) -> Spec:
        """The spec with a width given as an argument; a negative one means left-justified.

        One that does not fit into the kernel's 24 bits is cut to the largest that does.
        """
        left = LEFT if width < 0 else 0
        return replace(self, width=min(abs(width), FIELD_WIDTH_MAX), flags=self.flags | left)

    def with_precision(self, precision: int) -> Spec:
        """The spec with a precision given as an argument; a negative one counts as 0, unlike in C.

        One that does not fit into the kernel's 16 bits is cut to the largest that does.
        """
        return replace(self, precision=min(max(precision, 0), PRECISION_MAX))


Piece = bytes | Spec
"""A part of a format: literal text, or a conversion."""

PLAIN: Final = Spec(FormatType.NUMBER)
FLAG_SPEC: Final = Spec(FormatType.NUMBER, SPECIAL | SMALL, width=0, base=16)
"""default_flag_spec: bits without a name."""
_SIZES = {
    b"hh": 1,
    b"h": 2,
    b"": 4,
    b"l": 8,
    b"ll": 8,
    b"L": 8,
    b"LL": 8,
    b"z": 8,
    b"zz": 8,
    b"t": 8,
    b"tt": 8,
}


class _Cursor:
    """A position in a format; past its end it reads a NUL, as in C."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> int:
        return self.text[self.at] if self.at < len(self.text) else 0

    def number(self) -> int:
        start = self.at
        while self.peek() in _DIGITS and self.peek():
            self.at += 1
        # The kernel's int wraps; 10**32 is a multiple of 2**32.
        return signed(int(self.text[max(start, self.at - 32) : self.at]), 4)

    def starts_number(self) -> bool:
        return bool(self.peek()) and self.peek() in _DIGITS

    def take(self, byte: int) -> bool:
        if self.peek() != byte:
            return False
        self.at += 1
        return True


@lru_cache(maxsize=4096)
def parse(fmt: bytes) -> tuple[Piece, ...]:
    """Split a format as repeated calls of format_decode() do. Nothing follows an invalid conversion."""
    pieces: list[Piece] = []
    cursor = _Cursor(fmt)
    while cursor.at < len(fmt):
        percent = fmt.find(b"%", cursor.at)
        if percent < 0:
            pieces.append(fmt[cursor.at :])
            break
        if percent > cursor.at:
            pieces.append(fmt[cursor.at : percent])
        cursor.at = percent + 1
        spec = _conversion(cursor)
        pieces.append(spec)
        if spec.kind is FormatType.INVALID:
            break
    return tuple(pieces)


def _conversion(cursor: _Cursor) -> Spec:
    flags = 0
    while flag := _FLAGS.get(cursor.peek(), 0):
        flags |= flag
        cursor.at += 1
    width = precision = -1
    star_width = star_precision = False
    if cursor.starts_number():
        width = signed(cursor.number(), 3)  # a bit field, which keeps the low bits without a warning
    else:
        star_width = cursor.take(ord("*"))
    if cursor.take(ord(".")):
        if cursor.starts_number():
            precision = max(signed(cursor.number(), 2), 0)
        else:
            star_precision = cursor.take(ord("*"))
    qualifier = _qualifier(cursor)
    kind = _kind(cursor)
    return replace(
        kind if kind.kind is not FormatType.NUMBER else replace(kind, size=_SIZES[qualifier]),
        flags=kind.flags | flags,
        width=width,
        precision=precision,
        star_width=star_width,
        star_precision=star_precision,
    )


def _qualifier(cursor: _Cursor) -> bytes:
    first = cursor.peek()
    if first not in b"hlLzt" or not first:
        return b""
    cursor.at += 1
    # Only "ll" and "hh" have two letters.
    if first in b"hl" and cursor.take(first):
        return bytes((first, first))
    return bytes((first,))


_KINDS = {
    ord("c"): Spec(FormatType.CHAR),
    ord("s"): Spec(FormatType.STR),
    ord("%"): Spec(FormatType.PERCENT),
    ord("o"): Spec(FormatType.NUMBER, base=8),
    ord("x"): Spec(FormatType.NUMBER, SMALL, base=16),
    ord("X"): Spec(FormatType.NUMBER, base=16),
    ord("d"): Spec(FormatType.NUMBER, SIGN),
    ord("i"): Spec(FormatType.NUMBER, SIGN),
    ord("u"): Spec(FormatType.NUMBER),
}


def _kind(cursor: _Cursor) -> Spec:
    letter = cursor.peek()
    if letter == ord("p"):
        start = cursor.at = cursor.at + 1
        while chr(cursor.peek()).isalnum() and cursor.peek() < 0x80:
            cursor.at += 1
        return Spec(FormatType.PTR, extension=cursor.text[start : cursor.at])
    if (spec := _KINDS.get(letter)) is None:
        return Spec(FormatType.INVALID, extension=bytes((letter,)))
    cursor.at += 1
    return spec


def number(value: int, spec: Spec) -> bytes:
    """Format an integer as ``spec`` requires: number(). ``value`` is signed if it is to be printed so."""
    flags, width, precision = spec.flags, spec.width, spec.precision
    if flags & LEFT:
        flags &= ~ZEROPAD
    sign = ""
    if flags & SIGN:
        sign = "-" if value < 0 else "+" if flags & PLUS else " " if flags & SPACE else ""
    prefix = ""
    if flags & SPECIAL and spec.base == 16:
        prefix = "0x" if flags & SMALL else "0X"
    elif flags & SPECIAL and spec.base == 8 and value:
        prefix = "0"
    text = _digits(abs(value), spec.base, upper=not flags & SMALL).rjust(precision, "0")
    room = width - len(sign) - len(prefix) - len(text)
    if flags & ZEROPAD:
        text = "0" * room + text
    elif flags & LEFT:
        return f"{sign}{prefix}{text}{' ' * room}".encode()
    else:
        sign = " " * room + sign
    return f"{sign}{prefix}{text}".encode()


def _digits(value: int, base: int, *, upper: bool) -> str:
    if base == 10:
        return str(value)
    return f"{value:o}" if base == 8 else f"{value:X}" if upper else f"{value:x}"


def pad(text: bytes, spec: Spec) -> bytes:
    """``text`` padded to the field width: widen_string()."""
    return text.ljust(spec.width) if spec.flags & LEFT else text.rjust(spec.width)


def cut(text: bytes, spec: Spec) -> bytes:
    """``text`` cut to the precision, if given, and padded to the field width: string_nocheck()."""
    return pad(text if spec.precision < 0 else text[: spec.precision], spec)


def signed(value: int, size: int) -> int:
    """The low ``size`` bytes of ``value`` in two's complement."""
    bits = 8 * size
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
