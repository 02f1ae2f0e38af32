"""Escaping and unescaping as in C: the rules of lib/string_helpers.c as functions of bytes."""

from __future__ import annotations

import re
from typing import Final

ESCAPE_SPACE: Final = 1 << 0
ESCAPE_SPECIAL: Final = 1 << 1
ESCAPE_NULL: Final = 1 << 2
ESCAPE_OCTAL: Final = 1 << 3
ESCAPE_ANY: Final = ESCAPE_SPACE | ESCAPE_OCTAL | ESCAPE_SPECIAL | ESCAPE_NULL
ESCAPE_NP: Final = 1 << 4
ESCAPE_ANY_NP: Final = ESCAPE_ANY | ESCAPE_NP
ESCAPE_HEX: Final = 1 << 5
ESCAPE_NA: Final = 1 << 6
ESCAPE_NAP: Final = 1 << 7
ESCAPE_APPEND: Final = 1 << 8

_SPACES = {ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t", ord("\v"): b"\\v", ord("\f"): b"\\f"}
_SPECIALS = {ord("\\"): b"\\\\", ord("\a"): b"\\a", 0x1B: b"\\e", ord('"'): b'\\"'}


def isprint(byte: int) -> bool:
    """isprint() according to the kernel's ctype table, which is that of Latin-1."""
    return 0x20 <= byte < 0x7F or byte >= 0xA0


def escape(data: bytes, flags: int, only: bytes = b"") -> bytes:
    """``data`` with the bytes that ``flags`` select escaped as in C: string_escape_mem().

    ``only`` restricts escaping to these bytes; with ESCAPE_APPEND, it adds them to the escaped ones.
    """
    return b"".join(_escaped(byte, flags, only) for byte in data)


def _escaped(byte: int, flags: int, only: bytes) -> bytes:
    plain = bytes((byte,))
    listed = bool(only) and (byte in only or not byte)  # strchr() finds the list's own NUL
    chosen = listed and bool(flags & ESCAPE_APPEND)
    if only and not listed and not flags & ESCAPE_APPEND:
        return plain
    passes = (
        (flags & ESCAPE_NAP and byte < 0x80 and isprint(byte))
        or (flags & ESCAPE_NP and isprint(byte))
        or (flags & ESCAPE_NA and byte < 0x80)
    )
    if passes and not chosen:
        return plain
    if flags & ESCAPE_SPACE and byte in _SPACES:
        return _SPACES[byte]
    if flags & ESCAPE_SPECIAL and byte in _SPECIALS:
        return _SPECIALS[byte]
    if flags & ESCAPE_NULL and not byte:
        return b"\\0"
    if flags & ESCAPE_OCTAL:
        return f"\\{byte:03o}".encode()
    return f"\\x{byte:02x}".encode() if flags & ESCAPE_HEX else plain


UNESCAPE_SPACE: Final = 1 << 0
UNESCAPE_OCTAL: Final = 1 << 1
UNESCAPE_HEX: Final = 1 << 2
UNESCAPE_SPECIAL: Final = 1 << 3
_ESCAPED = re.compile(rb"\\(?:([0-3][0-7]{2}|[0-7]{1,2})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_SPACE_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"f": b"\f"}
_SPECIAL_LETTERS = {b'"': b'"', b"\\": b"\\", b"a": b"\a", b"e": b"\x1b"}


def unescape(text: bytes, flags: int, room: int = 0) -> bytes:
    """Undo the escapes that ``flags`` name: string_unescape().

    The result has ``room`` bytes (0: unlimited); each escape counts as two of them, the NUL as one.
    """
    out = bytearray()
    at, left = 0, room - 1 if room else len(text)
    while at < len(text) and left > 0:
        match = _ESCAPED.match(text, at) if left > 1 else None
        plain, length = _meaning(match, flags) if match else (text[at : at + 1], 1)
        out += plain
        at += length
        left -= 2 if match else 1
    return bytes(out)


def _meaning(match: re.Match[bytes], flags: int) -> tuple[bytes, int]:
    """The bytes an escape stands for, and its length; if not in ``flags``, its first two characters."""
    octal, digits, letter = match.groups()
    whole = len(match.group())
    if octal is not None and flags & UNESCAPE_OCTAL:
        return bytes((int(octal, 8),)), whole
    if digits is not None and flags & UNESCAPE_HEX:
        return bytes((int(digits, 16),)), whole
    if flags & UNESCAPE_SPACE and letter in _SPACE_LETTERS:
        return _SPACE_LETTERS[letter], whole
    if flags & UNESCAPE_SPECIAL and letter in _SPECIAL_LETTERS:
        return _SPECIAL_LETTERS[letter], whole
    return match.group()[:2], 2
