"""Machine code that sets any registers and does anything, and page table entries of any bits."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from tests.kernel.conftest import Guest
from tests.kernel.machine_code import CODE as CODE_AT
from tests.kernel.machine_code import READ_RDI, WRITE_RDI, Code

from ukmod.errors import LimitError
from ukmod.kernel.core import Core
from ukmod.machine import stubs
from ukmod.machine.memory import PAGE_SIZE, PRESENT, WRITE, Fault

CODE: Final = "machine code"
ENTRY: Final = "a page table entry"
VICTIM: Final = 0xFFFF_A000_1234_5000
"""An address whose page tables, of all levels, are its own."""
SHIFTS: Final = (39, 30, 21, 12)

INSTRUCTIONS: Final = tuple(map(bytes.fromhex, (
    "0f00", "0f01", "0f22", "0f20", "0f23", "0f21", "0f30", "0f32", "0fae", "0fc7", "f4", "cd", "cf",
    "48cf", "0f05", "0f07", "480f07", "0f34", "0f35", "9d", "fa", "fb", "0f08", "0f09", "6c", "6e",
    "f36c", "f36e", "ec", "ee", "8e", "cb", "48cb", "ff", "f3a4", "f3aa", "0faa", "0f0b", "cc", "f1",
    "0fb2", "0fa2", "0f31", "0f33", "db", "d9", "dd", "9b", "0f01d8", "0f01da", "0f01db", "0f01dd",
    "0f01f8", "0f01c8", "0f01c9", "c4", "c5", "62", "c8", "c9", "e8", "e9", "eb", "0f38", "0f3a", "f0",
)))  # fmt: skip
"""The beginnings of instructions, of most that only a kernel may execute among others."""
NUMBERS: Final = (
    0, 1, 2, 8, 0x10, 0x18, 0x33, 0x1000, 0x7FFF_FFFF_F000, 1 << 31, (1 << 32) - 1, 1 << 63,
    (1 << 64) - 1, 0xFFFF_8880_0000_0000, 0xFFFF_8880_0010_0000, stubs.STUB_BASE, stubs.FRAME_BASE,
    stubs.RESUME_AT, stubs.ENTER_AT, stubs.PADDING_AT, CODE_AT, CODE_AT + 64, 1 << 30,
    (1 << 30) + 0xFEE0_0000, 0x8005_0033, 0x33, 0x6A0, 0x10_06A0, 0x0130_06A0, 0x500, 0xD01, 0x1D01,
    0x302, 0x3202, 0x4202, 0x2_0202, 0xC000_0080, 0xC000_0101, 0xC001_0117, 0x1B, VICTIM,
)  # fmt: skip
"""What registers are set to, or near: addresses, selectors, control registers, flags, MSRs."""


def mov(register: str, value: int) -> bytes:
    """Movabs $value,%register."""
    number = stubs.REGISTERS.index(register)
    return bytes((0x48 | number >> 3, 0xB8 | number & 7)) + struct.pack("<Q", value & (1 << 64) - 1)


def execute(k: Core, code: bytes) -> None:
    """Run machine code in the current task."""
    k.cpu.call(Code(k).put(code + b"\xc3"))


def forge(guest: Guest, level: int, entry: int) -> None:
    """Make ``entry`` the one of VICTIM at a level, 0 for the highest; then use that address in every way."""
    k = guest.kernel
    memory, words = k.memory, k.memory.view.cast("Q")
    memory.map(VICTIM, memory.alloc_frames(1), PAGE_SIZE, PRESENT | WRITE)
    table = memory.root
    for shift in SHIFTS[:level]:
        table = words[(table >> 3) + (VICTIM >> shift & 511)] & 0xF_FFFF_FFFF_F000
    words[(table >> 3) + (VICTIM >> SHIFTS[level] & 511)] = entry
    k.cpu.flush_tlb()
    reads: tuple[Callable[[], object], ...] = (
        lambda: memory.read(VICTIM - 8, 2 * PAGE_SIZE), lambda: memory.write(VICTIM + 4090, bytes(12)),
        lambda: memory.cstring(VICTIM), lambda: memory.u64(VICTIM + 4092), lambda: memory.set_u64(VICTIM, 1),
        lambda: memory.translate(VICTIM, write=True), lambda: memory.fill(VICTIM, 0, PAGE_SIZE),
        lambda: memory.unmap(VICTIM, PAGE_SIZE),
        lambda: memory.map(VICTIM, entry & -PAGE_SIZE, PAGE_SIZE, PRESENT),
    )  # fmt: skip
    for look in (memory.peek, memory.prot, memory.entries, memory.corrupted):
        look(VICTIM)
    code = Code(k)
    for program in (READ_RDI, WRITE_RDI, b"\xff\xe7"):  # read, write, execute
        code.start(program, VICTIM)
        k.sched.schedule()
    for name, arguments in (
        ("strlen", (VICTIM,)), ("memset", (VICTIM, 0, PAGE_SIZE)), ("memcpy", (VICTIM, VICTIM + 64, 8)),
        ("_copy_from_user", (VICTIM, 0x1000, 8)), ("_copy_to_user", (0x1000, VICTIM, 8)),
        ("vfree", (VICTIM,)), ("kfree", (VICTIM,)),
        ("_printk", (guest.put(b"%s %*ph %pV\n"), VICTIM, 64, VICTIM, VICTIM)),
        ("vmalloc_to_page", (VICTIM,)), ("vmap", (VICTIM, 4, 0, 0)), ("list_sort", (0, VICTIM, 0)),
    ):  # fmt: skip
        k.start("user", partial(k.cpu.call, k.symbols.address(name), *arguments))
        k.sched.schedule()
    for access in reads:
        with suppress(Fault, LimitError):
            access()
