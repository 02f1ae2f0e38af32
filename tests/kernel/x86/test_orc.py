"""Unwinding by ORC, and exception tables, laid out as the compiler's tools do, on a stack made by hand."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from ukmod.kernel.core import Core
from ukmod.kernel.x86 import extable, orc
from ukmod.kernel.x86.extable import ExceptionEntry, FixupType
from ukmod.kernel.x86.orc import OrcEntry, Position
from ukmod.machine.memory import Fault
from ukmod.machine.registers import GP_VECTOR, PF_VECTOR, CpuException, Registers
from ukmod.machine.stubs import REGISTERS

PREV_SP, BP, SP = 1, 4, 5


class Stack:
    """8-byte words by address."""

    def __init__(self, words: dict[int, int]) -> None:
        self.words = words

    def u64(self, address: int) -> int:
        if address not in self.words:
            raise Fault(address)
        return self.words[address]


def test_a_frame_by_stack_pointer() -> None:
    stack = Stack({0x1010: 0xCAFE})
    entry = OrcEntry(24, 0, SP, 0, call=True)
    assert orc.step(stack, Position(1, 0x1000, 7), entry) == Position(0xCAFE, 0x1018, 7, 0x1010)


def test_a_frame_by_rbp_whose_caller_saved_rbp() -> None:
    stack = Stack({0x2000: 0x3000, 0x2008: 0xCAFE})
    entry = OrcEntry(16, -16, BP, PREV_SP, call=True)
    assert orc.step(stack, Position(1, 0x1000, 0x2000), entry) == Position(0xCAFE, 0x2010, 0x3000, 0x2008)


def test_where_the_table_or_the_stack_ends_there_is_no_caller() -> None:
    assert orc.step(Stack({}), Position(1, 0x1000, 0), OrcEntry(24, 0, SP, 0, call=True)) is None
    assert orc.step(Stack({}), Position(1, 0x1000, 0), OrcEntry(24, 0, SP, 0, call=False)) is None
    assert orc.step(Stack({}), Position(1, 0x1000, 0), OrcEntry(0, 0, 0, 0, call=True)) is None


def test_a_table_is_sorted_by_address_whatever_its_order(kernel: Core) -> None:
    ips = kernel.slab.kmalloc(64)
    entries = kernel.slab.kmalloc(64)
    for n, (address, offset) in enumerate(((0x200, 16), (0x100, 8))):
        kernel.memory.set_u32(ips + 4 * n, address - 4 * n)
        kernel.memory.write(entries + 6 * n, struct.pack("<hhH", offset, 0, SP))
    table = orc.read_table(kernel.memory, (ips, 8), (entries, 12), has_undefined_type=False)
    found = [table.find(ips + at) for at in (0x100, 0x1FF, 0x200)]
    assert [entry.sp_offset if entry else None for entry in found] == [8, 8, 16]
    assert table.find(ips) is None


def registers(**values: int) -> Registers:
    return Registers(tuple(values.get(name, 0) for name in REGISTERS), 0x100, 2, 0)


def fixed(kernel: Core, data: int, **values: int) -> Registers:
    raised = CpuException(PF_VECTOR, registers(**values))
    after = extable.apply(kernel, ExceptionEntry(0x100, 0x200, data), raised)
    assert after is not None
    assert after.rip == 0x200
    return after


def test_fixups_set_what_their_type_says(kernel: Core) -> None:
    rcx, efault = 1 << 8, -14 & 0xFFFF
    assert fixed(kernel, FixupType.DEFAULT, rax=5)["rax"] == 5
    assert fixed(kernel, FixupType.FAULT)["rax"] == PF_VECTOR
    assert fixed(kernel, FixupType.IMM_REG | rcx | efault << 16)["rcx"] == -14 & (1 << 64) - 1
    assert fixed(kernel, FixupType.UCOPY_LEN | 2 << 8 | 8 << 16, rcx=3, rdx=4)["rcx"] == 28
    assert fixed(kernel, FixupType.UACCESS | 3 << 12, rax=5, rdx=6).gpr[:3] == (0, 0, 0)


def test_an_address_that_no_user_can_have_is_warned_of_once_in_each_handler(kernel: Core) -> None:
    """It raises a general protection fault instead of a page fault. UCOPY_LEN ends in UACCESS's handler."""
    kinds = (FixupType.DEFAULT, FixupType.UACCESS, FixupType.UCOPY_LEN, FixupType.COPY, FixupType.COPY)
    for vector in (PF_VECTOR, GP_VECTOR):
        for kind in kinds:
            raised = CpuException(vector, registers())
            assert extable.apply(kernel, ExceptionEntry(0x100, 0x200, kind), raised)
        assert vector == GP_VECTOR or not kernel.warnings
    assert [(warning.file, warning.line) for warning in kernel.warnings] == [
        ("arch/x86/mm/extable.c", 135),
        ("arch/x86/mm/extable.c", 142),
    ]


def test_an_unknown_type_is_no_fixup(kernel: Core) -> None:
    raised = CpuException(PF_VECTOR, registers())
    assert extable.apply(kernel, ExceptionEntry(0x100, 0x200, 99), raised) is None


def test_entries_are_relative_to_themselves() -> None:
    table = struct.pack("<iiI", 0x10, 0x20, FixupType.DEFAULT) + b"torn"
    assert list(extable.entries(table, 0x1000)) == [ExceptionEntry(0x1010, 0x1024, FixupType.DEFAULT)]


@given(st.binary(max_size=100))
def test_any_table_is_read(table: bytes) -> None:
    assert len(list(extable.entries(table, 0x1000))) == len(table) // 12


def test_entries_that_name_a_handler_have_the_type_that_replaced_it() -> None:
    """Until v5.15 the third word is a signed distance to a function, not a type."""
    handlers = {0x800: FixupType.FAULT, 0x2000: FixupType.UACCESS}
    table = struct.pack("<iii", 0x10, 0x20, 0x800 - 0x1008) + struct.pack("<iii", 0, 0, 0x2000 - 0x1014)
    unknown = struct.pack("<iii", 0, 0, 4)
    found = [entry.data for entry in extable.entries(table + unknown, 0x1000, handlers)]
    assert found == [FixupType.FAULT, FixupType.UACCESS, 0]
