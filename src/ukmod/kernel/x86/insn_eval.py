"""The memory operand of an instruction: the small part of x86's encoding that reports need.

The MMU reports that an access failed and, for a page fault, its address. The size of the access, and the
address of a general protection fault, follow from the instruction (arch/x86/lib/insn-eval.c).
"""

from __future__ import annotations

from typing import Final

from ukmod.kernel.x86.insn import PREFIXES
from ukmod.machine.registers import MASK64, Registers
from ukmod.machine.stubs import REGISTERS
from ukmod.record import record

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
_MMX: Final = frozenset(
    (*range(0x63, 0x6C), 0x6F, 0x70, 0x74, 0x75, 0x76, 0x7F, *range(0xD1, 0xD6), *range(0xD8, 0xE6),
     *range(0xE7, 0xF0), *range(0xF1, 0xF7), *range(0xF8, 0xFF))
)  # fmt: skip
_BY_PREFIX: Final = (
    dict.fromkeys((0x10, 0x11, *range(0x51, 0x54), 0x58, 0x59, *range(0x5C, 0x60), 0xC2), (16, 16, 4, 8))
    | dict.fromkeys((0x14, 0x15, 0x28, 0x29, 0x2B, *range(0x54, 0x58), 0x5B, 0xC6), (16, 16, 16, 16))
    | dict.fromkeys((0x6C, 0x6D, 0x7C, 0x7D, 0xD0, 0xF0), (16, 16, 16, 16))
    | dict.fromkeys((0x12, 0x16), (8, 8, 16, 8))
    | dict.fromkeys((0x13, 0x17, 0x78, 0x79, 0xD6), (8, 8, 8, 8))
    | dict.fromkeys((0x2C, 0x2D, 0x5A), (8, 16, 4, 8))
    | dict.fromkeys((0x2E, 0x2F), (4, 8, 4, 8))
    | dict.fromkeys((0x60, 0x61, 0x62), (4, 16, 4, 4))
    | dict.fromkeys(_MMX, (8, 16, 16, 16))
    | {0xE6: (16, 16, 8, 16)}
    | dict.fromkeys((*range(0x90, 0xA0), 0xB0, 0xB6, 0xBE, 0xC0, 0x0D, 0x18, 0x1C), (1, 1, 1, 1))
    | dict.fromkeys((0x00, 0x02, 0x03, 0xB7, 0xBF, 0xC4), (2, 2, 2, 2))
)
"""Operand sizes in bytes of opcodes after 0x0f: without a prefix, with 0x66, with 0xf3, with 0xf2."""
_XSAVE: Final = 576
"""The least that XSAVE writes: the legacy area and the header."""
_BY_NUMBER: Final = {
    0x01: (10, 10, 10, 10, 2, 8, 2, 1),
    0xAE: (512, 512, 4, 4, _XSAVE, _XSAVE, _XSAVE, 1),
    0xC7: (0, 0, 0, _XSAVE, _XSAVE, _XSAVE, 8, 8),
}
"""The same for groups of instructions, by the number in the ModRM byte."""
_EXTENDED: Final = dict.fromkeys((0x20, 0x23, 0x25, 0x30, 0x33, 0x35), 8) | {
    0x21: 4, 0x24: 4, 0x31: 4, 0x34: 4, 0x22: 2, 0x32: 2,
} | dict.fromkeys(range(0xC8, 0xCE), 16)  # fmt: skip
"""The same after 0x0f 0x38: PMOVSX and PMOVZX read less than a register, SHA a whole one."""
_EXTRACTED: Final = {0x0A: 4, 0x0B: 8, 0x14: 1, 0x15: 2, 0x17: 4, 0x20: 1, 0x21: 4, 0xCC: 16}
"""The same after 0x0f 0x3a: ROUND of one number, PEXTR, PINSR, SHA."""


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


@record
class _Prefixes:
    """The bytes before the opcode that matter here."""

    operand16: bool = False
    repeat: int = 0
    """The last of 0xf2 and 0xf3."""
    gs: bool = False
    rex: int = 0

    @property
    def usual(self) -> int:
        """The size in bytes of most operands."""
        return 8 if self.rex & 8 else 2 if self.operand16 else 4

    @property
    def column(self) -> int:
        """The column of _BY_PREFIX: 0xf2 and 0xf3 count more than 0x66."""
        return {0xF3: 2, 0xF2: 3}.get(self.repeat, int(self.operand16))


def memory_operand(code: bytes, registers: Registers, *, gs: int = 0) -> Operand | None:
    """Decode the instruction at the start of ``code``; None if it is cut off or has no memory operand.

    ``gs`` is the base of the segment GS.
    """
    try:
        return _decode(code, registers, gs)
    except IndexError:
        return None


