"""The part of Unicorn this machine uses: starting it, and calling its C functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any, Final

from ukmod.errors import MachineError, MissingExtraError
from ukmod.machine import registers as values
from ukmod.machine import stubs
from ukmod.machine.memory import PAGE_SIZE, Memory
from ukmod.machine.registers import Registers

try:
    from unicorn import UC_ARCH_X86, UC_HOOK_INSN, UC_HOOK_INTR, UC_MODE_64, Uc, UcError
    from unicorn import x86_const as x86
    from unicorn.unicorn_const import (
        UC_CTL_IO_WRITE,
        UC_CTL_TB_REMOVE_CACHE,
        UC_CTL_TLB_FLUSH,
        UC_ERR_FETCH_UNMAPPED,
        UC_ERR_INSN_INVALID,
        UC_ERR_READ_UNMAPPED,
        UC_ERR_WRITE_UNMAPPED,
    )
    from unicorn.unicorn_py3.unicorn import uclib
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("The emulated machine", "machine", error) from error

emu_start: Final = uclib.uc_emu_start
"""The raw function; it takes half the time of Uc.emu_start()."""
RFLAGS: Final = x86.UC_X86_REG_RFLAGS
MSR_GS_BASE: Final = 0xC000_0101
_MSR_EFER = 0xC000_0080
_EFER_SCE, _EFER_LME, _EFER_LMA, _EFER_NX = 1 << 0, 1 << 8, 1 << 10, 1 << 11
_TLB_FLUSH = UC_CTL_IO_WRITE << 30 | UC_CTL_TLB_FLUSH
_TB_REMOVE = UC_CTL_IO_WRITE << 30 | 2 << 26 | UC_CTL_TB_REMOVE_CACHE
"""uc_ctl()'s UC_CTL_WRITE(what, number of arguments)."""
_REGISTERS = tuple(getattr(x86, f"UC_X86_REG_{name.upper()}") for name in stubs.REGISTERS)
_VECTOR_REGISTERS = (*(getattr(x86, f"UC_X86_REG_XMM{n}") for n in range(16)), x86.UC_X86_REG_MXCSR)
_VECTOR_OF_ERROR = {
    UC_ERR_INSN_INVALID: values.UD_VECTOR,
    # Missing physical memory, because of page tables that the guest made itself, or has none.
    UC_ERR_FETCH_UNMAPPED: values.MC_VECTOR,
    UC_ERR_READ_UNMAPPED: values.MC_VECTOR,
    UC_ERR_WRITE_UNMAPPED: values.MC_VECTOR,
}
"""The exception that hardware would raise for each error that the engine reports as its own."""


def start(memory: Memory, interrupt: Callable[[Any, int, object], None]) -> tuple[Any, object]:
    """Start an engine in 64-bit mode on this memory; returns it and an object that must live as long.

    The engine calls ``interrupt`` for exceptions.
    """
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.ctl_set_cpu_model(x86.UC_CPU_X86_QEMU64)  # as used by the real kernels we compare with
    ram = (ctypes.c_char * memory.size).from_buffer(memory.ram)
    uc.mem_map_ptr(0, memory.size, 7, ctypes.addressof(ram))
    uc.reg_write(x86.UC_X86_REG_CR3, memory.root)
    uc.reg_write(x86.UC_X86_REG_CR4, values.CR4)
    uc.msr_write(_MSR_EFER, _EFER_SCE | _EFER_LME | _EFER_LMA | _EFER_NX)
    uc.reg_write(x86.UC_X86_REG_CR0, values.CR0)
    uc.reg_write(x86.UC_X86_REG_RFLAGS, values.RFLAGS)
    uc.hook_add(UC_HOOK_INTR, interrupt)
    return uc, ram


def add_device(uc: Any, physical: int, read: Callable[[int, int], int]) -> None:
    """Make ``read(offset, size)`` answer loads from a page that is not RAM."""
    uc.mmio_map(physical, PAGE_SIZE, lambda _uc, offset, size, _: read(offset, size), None, None, None)


def add_ports(uc: Any, load: Callable[[int, int], int], store: Callable[[int, int, int], None]) -> None:
    """Make ``load(port, size)`` answer IN, and ``store(port, size, value)`` take OUT."""

    def stored(_uc: Any, port: int, size: int, value: int, _: object) -> None:
        store(port, size, value)

    uc.hook_add(UC_HOOK_INSN, lambda _uc, port, size, _: load(port, size), None, 1, 0, x86.UC_X86_INS_IN)
    uc.hook_add(UC_HOOK_INSN, stored, None, 1, 0, x86.UC_X86_INS_OUT)


def flush_tlb(handle: Any) -> None:
    """Discard cached address translations."""
    uclib.uc_ctl(handle, _TLB_FLUSH)


def forget_code(handle: Any, start: int, end: int) -> None:
    """Discard the code translated from these virtual addresses, which lie in one page."""
    uclib.uc_ctl(handle, _TB_REMOVE, ctypes.c_uint64(start), ctypes.c_uint64(end))


def flags(handle: Any) -> int:
    """RFLAGS, read with the raw function because every task switch needs it."""
    value = ctypes.c_uint64()
    uclib.uc_reg_read(handle, RFLAGS, ctypes.byref(value))
    return value.value


def registers(uc: Any) -> Registers:
    """All registers at present, except those of the FPU."""
    read = uc.reg_read
    return Registers(
        tuple(read(number) for number in _REGISTERS),
        read(x86.UC_X86_REG_RIP),
        read(x86.UC_X86_REG_RFLAGS),
        read(x86.UC_X86_REG_CR2),
    )


def set_registers(uc: Any, registers: Registers, vectors: Iterable[tuple[int, int]]) -> None:
    """Set all registers except RIP."""
    for number, value in zip(_REGISTERS, registers.gpr, strict=True):
        uc.reg_write(number, value)
    uc.reg_write(x86.UC_X86_REG_RFLAGS, registers.rflags)
    for number, value in vectors:
        uc.reg_write(number, value)


def vector_registers(uc: Any) -> list[tuple[int, int]]:
    """The SSE registers, which code between kernel_fpu_begin() and kernel_fpu_end() uses."""
    return [(number, uc.reg_read(number)) for number in _VECTOR_REGISTERS]


def vector_of(error: int) -> int:
    """The exception for an error of the engine's own. Raises MachineError if there is none."""
    if error not in _VECTOR_OF_ERROR:
        raise MachineError(f"the engine failed: {UcError(error)}")
    return _VECTOR_OF_ERROR[error]
