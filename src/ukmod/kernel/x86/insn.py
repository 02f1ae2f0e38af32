"""The lengths of x86-64 instructions, to read code from its first instruction on: arch/x86/lib/insn.c."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PREFIXES: Final = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
"""The bytes that may precede an opcode, REX aside."""
_OPERAND_SIZE: Final = 0x66
_REX_W: Final = 8
MAX_LENGTH: Final = 15
"""The most bytes that an instruction may have."""

# What follows an opcode: M is a ModRM byte; 1, 2 and 8 are an immediate of so many bytes; z is one of 4 bytes
# (2 with the prefix 0x66); v is the same, or 8 bytes with REX.W; g and h are TEST's immediate of 1 byte or as
# z, in a group whose other instructions have none; x is no instruction in 64-bit mode.
_ONE_BYTE: Final = (
    *(["M"] * 4 + ["1", "z", "x", "x"]) * 8,
    *["-"] * 32,  # REX, PUSH, POP
    *("x", "x", "x", "M", "-", "-", "-", "-", "z", "Mz", "1", "M1", "-", "-", "-", "-"),
    *["1"] * 16,
    *("M1", "Mz", "x", "M1", *["M"] * 12),
    *(*["-"] * 10, "x", *["-"] * 5),
    *("8", "8", "8", "8", "-", "-", "-", "-", "1", "z", *["-"] * 6),
    *(*["1"] * 8, *["v"] * 8),
    *("M1", "M1", "2", "-", "x", "x", "M1", "Mz", "21", "-", "2", "-", "-", "1", "x", "-"),
    *("M", "M", "M", "M", "x", "x", "x", "-", *["M"] * 8),
    *(*["1"] * 8, "z", "z", "x", "1", *["-"] * 4),
    *("-", "-", "-", "-", "-", "-", "Mg", "Mh", *["-"] * 6, "M", "M"),
)
_TWO_BYTES_BARE: Final = frozenset(
    (*range(0x05, 0x0A), 0x0B, 0x0E, *range(0x30, 0x38), 0x77, *range(0xA0, 0xA3), *range(0xA8, 0xAB),
     *range(0xC8, 0xD0))
)  # fmt: skip
_TWO_BYTES_IMMEDIATE: Final = frozenset((0x0F, *range(0x70, 0x74), 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6))
_IMMEDIATES: Final = {"1": 1, "2": 2, "8": 8}


def length(code: bytes, at: int = 0) -> int:
    """The length in bytes of the instruction at ``code[at:]``; 0 if it is cut off or is not one."""
    try:
        end = _end(code, at)
    except IndexError:
        return 0
    return end - at if at < end <= len(code) and end - at <= MAX_LENGTH else 0


def starts(code: bytes) -> Iterator[int]:
    """The offsets of instructions, one after the other, up to the first bytes that are not an instruction."""
    at = 0
    while at < len(code) and (size := length(code, at)):
        yield at
        at += size


def _end(code: bytes, at: int) -> int:
    word = rex = False
    while code[at] in PREFIXES:
        word = word or code[at] == _OPERAND_SIZE
        at += 1
    if code[at] & 0xF0 == 0x40:
        rex = bool(code[at] & _REX_W)
        at += 1
    opcode = code[at]
    if opcode in (0xC4, 0xC5, 0x62):
        return _vector_end(code, at)
    if opcode == 0x0F:
        return _two_byte_end(code, at + 1)
    at += 1
    form = _ONE_BYTE[opcode]
    if form == "x":
        return 0
    size = 2 if word and not rex else 4
    group = 0
    for part in form:
        if part == "M":
            group = code[at] >> 3 & 7
            at = _after_modrm(code, at)
        elif part in _IMMEDIATES:
            at += _IMMEDIATES[part]
        elif part == "z":
            at += size
        elif part == "v":
            at += 8 if rex else size
        elif part in "gh" and group < 2:  # TEST
            at += 1 if part == "g" else size
    return at


def _two_byte_end(code: bytes, at: int) -> int:
    opcode = code[at]
    at += 1
    if opcode in _TWO_BYTES_BARE:
        return at
    if 0x80 <= opcode < 0x90:
        return at + 4
    if opcode in (0x38, 0x3A):
        return _after_modrm(code, at + 1) + (opcode == 0x3A)
    if 0x20 <= opcode < 0x24:  # control and debug registers: never memory
        return at + 1
    return _after_modrm(code, at) + (opcode in _TWO_BYTES_IMMEDIATE)


def _vector_end(code: bytes, at: int) -> int:
    """VEX of two and of three bytes, and EVEX."""
    size = {0xC5: 2, 0xC4: 3, 0x62: 4}[code[at]]
    table = 1 if size == 2 else code[at + 1] & (0x1F if size == 3 else 0x07)
    opcode = code[at + size]
    at += size + 1
    if table == 1 and opcode == 0x77:
        return at
    return _after_modrm(code, at) + (table == 3 or (table == 1 and opcode in _TWO_BYTES_IMMEDIATE))


def _after_modrm(code: bytes, at: int) -> int:
    """The end of the ModRM byte at ``at``, with its SIB byte and its displacement."""
    mode, base = code[at] >> 6, code[at] & 7
    at += 1
    if mode == 3:
        return at
    if base == 4:
        base = code[at] & 7
        at += 1
    return at + (1 if mode == 1 else 4 if mode == 2 or base == 5 else 0)
