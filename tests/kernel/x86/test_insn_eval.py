"""Instructions and the memory they access, against what an assembler and a CPU's manual say."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kernel.x86.insn_eval import Operand, memory_operand
from ukmod.machine.registers import MASK64, Registers
from ukmod.machine.stubs import REGISTERS

VALUES = {
    "rax": 0x1000,
    "rcx": 0x10,
    "rbx": 0x3000,
    "rsi": 0x6000,
    "rdi": 0x7000,
    "rbp": 0x5000,
    "r9": 0x9000,
}
REGS = Registers(tuple(VALUES.get(name, 0) for name in REGISTERS), 0x40_0000, 2, 0)


@pytest.mark.parametrize(
    ("code", "address", "size"),
    [
        ("488b07", 0x7000, 8),  # mov (%rdi),%rax
        ("8b4708", 0x7008, 4),  # mov 8(%rdi),%eax
        ("8807", 0x7000, 1),  # mov %al,(%rdi)
        ("668907", 0x7000, 2),  # mov %ax,(%rdi)
        ("0fb606", 0x6000, 1),  # movzbl (%rsi),%eax
        ("0fb706", 0x6000, 2),  # movzwl (%rsi),%eax
        ("418b01", 0x9000, 4),  # mov (%r9),%eax
        ("488b048b", 0x3040, 8),  # mov (%rbx,%rcx,4),%rax
        ("488b45f8", 0x4FF8, 8),  # mov -8(%rbp),%rax
        ("c7042508000000 01000000", 8, 4),  # movl $1,8
        ("488b0510000000", 0x40_0017, 8),  # mov 16(%rip),%rax
        ("0f1107", 0x7000, 16),  # movups %xmm0,(%rdi)
        ("f3aa", 0x7000, 1),  # rep stosb
        ("ac", 0x6000, 1),  # lodsb
        ("ff17", 0x7000, 8),  # call *(%rdi)
        ("66ff30", 0x1000, 2),  # pushw (%rax)
        ("668f00", 0x1000, 2),  # popw (%rax)
        ("66ff10", 0x1000, 8),  # data16 call *(%rax)
        ("66488b07", 0x7000, 8),  # data16 mov (%rdi),%rax
        ("6666448b07", 0x7000, 2),  # data16 mov (%rdi),%r8w
        ("66f3a5", None, 2),  # rep movsw
    ],
)
def test_operands(code: str, address: int | None, size: int) -> None:
    operand = memory_operand(bytes.fromhex(code), REGS)
    assert operand is not None
    assert (operand.address, operand.size) == (address, size)


def test_gs_relative_operands_are_per_cpu() -> None:
    operand = memory_operand(bytes.fromhex("65488b0428"), REGS, gs=0x100_0000)
    assert operand is not None
    assert operand.address == 0x100_6000


@pytest.mark.parametrize(
    "code", ["", "48", "89d8", "89d8 00000000", "0fb6c0 00000000", "66", "0f", "8b04", "488b05 0000", "8b44"]
)
def test_no_memory_operand_or_cut_off(code: str) -> None:
    assert memory_operand(bytes.fromhex(code), REGS) is None


@given(st.binary(max_size=16))
def test_any_bytes_are_decoded_or_not(code: bytes) -> None:
    operand = memory_operand(code, REGS)
    assert operand is None or operand.length <= len(code)


VALUES_OF_64_BITS = {name: random.Random(name).getrandbits(64) for name in REGISTERS}
RANDOM = Registers(tuple(VALUES_OF_64_BITS.values()), 0x40_0000, 2, 0)
OTHERWISE = re.compile(
    r"lea|nop|fn?save|frstor|fxsave|fxrstor|xsave|xrstor|l[fgs]s|bnd|movnts|comisd"
    r"|movdir64b|ptwrite|clrssbsy|rstorssp|wru?ss"
)
"""Beside far branches, what capstone gives no size or a wrong one: areas, far pointers, rare things."""


def differences(codes: Iterable[bytes]) -> tuple[int, list[object]]:
    """How many of the instructions have a memory operand, and those that capstone takes otherwise."""
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    compared = 0
    wrong: list[object] = []
    for code in codes:
        found = next(decoder.disasm(code, RANDOM.rip, 1), None)
        if found is None or found.addr_size != 8:
            continue
        operands = [operand for operand in found.operands if operand.type == capstone.x86.X86_OP_MEM]
        far = found.mnemonic in ("lcall", "ljmp") or found.op_str.startswith("ptr")
        if len(operands) != 1 or far or OTHERWISE.match(found.mnemonic):
            continue
        memory, size = operands[0].mem, operands[0].size
        if found.reg_name(memory.segment) in ("fs", "gs"):  # their base is the machine's
            continue
        base = found.reg_name(memory.base) if memory.base else None
        index = found.reg_name(memory.index) if memory.index else None
        start = RANDOM.rip + found.size if base == "rip" else VALUES_OF_64_BITS.get(base or "", 0)
        address = (start + VALUES_OF_64_BITS.get(index or "", 0) * memory.scale + memory.disp) & MASK64
        ours = memory_operand(code[: found.size], RANDOM)
        # The decoder knows no immediate operands, so it takes the instruction to end before one.
        near = ours is not None and ours.address is not None and 0 <= address - ours.address <= found.size
        same = ours is not None and (near if base == "rip" else ours.address == address)
        compared += 1
        if not same or ours is None or ours.size != size:
            wrong.append((code[: found.size].hex(), f"{found.mnemonic} {found.op_str}", ours))
    return compared, wrong


def test_opcodes_of_one_byte_are_decoded_as_capstone_does() -> None:
    """With any prefixes, ModRM, SIB and displacement; VEX and EVEX are left out."""
    chance = random.Random(1)
    codes = [chance.randbytes(15) for _ in range(40_000)]
    escapes = {0x0F, 0x62, 0xC4, 0xC5}
    compared, wrong = differences(code for code in codes if not escapes & set(code[:6]))
    assert compared > 5_000
    assert wrong == []


_SCALAR = (0x10, 0x11, 0x12, 0x2A, 0x2C, 0x2D, 0x51, 0x58, 0x59, 0x5A, *range(0x5C, 0x60), 0x70, 0xC2, 0xE6)
OF_PREFIX = {
    ("0f", b"\xf3"): {*_SCALAR, 0x16, 0x52, 0x53, 0x5B, 0x6F, 0x7E, 0x7F, 0xB8, 0xBC, 0xBD},
    ("0f", b"\xf2"): {*_SCALAR, 0x7C, 0x7D, 0xD0, 0xF0},
    ("0f38", b"\xf2"): {0xF0, 0xF1},
}
"""The opcodes of which 0xf3 and 0xf2 make another instruction."""


@pytest.mark.parametrize("table", ["0f", "0f38", "0f3a"])
def test_longer_opcodes_are_decoded_as_capstone_does(table: str) -> None:
    """Each with every prefix that makes another instruction of it; MPX and 3DNow! are left out."""
    chance = random.Random(table)
    codes = []
    for opcode in range(256):
        prefixes = [b"", b"\x66"]
        prefixes += [
            prefix for (of, prefix), opcodes in OF_PREFIX.items() if of == table and opcode in opcodes
        ]
        for prefix in 12 * prefixes:
            rex = bytes([0x40 | chance.randrange(8 if prefix == b"\x66" else 16)] * chance.randrange(2))
            codes.append(prefix + rex + bytes.fromhex(table) + bytes([opcode]) + chance.randbytes(10))
    missing = {"0f": {0x0F, 0x19, 0x1A, 0x1B, 0x1D, 0x1E}}.get(table, set())
    at = len(table) // 2
    compared, wrong = differences(c for c in codes if c[c.index(0x0F) + at] not in missing)
    assert compared > {"0f": 3_000, "0f38": 500, "0f3a": 200}[table]
    assert wrong == []


class TestSizesOfAreas:
    """What Intel's manual says, where capstone does not."""

    @pytest.mark.parametrize(
        ("code", "size"),
        [
            ("0fae00", 512),  # fxsave (%rax)
            ("0fae08", 512),  # fxrstor (%rax)
            ("0fae20", 576),  # xsave (%rax)
            ("0fae28", 576),  # xrstor (%rax)
            ("0fae30", 576),  # xsaveopt (%rax)
            ("0fc718", 576),  # xrstors (%rax)
            ("0fc720", 576),  # xsavec (%rax)
            ("0fc728", 576),  # xsaves (%rax)
            ("0f0100", 10),  # sgdt (%rax)
            ("0f0108", 10),  # sidt (%rax)
            ("0f0110", 10),  # lgdt (%rax)
            ("0f0118", 10),  # lidt (%rax)
            ("0f0120", 2),  # smsw (%rax)
            ("f30f0128", 8),  # rstorssp (%rax)
            ("0f0130", 2),  # lmsw (%rax)
            ("0f0138", 1),  # invlpg (%rax)
            ("0fae10", 4),  # ldmxcsr (%rax)
            ("0fae18", 4),  # stmxcsr (%rax)
            ("0fae38", 1),  # clflush (%rax)
            ("660fae30", 1),  # clwb (%rax)
            ("0fc708", 8),  # cmpxchg8b (%rax)
            ("480fc708", 16),  # cmpxchg16b (%rax)
            ("0fc730", 8),  # vmptrld (%rax)
            ("0fc738", 8),  # vmptrst (%rax)
            ("0fb210", 6),  # lss (%rax),%edx
            ("480fb410", 10),  # lfs (%rax),%rdx
            ("660fb510", 4),  # lgs (%rax),%dx
            ("ff18", 6),  # lcall *(%rax)
            ("48ff28", 10),  # rex.W ljmp *(%rax)
            ("66ff18", 4),  # lcallw *(%rax)
            ("dd30", 108),  # fnsave (%rax)
            ("dd20", 108),  # frstor (%rax)
        ],
    )
    def test_the_size_is_that_of_all_that_is_accessed(self, code: str, size: int) -> None:
        operand = memory_operand(bytes.fromhex(code), REGS)
        assert operand is not None
        assert (operand.address, operand.size) == (0x1000, size)


