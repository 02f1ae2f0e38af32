"""Registers and machine code as reports show them: arch/x86/kernel/dumpstack.c and process_64.c."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from ukmod.machine.memory import PAGE_SIZE, USER_HALF, Fault
from ukmod.machine.registers import MASK64, PT_REGS, PT_REGS_ORDER
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

CODE_BYTES: Final = 64
PROLOGUE_BYTES: Final = CODE_BYTES * 2 // 3
"""The number of code bytes shown, and how many of them precede RIP."""
_SHOWN: Final = (
    ("rax", "rbx", "rcx"),
    ("rdx", "rsi", "rdi"),
    ("rbp", "r8", "r9"),
    ("r10", "r11", "r12"),
    ("r13", "r14", "r15"),
)


class Named(Protocol):
    """Registers by name."""

    def __getitem__(self, name: str, /) -> int:
        """The value of a register."""


def general_registers(values: Named) -> Iterator[str]:
    """The lines of __show_regs() from RAX to R15."""
    for names in _SHOWN:
        yield " ".join(f"{_title(name)}: {values[name]:016x}" for name in names)


def _title(name: str) -> str:
    return f"R{int(name[1:]):02d}" if name[1:].isdigit() else name.upper()


@record
class UserRegisters:
    """The registers of user code as it entered the kernel: a struct pt_regs."""

    values: Mapping[str, int]
    """By name, as in PT_REGS_ORDER; that without a name is the number of a system call, or else -1."""
    code: str | None
    """None of a task that is not the current one: its code cannot be read."""

    def lines(self) -> Iterator[str]:
        """__show_regs() of mode SHOW_REGS_SHORT."""
        v, call = self.values, self.values[""]
        yield f"RIP: {v['cs']:04x}:{v['rip']:#x}"
        if self.code is not None:
            yield f"Code: {self.code}"
        entry = f" ORIG_RAX: {call:016x}" if call != MASK64 else ""
        yield f"RSP: {v['ss']:04x}:{v['rsp']:016x} EFLAGS: {v['rflags']:08x}{entry}"
        yield from general_registers(v)


def user_registers(k: Core, regs: int, *, is_current: bool) -> UserRegisters:
    """The struct pt_regs at ``regs``, the current task's or another's."""
    values = dict(zip(PT_REGS_ORDER, PT_REGS.unpack(k.memory.read(regs, PT_REGS.size)), strict=True))
    return UserRegisters(values, code_bytes(k, values["rip"]) if is_current else None)


def code_bytes(k: Core, rip: int) -> str:
    """show_opcodes(): the machine code around RIP, with the byte at RIP in angle brackets."""
    start = (rip - PROLOGUE_BYTES) & MASK64
    try:
        code = _copy_code(k, start)
    except Fault:
        return f"Unable to access opcode bytes at {start:#x}."
    return " ".join(f"<{byte:02x}>" if n == PROLOGUE_BYTES else f"{byte:02x}" for n, byte in enumerate(code))


def _copy_code(k: Core, start: int) -> bytes:
    """The bytes from ``start``; of user code only those whose page is there, as no fault brings it in."""
    if start < USER_HALF:
        for page in {start & -PAGE_SIZE, start + CODE_BYTES - 1 & -PAGE_SIZE}:
            k.memory.translate(page, tries=0)
    return k.memory.read(start, CODE_BYTES)
