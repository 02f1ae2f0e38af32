"""The memory operand of an instruction: the small part of x86's encoding that reports need.

The MMU reports that an access failed and, for a page fault, its address. The size of the access, and the
address of a general protection fault, follow from the instruction (arch/x86/lib/insn-eval.c).
"""

from __future__ import annotations

from typing import Final

from ukmod.machine.registers import MASK64, Registers
from ukmod.machine.stubs import REGISTERS
from ukmod.record import record

_PREFIXES: Final = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
_STRING_FROM_RSI: Final = frozenset((0x6E, 0x6F, 0xA4, 0xA5, 0xA6, 0xA7, 0xAC, 0xAD))
_STRING_TO_RDI: Final = frozenset((0x6C, 0x6D, 0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAE, 0xAF))
_STRING: Final = _STRING_FROM_RSI | _STRING_TO_RDI
_MOFFS: Final = frozenset((0xA0, 0xA1, 0xA2, 0xA3))
"""MOV between the accumulator and an address of 8 bytes in the instruction."""
_GS: Final = 0x65
# One-byte opcodes with a byte operand: the even ones of the arithmetic, move, test and string groups.
_BYTE_OPCODES: Final = frozenset(
    (*range(0x00, 0x40, 8), *range(0x02, 0x40, 8), 0x6C, 0x6E, 0x80, 0x82, 0x84, 0x86, 0x88, 0x8A, 0xA0, 0xA2,
     0xA4, 0xA6, 0xAA, 0xAC, 0xAE, 0xC0, 0xC6, 0xD0, 0xD2, 0xF6, 0xFE)
)  # fmt: skip
_X87_SIZES: Final = (
    (4,) * 8,
    (4, 4, 4, 4, 28, 2, 28, 2),
    (4,) * 8,
    (4, 4, 4, 4, 4, 10, 4, 10),
    (8,) * 8,
    (8, 8, 8, 8, 108, 8, 108, 2),
    (2,) * 8,
    (2, 2, 2, 2, 10, 8, 10, 8),
)
"""Operand sizes in bytes of the x87's opcodes 0xd8 to 0xdf, by the number in the ModRM byte."""
_TWO_BYTE_SIZES: Final = (
    dict.fromkeys((*range(0x90, 0xA0), 0xB0, 0xB6, 0xBE, 0xC0), 1)
    | dict.fromkeys((0xB7, 0xBF), 2)
    | dict.fromkeys((0x10, 0x11, 0x28, 0x29, 0x2B, 0x6F, 0x7F, 0xE7), 16)
)
"""Operand sizes in bytes of two-byte opcodes (0x0f ...) whose size is not the usual one."""


@record
class Operand:
    """The memory operand of an instruction: its address, its size in bytes, and the instruction's form."""

    address: int | None
    """None if it is ambiguous: some string instructions have two memory operands."""
    size: int
    opcode: int
    register: int
    """The number of the register operand, in the order of stubs.REGISTERS."""
    length: int
    """The length of the instruction in bytes, without an immediate operand."""


def memory_operand(code: bytes, registers: Registers, *, gs: int = 0) -> Operand | None:
    """Decode the instruction at the start of ``code``; None if it has no known memory operand."""
    at, operand16, segment, rex = 0, False, 0, 0
    while at < len(code) and (code[at] in _PREFIXES or code[at] & 0xF0 == 0x40):
        operand16 |= code[at] == 0x66
        segment = gs if code[at] == _GS else segment
        rex = code[at] if code[at] & 0xF0 == 0x40 else 0  # one that precedes another prefix does not count
        at += 1
    if at + 1 >= len(code) + (at < len(code) and code[at] in _STRING):
        return None
    opcode, two_byte = code[at], False
    at += 1
    if opcode == 0x0F:
        opcode, two_byte = code[at], True
        at += 1
    usual = 8 if rex & 8 else 2 if operand16 else 4
    number = code[at] >> 3 & 7 if at < len(code) else 0
    size = _TWO_BYTE_SIZES.get(opcode, usual) if two_byte else _size(opcode, number, usual)
    if not two_byte and opcode in _MOFFS:
        end = at + 8
        if end > len(code):
            return None
        return Operand(int.from_bytes(code[at:end], "little") + segment & MASK64, size, opcode, 0, end)
    if not two_byte and opcode in _STRING:
        ambiguous = opcode in _STRING_TO_RDI and opcode in _STRING_FROM_RSI
        where = registers["rdi" if opcode in _STRING_TO_RDI else "rsi"]
        return Operand(None if ambiguous else where, size, opcode, 0, at)
    return _modrm(code, at, rex, size, opcode, registers, segment)


def _size(opcode: int, number: int, usual: int) -> int:
    """The operand size in bytes of a one-byte opcode; ``number`` is that in its ModRM byte."""
    if opcode in _BYTE_OPCODES:
        return 1
    if 0xD8 <= opcode <= 0xDF:
        return _X87_SIZES[opcode - 0xD8][number]
    if opcode in (0x8C, 0x8E):  # mov from and to a segment register
        return 2
    if opcode == 0x63:  # movsxd
        return 4
    if opcode in (0x6D, 0x6F):  # ins and outs have no 8-byte form
        return min(usual, 4)
    if opcode == 0xFF and number in (3, 5):  # a far call or jmp: a selector follows the offset
        return usual + 2
    if (opcode == 0xFF and number in (2, 4, 6)) or opcode == 0x8F:  # call, jmp, push, pop
        return 2 if usual == 2 and (opcode == 0x8F or number == 6) else 8
    return usual


def _modrm(
    code: bytes, at: int, rex: int, size: int, opcode: int, registers: Registers, segment: int
) -> Operand | None:
    if at >= len(code):
        return None
    modrm = code[at]
    at += 1
    mod, reg, rm = modrm >> 6, modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7
    if mod == 3:
        return None
    address, relative = 0, False
    if rm == 4:
        if at >= len(code):
            return None
        sib = code[at]
        at += 1
        index, base = sib >> 3 & 7 | (rex & 2) << 2, sib & 7
        if index != 4:
            address += registers[REGISTERS[index]] << (sib >> 6)
        if base != 5 or mod:
            address += registers[REGISTERS[base | (rex & 1) << 3]]
        absolute = base == 5 and not mod
    else:
        relative = rm == 5 and not mod
        absolute = relative
        if not relative:
            address += registers[REGISTERS[rm | (rex & 1) << 3]]
    width = 1 if mod == 1 else 4 if mod == 2 or absolute else 0
    if at + width > len(code):
        return None
    address += int.from_bytes(code[at : at + width], "little", signed=True)
    at += width
    if relative:
        address += registers.rip + at
    return Operand((address + segment) & MASK64, size, opcode, reg, at)