def _decode(code: bytes, registers: Registers, gs: int) -> Operand | None:
    prefixes, at = _prefixes(code)
    base = gs if prefixes.gs else 0
    table, opcode = 0, code[at]
    at += 1
    if opcode == 0x0F:
        table, opcode = 0x0F, code[at]
        at += 1
        if opcode in (0x38, 0x3A):
            table, opcode = opcode, code[at]
            at += 1
    if table == 0 and opcode in _MOFFS:
        address = _number(code, at, 8) + base & MASK64
        return Operand(address, _size(opcode, prefixes.usual), opcode, 0, at + 8)
    if table == 0 and opcode in _STRING:
        ambiguous = opcode in _STRING_TO_RDI and opcode in _STRING_FROM_RSI
        where = registers["rdi" if opcode in _STRING_TO_RDI else "rsi"]
        return Operand(None if ambiguous else where, _size(opcode, prefixes.usual), opcode, 0, at)
    number = code[at] >> 3 & 7
    size = _long_size(table, opcode, number, prefixes) if table else _size(opcode, prefixes.usual, number)
    return _modrm(code, at, prefixes.rex, size, opcode, registers, base)


def _prefixes(code: bytes) -> tuple[_Prefixes, int]:
    """The prefixes, and where the opcode is. Raises IndexError if there is none."""
    found, at = _Prefixes(), 0
    while (byte := code[at]) in PREFIXES or byte & 0xF0 == 0x40:
        found = _Prefixes(
            operand16=found.operand16 or byte == 0x66,
            repeat=byte if byte in (0xF2, 0xF3) else found.repeat,
            gs=found.gs or byte == _GS,
            rex=byte if byte & 0xF0 == 0x40 else 0,  # one that precedes another prefix does not count
        )
        at += 1
    return found, at


def _number(code: bytes, at: int, width: int) -> int:
    """A signed number of ``width`` bytes. Raises IndexError if it is cut off."""
    if at + width > len(code):
        raise IndexError
    return int.from_bytes(code[at : at + width], "little", signed=True)


def _long_size(table: int, opcode: int, number: int, prefixes: _Prefixes) -> int:
    """The operand size in bytes of an opcode after 0x0f, 0x0f 0x38 or 0x0f 0x3a."""
    wide = 8 if prefixes.rex & 8 else 4
    if table == 0x38:
        if opcode == 0xF0 and prefixes.repeat == 0xF2:  # crc32 of a byte
            return 1
        if opcode >= 0xF0:  # movbe, crc32; adcx and movdiri, of which 0x66 is no operand's size
            return wide if opcode in (0xF6, 0xF9) else prefixes.usual
        return _EXTENDED.get(opcode, 16 if prefixes.operand16 else 8)
    if table == 0x3A:
        return wide if opcode in (0x16, 0x22) else _EXTRACTED.get(opcode, 16 if prefixes.operand16 else 8)
    if opcode in _BY_PREFIX:
        return _BY_PREFIX[opcode][prefixes.column]
    if opcode == 0xC7 and number == 1:  # cmpxchg8b, cmpxchg16b
        return 2 * wide
    if opcode == 0xAE and number >= 6 and prefixes.operand16:  # clwb, clflushopt
        return 1
    if opcode in _BY_NUMBER:
        return _BY_NUMBER[opcode][number]
    if opcode == 0x2A:  # cvtpi2ps, cvtpi2pd; cvtsi2ss, cvtsi2sd
        return wide if prefixes.repeat else 8
    if opcode in (0x6E, 0x7E):  # movd and movq
        return 8 if opcode == 0x7E and prefixes.repeat == 0xF3 else wide
    if opcode in (0xB2, 0xB4, 0xB5):  # lss, lfs, lgs: a selector follows the offset
        return prefixes.usual + 2
    return prefixes.usual


def _size(opcode: int, usual: int, number: int = 0) -> int:
    """The operand size in bytes of a one-byte opcode; ``number`` is that in its ModRM byte."""
    if opcode in _BYTE_OPCODES:
        return 1
    if opcode & 0xF8 == 0xD8:
        return _X87_SIZES[opcode & 7][number]
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
    code: bytes, at: int, rex: int, size: int, opcode: int, registers: Registers, base: int
) -> Operand | None:
    """The operand that the ModRM byte at ``at`` and the bytes after it describe; None if it is a register."""
    modrm = code[at]
    at += 1
    mod, register, rm = modrm >> 6, modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7
    if mod == 3:
        return None
    address, low = base, rm  # low: the number of the base register, without REX's bit
    if rm == 4:
        sib = code[at]
        at += 1
        low, index = sib & 7, sib >> 3 & 7 | (rex & 2) << 2
        if index != 4:
            address += registers[REGISTERS[index]] << (sib >> 6)
    no_register = low == 5 and not mod
    width = 4 if mod == 2 or no_register else mod
    address += _number(code, at, width)
    at += width
    if not no_register:
        address += registers[REGISTERS[low | (rex & 1) << 3]]
    elif rm == 5:
        address += registers.rip + at
    return Operand(address & MASK64, size, opcode, register, at)
