"""Probes of a kernel image: its own handlers of the breakpoints that kprobes puts into code.

arch/x86/kernel/kprobes/core.c decides what a breakpoint means; it is given the registers as a struct pt_regs
on the stack, and they continue as it leaves them. A breakpoint at the entry of a function that Python
replaces lies on the jump to Python's stub, which kprobes emulates like any other jump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.machine.registers import KERNEL_CS, KERNEL_DS, PT_REGS, PT_REGS_ORDER, Registers
from ukmod.machine.stubs import REGISTERS
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_SAVED: Final = PT_REGS_ORDER[:15]
"""The registers at the beginning of a struct pt_regs; orig_ax, ip, cs, flags, sp and ss follow."""
INT3: Final = b"\xcc"
_NO_SYSCALL: Final = (1 << 64) - 1


def int3(k: Core, registers: Registers) -> Registers | None:
    """kprobe_int3_handler(): the registers to continue with; None if no probe has set the breakpoint."""
    handler = k.image.get("kprobe_int3_handler") if k.image is not None else None
    if handler is None:
        return None
    at = push(k, registers)
    with k.cpu.interrupts_off():
        mine = k.cpu.call(handler, at) & 0xFF
    return load(k, at, registers) if mine else None


def push(k: Core, registers: Registers) -> int:
    """Store a struct pt_regs on the stack; its address."""
    at = k.cpu.sp = k.cpu.sp - PT_REGS.size & ~15
    saved = (registers[name] for name in _SAVED)
    rest = (_NO_SYSCALL, registers.rip, KERNEL_CS, registers.rflags, registers["rsp"], KERNEL_DS)
    k.memory.write(at, PT_REGS.pack(*saved, *rest))
    return at


def load(k: Core, at: int, before: Registers) -> Registers:
    """The registers of a struct pt_regs."""
    *saved, _, rip, _, rflags, rsp, _ = PT_REGS.unpack(k.memory.read(at, PT_REGS.size))
    values = dict(zip(_SAVED, saved, strict=True)) | {"rsp": rsp}
    return replace(before, gpr=tuple(values[name] for name in REGISTERS), rip=rip, rflags=rflags)