class TestSegments:
    @pytest.mark.parametrize("code", ["65488b07", "6648 658b07", "65f3488b07", "2e65488b07"])
    def test_gs_counts_wherever_it_stands_among_the_prefixes(self, code: str) -> None:
        operand = memory_operand(bytes.fromhex(code), REGS, gs=0x100_0000)
        assert operand is not None
        assert operand.address == 0x100_7000

    @pytest.mark.parametrize("prefix", ["26", "2e", "36", "3e", "64", "f0", "f2", "f3", ""])
    def test_no_other_prefix_moves_the_address(self, prefix: str) -> None:
        """FS has base 0 in the kernel."""
        operand = memory_operand(bytes.fromhex(f"{prefix}488b07"), REGS, gs=0x100_0000)
        assert operand is not None
        assert (operand.address, operand.size) == (0x7000, 8)

    @pytest.mark.parametrize("opcode", ["a0", "a1", "a2", "a3"])
    def test_an_absolute_address_is_relative_to_gs(self, opcode: str) -> None:
        code = f"65{opcode}f0ffffffffffffff"
        operand = memory_operand(bytes.fromhex(code), REGS, gs=0x20)
        accumulator = 0
        size = 1 if opcode in ("a0", "a2") else 4
        assert operand == Operand(0x10, size, int(opcode, 16), accumulator, 10)

    def test_addresses_wrap_around(self) -> None:
        operand = memory_operand(bytes.fromhex("65488b4301"), REGS, gs=MASK64)  # mov %gs:1(%rbx),%rax
        assert operand is not None
        assert operand.address == 0x3000


