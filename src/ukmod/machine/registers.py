"""The CPU's registers and exceptions as values, with the architecture's numbers (Intel SDM vol. 3)."""

from __future__ import annotations

import struct
from typing import Final

from ukmod.machine import stubs
from ukmod.record import record

MASK64: Final = (1 << 64) - 1
KERNEL_CS, KERNEL_DS, USER32_CS = 0x10, 0x18, 0x23
"""Selectors of Linux's GDT, arch/x86/include/asm/segment.h."""
PT_REGS_ORDER: Final = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "", "rip", "cs", "rflags", "rsp", "ss",
)  # fmt: skip
"""struct pt_regs: the registers in their order; orig_ax has no name."""
PT_REGS: Final = struct.Struct(f"<{len(PT_REGS_ORDER)}Q")
CR0: Final = 0x8005_0033  # PG AM WP NE ET MP PE, as Linux sets it
CR4: Final = 0x0000_06A0  # PAE PGE OSFXSR OSXMMEXCPT, without PSE
CR4_TSD: Final = 1 << 2
"""Ring 3 may not read the time-stamp counter."""
RFLAGS_IF: Final = 1 << 9
RFLAGS: Final = 1 << 1 | RFLAGS_IF  # bit 1 is always set; a task begins with interrupts enabled
DE_VECTOR, BP_VECTOR, UD_VECTOR, DF_VECTOR, GP_VECTOR, PF_VECTOR, MC_VECTOR = 0, 3, 6, 8, 13, 14, 18
PF_PROT, PF_WRITE, PF_USER, PF_RSVD, PF_INSTR = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
"""Bits of a page fault's error code: a page that is present, a store, user mode, reserved bits, a fetch."""


@record
class Registers:
    """The CPU's registers at one moment; ``gpr`` is in the order of stubs.REGISTERS."""

    gpr: tuple[int, ...]
    rip: int
    rflags: int
    cr2: int

    def __getitem__(self, name: str) -> int:
        return self.gpr[stubs.REGISTERS.index(name)]


@record
class CpuException:
    """An exception raised by guest code; ``vector`` is the CPU's number for it.

    ``address``, ``write``, ``fetch`` and ``present`` describe the access of a page fault (vector 14).
    """

    vector: int
    registers: Registers
    address: int = 0
    write: bool = False
    fetch: bool = False
    present: bool = False
