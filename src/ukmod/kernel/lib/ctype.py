"""The table used by the macros isdigit(), isspace() and so on: lib/ctype.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kmod.nextarg import SPACES

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

UPPER, LOWER, DIGIT, CONTROL, PUNCTUATION, SPACE, HEX, BLANK = (1 << bit for bit in range(8))
"""include/linux/ctype.h: _U _L _D _C _P _S _X _SP"""
_MULTIPLICATION, _DIVISION = 0xD7, 0xF7
"""The two Latin-1 signs within the range of its letters."""


def _class_of(byte: int) -> int:
    letter = chr(byte)
    if byte < 0x20 or byte == 0x7F:
        return CONTROL | (SPACE if byte in SPACES else 0)
    if letter == " " or byte == 0xA0:
        return SPACE | BLANK
    if 0x7F < byte < 0xA0:
        return 0
    if letter in "0123456789":
        return DIGIT
    if byte >= 0xC0 and byte not in {_MULTIPLICATION, _DIVISION}:
        return UPPER if byte < 0xDF else LOWER
    if letter.isascii() and letter.isalpha():
        return (UPPER if letter.isupper() else LOWER) | (HEX if letter in "abcdefABCDEF" else 0)
    return PUNCTUATION


CTYPE: Final = bytes(_class_of(byte) for byte in range(256))

_LOWER: Final = bytes(byte + 0x20 if CTYPE[byte] & UPPER else byte for byte in range(256))


def lower(text: bytes) -> bytes:
    """tolower() of each byte, including Latin-1 letters."""
    return text.translate(_LOWER)


def export_table(k: Core) -> None:
    """Export ``_ctype``."""
    k.memory.write(k.symbols.add_variable("_ctype", len(CTYPE)), CTYPE)
