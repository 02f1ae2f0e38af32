"""The C ABI: registers, stack and memory as Python values, and back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from ukmod.errors import UsageError
from ukmod.machine import abi, stubs
from ukmod.machine.abi import (
    Bool,
    Char,
    CStr,
    GfpT,
    Int,
    Long,
    Ptr,
    Short,
    SizeT,
    UChar,
    UInt,
    ULong,
    UShort,
    VaList,
    VarArgs,
)
from ukmod.machine.cpu import Cpu
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC, Fault, Memory

CODE = 0xFFFF_FFFF_C000_0000
ONES = (1 << 64) - 1


def frame_of(memory: Memory, registers: list[int], stack: list[int]) -> memoryview:
    """A trap frame as a stub leaves it: ``stack`` are the arguments behind the sixth."""
    at = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
    sp = at + 512
    words = struct.pack(f"<{len(stack)}Q", *stack)
    memory.write(sp + stubs.SAVED_BYTES + 8, words)
    frame = memoryview(bytearray(PAGE_SIZE)).cast("Q")
    for n, value in enumerate(registers):
        frame[stubs.F_ARGS + n] = value & ONES
    frame[stubs.F_SP] = sp
    return frame


def seen(
    memory: Memory, function: Callable[..., Any], registers: list[int], stack: list[int] | None = None
) -> int:
    return abi.bind(function, memory)(frame_of(memory, registers, stack or []))


# The functions that are bound have annotations that are evaluated where they are defined: in this module.
def _signed(a: Int, b: Long, c: Short, d: Char) -> Int:
    got.append((a, b, c, d))
    return -1


def _unsigned(a: UInt, b: ULong, c: UShort, d: UChar, e: GfpT, f: SizeT) -> None:
    got.append((a, b, c, d, e, f))


def _eight(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int, g: Int, h: CStr) -> Int:
    got.append((a, b, c, d, e, f, g, h))
    return 0


def _strings(text: CStr, flag: Bool, pointer: Ptr) -> Bool:
    got.append((text, flag, pointer))
    return True


def _variadic(fmt: CStr, args: VarArgs) -> Int:
    got.append((fmt, [args.next() for _ in range(8)]))
    return 0


def _untyped(a: bytes) -> None: ...


got: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    got.clear()


class TestBind:
    """A Python function of annotated parameters as what the CPU calls."""

    def test_upper_bits_of_narrow_arguments_are_not_looked_at(self, memory: Memory) -> None:
        dirt = 0xDEAD_BEEF_0000_0000
        result = seen(memory, _signed, [dirt | 0xFFFF_FFFE, -2, dirt | 0x8000, dirt | 0x80])
        assert got == [(-2, -2, -32768, -128)]
        assert result == -1

    def test_unsigned(self, memory: Memory) -> None:
        result = seen(memory, _unsigned, [ONES] * 6)
        assert got == [(0xFFFF_FFFF, ONES, 0xFFFF, 0xFF, 0xFFFF_FFFF, ONES)]
        assert result == 0

    def test_more_than_six_come_from_the_stack(self, memory: Memory) -> None:
        text = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
        memory.write(text, b"eighth\0")
        seen(memory, _eight, [1, 2, 3, 4, 5, 6], [ONES, text])
        assert got == [(1, 2, 3, 4, 5, 6, -1, b"eighth")]

    def test_strings_and_flags(self, memory: Memory) -> None:
        text = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
        memory.write(text, b"init\xff\0")
        assert seen(memory, _strings, [text, 0xFF00, 5]) == 1
        seen(memory, _strings, [text, 0xFF02, 5])
        assert got == [(b"init\xff", False, 5), (b"init\xff", True, 5)]

    def test_a_bad_string_is_a_fault(self, memory: Memory) -> None:
        with pytest.raises(Fault):
            seen(memory, _strings, [0, 0, 0])

    def test_variadic(self, memory: Memory) -> None:
        text = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
        memory.write(text, b"%d\0")
        seen(memory, _variadic, [text, 1, 2, 3, 4, -5], [6, 7, 8])
        assert got == [(b"%d", [1, 2, 3, 4, ONES - 4, 6, 7, 8])]

    def test_an_annotation_that_is_no_c_type(self, memory: Memory) -> None:
        with pytest.raises(UsageError, match="C type"):
            abi.bind(_untyped, memory)

    def test_from_real_guest_code(self, cpu: Cpu) -> None:
        handler = abi.bind(_eight, cpu.memory)
        text = cpu.memory.map_direct(cpu.memory.alloc_frames(1), PAGE_SIZE)
        cpu.memory.write(text, b"on the stack\0")
        cpu.call(cpu.stubs.add_function(handler), 1, 2, 3, 4, 5, 6, 7, text)
        assert got == [(1, 2, 3, 4, 5, 6, 7, b"on the stack")]


def test_va_list_is_advanced_in_place(memory: Memory) -> None:
    at = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
    saved, overflow = at + 256, at + 512
    memory.set_u32(at, 32)  # gp_offset: the fifth register
    memory.set_u64(at + 8, overflow)
    memory.set_u64(at + 16, saved)
    memory.write(saved, struct.pack("<6Q", *range(10, 16)))
    memory.write(overflow, struct.pack("<2Q", 16, 17))
    args = VaList(memory, at)
    assert [args.next() for _ in range(4)] == [14, 15, 16, 17]
    assert (memory.u32(at), memory.u64(at + 8)) == (48, overflow + 16)


def test_a_string_result(memory: Memory) -> None:
    at = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
    memory.write(at, b"name\0")
    assert abi.c_value(memory, CStr, at) == b"name"
    assert abi.c_value(memory, CStr, 0) is None


def test_guest_results_of_more_than_six_arguments(cpu: Cpu) -> None:
    """The seventh and eighth are where the ABI has them when the guest's function begins."""
    cpu.memory.map(CODE, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)
    # mov 8(%rsp),%rax; sub 16(%rsp),%rax; ret
    cpu.memory.write(CODE, b"\x48\x8b\x44\x24\x08\x48\x2b\x44\x24\x10\xc3", force=True)
    assert cpu.call(CODE, 1, 2, 3, 4, 5, 6, 100, 58) == 42
