"""RAM and page tables: what may be touched, what faults, and what is given back."""

from __future__ import annotations

import pytest

from ukmod.errors import LimitError
from ukmod.machine.memory import (
    PAGE_OFFSET,
    PAGE_SIZE,
    READ_EXEC,
    READ_ONLY,
    READ_WRITE,
    WRITE,
    Fault,
    Memory,
    page_align,
)
from ukmod.machine.registers import MASK64

PLACE = 0xFFFF_C900_0000_0000


def mapped(memory: Memory, pages: int = 1, prot: int = READ_WRITE) -> int:
    memory.map(PLACE, memory.alloc_frames(pages), pages * PAGE_SIZE, prot)
    return PLACE


def test_what_is_written_is_read(memory: Memory) -> None:
    at = mapped(memory)
    memory.write(at, b"hello")
    assert memory.read(at, 6) == b"hello\0"


@pytest.mark.parametrize(("size", "value"), [(8, 0xAB), (16, 0xABCD), (32, 0x89AB_CDEF), (64, (1 << 64) - 2)])
def test_integers_are_little_endian(memory: Memory, size: int, value: int) -> None:
    at = mapped(memory)
    getattr(memory, f"set_u{size}")(at + 3, value)
    assert getattr(memory, f"u{size}")(at + 3) == value
    assert memory.read(at + 3, size // 8) == value.to_bytes(size // 8, "little")


def test_negative_values_are_stored_in_twos_complement(memory: Memory) -> None:
    at = mapped(memory)
    memory.set_u32(at, -2)
    memory.set_u64(at + 8, -2)
    assert (memory.s32(at), memory.s64(at + 8)) == (-2, -2)
    assert memory.u32(at) == 0xFFFF_FFFE


@pytest.mark.parametrize("offset", [PAGE_SIZE - 1, PAGE_SIZE - 3, PAGE_SIZE - 7])
def test_an_access_may_cross_a_page(memory: Memory, offset: int) -> None:
    at = mapped(memory, 2) + offset
    memory.set_u64(at, 0x1122_3344_5566_7788)
    assert memory.u64(at) == 0x1122_3344_5566_7788
    assert memory.uint(at, 8) == 0x1122_3344_5566_7788


def test_pages_need_not_be_contiguous_in_ram(memory: Memory) -> None:
    for page in range(4):
        memory.map(PLACE + page * PAGE_SIZE, memory.alloc_frames(1), PAGE_SIZE, READ_WRITE)
        memory.alloc_frames(1)
    data = bytes(range(256)) * 40
    memory.write(PLACE + 100, data)
    assert memory.read(PLACE + 100, len(data)) == data


class TestFaults:
    """Where hardware would raise a page fault, Python does."""

    def test_nothing_is_there(self, memory: Memory) -> None:
        with pytest.raises(Fault) as caught:
            memory.u32(PLACE)
        assert (caught.value.address, caught.value.write) == (PLACE, False)

    @pytest.mark.parametrize("address", [0x8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, -1, 1 << 64])
    def test_no_such_address(self, memory: Memory, address: int) -> None:
        with pytest.raises(Fault):
            memory.read(address, 1)

    @pytest.mark.parametrize("prot", [READ_ONLY, READ_EXEC])
    def test_write_protection(self, memory: Memory, prot: int) -> None:
        at = mapped(memory, prot=prot)
        with pytest.raises(Fault) as caught:
            memory.set_u8(at, 1)
        assert caught.value.write
        memory.write(at, b"loader", force=True)
        assert memory.cstring(at) == b"loader"

    def test_the_page_that_is_not_there_is_named(self, memory: Memory) -> None:
        at = mapped(memory)
        with pytest.raises(Fault) as caught:
            memory.read(at + PAGE_SIZE - 4, 8)
        assert caught.value.address == at + PAGE_SIZE

    def test_what_comes_before_it_is_written(self, memory: Memory) -> None:
        at = mapped(memory)
        with pytest.raises(Fault):
            memory.write(at + PAGE_SIZE - 4, b"12345678")
        assert memory.read(at + PAGE_SIZE - 4, 4) == b"1234"

    @pytest.mark.parametrize("size", [1 << 32, 1 << 62, (1 << 64) - 1])
    def test_a_size_that_lies_costs_nothing(self, memory: Memory, size: int) -> None:
        at = mapped(memory)
        with pytest.raises(Fault):
            memory.read(at, size)
        with pytest.raises(Fault):
            memory.fill(at, 0xAA, size)
        assert memory.u8(at + PAGE_SIZE - 1) == 0xAA

    def test_physical_memory_that_does_not_exist(self, memory: Memory) -> None:
        memory.map(PLACE, memory.size + PAGE_SIZE, PAGE_SIZE, READ_WRITE)
        for access in (memory.u8, memory.u32, memory.u64, memory.cstring):
            with pytest.raises(Fault):
                access(PLACE)

    def test_a_fault_may_be_repaired(self, memory: Memory) -> None:
        asked: list[tuple[int, bool]] = []

        def resolve(address: int, write: bool) -> bool:
            asked.append((address, write))
            mapped(memory)
            return True

        memory.resolve = resolve
        memory.set_u16(PLACE + 2, 7)
        assert memory.u16(PLACE + 2) == 7
        assert asked == [(PLACE + 2, True)]


class TestProtection:
    """A protection is a bit in a page table, and the engine is told when one is restricted."""

    def test_unmapped_pages_come_back(self, memory: Memory) -> None:
        at = mapped(memory)
        memory.set_u8(at, 9)
        memory.unmap(at, PAGE_SIZE)
        with pytest.raises(Fault):
            memory.u8(at)
        memory.protect(at, PAGE_SIZE, READ_ONLY)
        assert memory.u8(at) == 9

    def test_the_engine_is_told(self, memory: Memory) -> None:
        told: list[int] = []
        memory.on_unmap = lambda: told.append(1)
        at = mapped(memory)
        assert not told
        memory.protect(at, PAGE_SIZE, READ_ONLY)
        memory.unmap(at, PAGE_SIZE)
        assert len(told) == 2

    def test_asking(self, memory: Memory) -> None:
        at = mapped(memory, prot=READ_EXEC)
        assert memory.prot(at) == READ_EXEC
        assert memory.prot(at + PAGE_SIZE) == 0
        assert len(memory.entries(at)) == 4
        assert len(memory.entries(0)) == 1


def test_page_tables_cannot_be_reached_through_the_direct_map(memory: Memory) -> None:
    frame = memory.alloc_frames(1)
    at = memory.map_direct(frame, PAGE_SIZE)
    assert at == PAGE_OFFSET + frame
    tables = [memory.root] + [entry & 0xF_FFFF_FFFF_F000 for entry in memory.entries(at)[:-1]]
    for table in tables:
        with pytest.raises(Fault):
            memory.read(PAGE_OFFSET + table, 8)


class TestStrings:
    """char * in guest memory."""

    def test_up_to_the_nul(self, memory: Memory) -> None:
        at = mapped(memory, 2) + PAGE_SIZE - 3
        memory.write(at, b"across\0behind")
        assert memory.cstring(at) == b"across"

    def test_no_longer_than_the_limit(self, memory: Memory) -> None:
        at = mapped(memory)
        memory.fill(at, 0x41, PAGE_SIZE)
        assert memory.cstring(at, 10) == b"A" * 10
        with pytest.raises(Fault):
            memory.cstring(at)

    def test_a_pattern(self, memory: Memory) -> None:
        at = mapped(memory, 5) + 10
        memory.fill_with(at, b"abcd", PAGE_SIZE)
        assert memory.read(at, 4 * PAGE_SIZE // 2) == b"abcd" * (PAGE_SIZE // 2)


class TestFrames:
    """Physical memory is handed out zeroed, and is finite."""

    def test_reused_frames_are_zero(self, memory: Memory) -> None:
        frame = memory.alloc_frames(2)
        memory.view[frame : frame + 4] = b"dirt"
        memory.free_frames(frame, 2)
        assert memory.alloc_frames(2) == frame
        assert memory.view[frame : frame + 4] == bytes(4)

    @pytest.mark.parametrize("align", [2 * PAGE_SIZE, 64 * PAGE_SIZE])
    def test_alignment(self, memory: Memory, align: int) -> None:
        memory.alloc_frames(1)
        frame = memory.alloc_frames(3, align)
        assert frame % align == 0
        memory.free_frames(frame, 3)
        assert memory.alloc_frames(3, align) == frame

    def test_physical_zero_is_never_given(self, memory: Memory) -> None:
        assert memory.alloc_frames(1)

    @pytest.mark.parametrize("align", [PAGE_SIZE, 4 * PAGE_SIZE])
    def test_used_up(self, memory: Memory, align: int) -> None:
        left = memory.frames_left()
        with pytest.raises(LimitError, match="16 MiB is exhausted"):
            memory.alloc_frames(left + 1, align)
        assert memory.frames_left() == left


def test_page_align() -> None:
    assert [page_align(size) for size in (0, 1, 4096, 4097)] == [0, 4096, 4096, 8192]
    assert READ_WRITE & WRITE


def test_peek_sees_what_was_unmapped_and_never_faults(memory: Memory) -> None:
    address = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
    memory.set_u64(address + 8, 0x1234)
    memory.unmap(address, PAGE_SIZE)
    assert memory.peek(address + 8) == 0x1234
    assert memory.peek(address + 9) == 0  # it reads aligned words
    for never_mapped in (0, 8, 1 << 47, PAGE_OFFSET + memory.size - 8, -8 & MASK64, 1 << 64):
        assert memory.peek(never_mapped) == 0