class TestStrings:
    @pytest.mark.parametrize(
        ("code", "address", "size"),
        [
            ("a4", None, 1),  # movsb
            ("48a5", None, 8),  # movsq
            ("a6", None, 1),  # cmpsb
            ("66a7", None, 2),  # cmpsw
            ("6c", 0x7000, 1),  # insb
            ("486d", 0x7000, 4),  # insl: there is no form of 8 bytes
            ("666d", 0x7000, 2),  # insw
            ("6e", 0x6000, 1),  # outsb
            ("6f", 0x6000, 4),  # outsl
            ("48ab", 0x7000, 8),  # stosq
            ("48ad", 0x6000, 8),  # lodsq
            ("ae", 0x7000, 1),  # scasb
            ("af", 0x7000, 4),  # scasl
        ],
    )
    def test_the_operand_is_where_rsi_or_rdi_points(self, code: str, address: int | None, size: int) -> None:
        """If both are operands, the instruction does not reveal which access failed."""
        operand = memory_operand(bytes.fromhex(code), REGS)
        opcode, no_register = int(code[-2:], 16), 0
        assert operand == Operand(address, size, opcode, no_register, len(code) // 2)


@pytest.mark.parametrize(
    ("code", "opcode", "register", "length"),
    [
        ("4c8b07", 0x8B, 8, 3),  # mov (%rdi),%r8
        ("498b07", 0x8B, 0, 3),  # mov (%r15),%rax
        ("488b5f08", 0x8B, 3, 4),  # mov 8(%rdi),%rbx
        ("8b8700010000", 0x8B, 0, 6),  # mov 256(%rdi),%eax
        ("0fb606", 0xB6, 0, 3),  # movzbl (%rsi),%eax
        ("660f38003e", 0x00, 7, 5),  # pshufb (%rsi),%xmm7
        ("c7042508000000 01000000", 0xC7, 0, 7),  # movl $1,8: the immediate does not count
    ],
)
def test_the_form_of_the_instruction(code: str, opcode: int, register: int, length: int) -> None:
    """load_unaligned_zeropad() is mended by it, and relative addresses count from its end."""
    operand = memory_operand(bytes.fromhex(code), REGS)
    assert operand is not None
    assert (operand.opcode, operand.register, operand.length) == (opcode, register, length)


@pytest.mark.parametrize(
    "code",
    ["488b07", "8b4708", "488b048b", "8b8700010000", "c70425080000 00", "488b0510000000", "65a1" + "00" * 8,
     "0fb606", "660f38003e", "660f3a0f3e", "f3aa", "48ad"],
)  # fmt: skip
def test_an_instruction_that_is_cut_off_anywhere_has_no_operand(code: str) -> None:
    whole = bytes.fromhex(code)
    assert memory_operand(whole, REGS) is not None
    assert [memory_operand(whole[:length], REGS) for length in range(len(whole))] == [None] * len(whole)
