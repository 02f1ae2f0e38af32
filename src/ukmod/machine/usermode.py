"""User mode: how the CPU leaves ring 3 for a kernel image's entry code, as hardware does, and enters it.

The image's own code does the rest: it saves the registers, switches stacks, handles system calls and
exceptions, delivers signals and returns by SYSRET or IRET.

The engine does not execute SYSCALL. It stops there, still in ring 3, where it can only continue with code of
ring 3: a far call, on a page that user code can see, through a gate that is open for this one call. So the
CPU's other registers, those of the FPU among them, never leave the engine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ukmod.errors import MachineError
from ukmod.machine import stubs
from ukmod.machine.engine import MSR_STAR, Engine
from ukmod.machine.memory import PAGE_SIZE, PRESENT, READ_WRITE, USER, Memory
from ukmod.machine.registers import (
    CR4,
    CR4_TSD,
    GP_VECTOR,
    KERNEL_CS,
    MASK64,
    PT_REGS,
    PT_REGS_ORDER,
    USER32_CS,
    Registers,
)
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.machine.cpu import Cpu

_GATE: Final = 0x80
"""The selector of the gate, behind the last entry of Linux's GDT."""
_GATE_SIZE: Final = 16
_TSS_LIMIT, _TSS_FLAGS = 0x67, 0x8B00
"""A busy 64-bit TSS that is present."""
CALL_AT: Final = stubs.FRAME_BASE - PAGE_SIZE
"""The page with the far call, which user code can execute."""
NOWHERE: Final = CALL_AT + PAGE_SIZE // 2
"""An address at which emulation never ends, on a page that there is in ring 3 as well."""
GDT_AT: Final = CALL_AT - PAGE_SIZE
_STACK_AT: Final = GDT_AT - PAGE_SIZE
ENTRY_STACK: Final = _STACK_AT + PAGE_SIZE
"""The upper end of the stack on which the kernel is entered."""
_FAR_CALL: Final = b"\xff\x1d\0\0\0\0" + struct.pack("<IH", 0, _GATE | 3)  # lcall *(%rip)
_CLEARED_FLAGS: Final = 2
"""RFLAGS in which no bit is set that could be: what entry code begins with."""
PT_REGS_SIZE: Final = PT_REGS.size
_STATE: Final = (*stubs.REGISTERS, "rip", "rflags", "cr2", "cs", "ss")
_RESTORED: Final = (*stubs.REGISTERS, "rflags", "cr2")
_WITH_CODE: Final = frozenset((8, 10, 11, 12, 13, 14, 17))
"""The exceptions with an error code."""
_USERS_OWN: Final = frozenset((3, 4, 0x80))
"""The software interrupts that Linux lets user code raise; any other is a general protection fault."""
_SOFTWARE: Final = 2
"""The bit of an error code that says that its vector is of the IDT."""
_RDTSC, _RDTSCP = b"\x0f\x31", b"\x0f\x01\xf9"


@record
class UserGates:
    """Addresses of a kernel's entry code, and where its per-CPU variables are."""

    syscall: int
    """Where SYSCALL leads."""
    exceptions: Mapping[int, int]
    """By vector: where an exception or a software interrupt leads."""
    leave: int
    """``void leave(struct pt_regs *)``: the work to be done before user code continues after an interrupt."""
    resume: int
    """Code that restores the registers of the struct pt_regs at the stack pointer, and returns to ring 3."""
    iret: int
    """The IRET at the end of that code, which faults if the struct pt_regs is not of ring 3."""
    entry_text: range
    """The addresses of all this code: .entry.text."""
    gdt: int
    """The address of the descriptor table."""
    tss: int
    """The address of the task state segment, whose sp0 is at offset 4."""
    stack_top: int
    """The address of the variable with the upper end of the current task's stack."""
    counter: Callable[[], int]
    """The time-stamp counter, which user code reads."""


class UserMode:
    """The way between ring 3 and ring 0 of a CPU."""

    def __init__(self, cpu: Cpu, engine: Engine, frame: memoryview, gates: UserGates) -> None:
        self._cpu = cpu
        self._engine = engine
        self._frame = frame
        self._memory = memory = cpu.memory
        self._gates = gates
        self._map(memory, gates)
        gate_at = _with_jump(cpu, _GATE_CODE, gates.syscall)
        self._open, rest = _gate_descriptor(gate_at)
        self._gate_at = memory.translate(gates.gdt) + _GATE
        memory.view[self._gate_at : self._gate_at + _GATE_SIZE] = bytes(8) + rest
        self.leave_at = _with_jump(cpu, _LEAVE_CODE, gates.resume)
        """Code that calls the function in the trap frame with the struct pt_regs at its stack pointer, and
        returns to ring 3."""
        own = ((gate_at, _GATE_CODE), (self.leave_at, _LEAVE_CODE))
        self._crossings = gates.entry_text, *(range(at, at + len(code) + stubs.JUMP_SIZE) for at, code in own)
        self.stopped = False
        """The engine has stopped at a SYSCALL."""
        self._load()

    def _map(self, memory: Memory, gates: UserGates) -> None:
        code = memory.alloc_frames(2)
        memory.map(CALL_AT, code, PAGE_SIZE, PRESENT | USER)
        memory.let_users_in(CALL_AT)
        memory.write(CALL_AT, _FAR_CALL, force=True)
        memory.map(_STACK_AT, code + PAGE_SIZE, PAGE_SIZE, READ_WRITE)
        memory.map(GDT_AT, memory.translate(gates.gdt), PAGE_SIZE, READ_WRITE)
        memory.write(gates.tss + 4, ENTRY_STACK.to_bytes(8, "little"))

    def _load(self) -> None:
        """Load the registers that user mode needs."""
        engine = self._engine
        engine.set_table("gdtr", GDT_AT, _GATE + _GATE_SIZE - 1)
        engine.set_table("tr", self._gates.tss, _TSS_LIMIT, flags=_TSS_FLAGS)
        engine.write_msr(MSR_STAR, USER32_CS << 48 | KERNEL_CS << 32)
        engine.set_cr4(CR4 | CR4_TSD)
        self._before = engine.block("rip", "rflags")
        self._after = engine.block("rcx", "r11", "rflags")
        self._state = engine.block(*_STATE)
        self._restored = engine.block(*_RESTORED)
        engine.on_syscall(self._stop)

    def _stop(self) -> None:
        self.stopped = True
        self._engine.stop()

    # -- system calls -----------------------------------------------------------------------------------

    def syscall(self) -> int:
        """Do what SYSCALL does; returns the address at which the CPU continues."""
        self.stopped = False
        self._after.assign((*self._before.values(), _CLEARED_FLAGS))
        self._memory.view[self._gate_at : self._gate_at + 8] = self._open
        return CALL_AT

    def crosses(self, rip: int) -> bool:
        """True if code there is between ring 3 and the kernel, where no interrupt may come.

        The stack, GS, or what the gate or the trap frame has may be those of the other side.
        """
        return rip == CALL_AT or any(rip in code for code in self._crossings)

    # -- exceptions ---------------------------------------------------------------------------------------

    def exception(self, vector: int, restore_clean: Callable[[], None]) -> int:
        """Deliver an exception that user code has raised; returns the address at which the CPU continues."""
        code, software = self._engine.exception_state()
        extended, values = self._engine.extended_registers(), self._read_state()
        restore_clean()
        if software and vector not in _USERS_OWN:
            vector, code = GP_VECTOR, vector << 3 | _SOFTWARE
            values["rip"] -= 2
        if vector == GP_VECTOR and (size := self._reads_counter(values["rip"])):
            return self._counted(values, extended, size)
        if vector not in self._gates.exceptions:
            vector, code = GP_VECTOR, 0
        return self._deliver(vector, code, values, extended, ENTRY_STACK)

    def bad_return(self, vector: int, restore_clean: Callable[[], None]) -> int:
        """Deliver an exception of the IRET to ring 3, which the kernel then takes for one of the user code.

        Returns the address at which the CPU continues.
        """
        code, _ = self._engine.exception_state()
        extended, values = self._engine.extended_registers(), self._read_state()
        restore_clean()
        return self._deliver(vector, code, values | {"cs": KERNEL_CS, "ss": 0}, extended, values["rsp"] & ~15)

    def returns(self) -> bool:
        """True if the engine has stopped, in ring 0, at the IRET to ring 3."""
        return self._before.values()[0] == self._gates.iret

    def _read_state(self) -> dict[str, int]:
        return dict(zip(_STATE, self._state.values(), strict=True))

    def _deliver(self, vector: int, code: int, values: dict[str, int], extended: bytes, stack: int) -> int:
        """Push what the CPU pushes at an exception, and go where the IDT points."""
        frame = [values[name] for name in ("rip", "cs", "rflags", "rsp", "ss")]
        if vector in _WITH_CODE:
            frame.insert(0, code)
        sp = stack - 8 * len(frame)
        self._memory.write(sp, struct.pack(f"<{len(frame)}Q", *frame))
        self._engine.restore_extended(extended)
        values |= {"rsp": sp, "rflags": _CLEARED_FLAGS}
        self._restored.assign(values[name] for name in _RESTORED)
        return self._gates.exceptions[vector]

    def _reads_counter(self, rip: int) -> int:
        """The size of the instruction there if it reads the time-stamp counter, else 0."""
        try:
            code = self._memory.read(rip, 3)
        except MachineError:
            return 0
        return 2 if code.startswith(_RDTSC) else 3 if code == _RDTSCP else 0

    # -- interrupts ---------------------------------------------------------------------------------------

    def interrupt(self, restore_clean: Callable[[], None]) -> Registers:
        """Enter the kernel as at an interrupt; returns the registers of the user code.

        Their struct pt_regs is at ``interrupted``, below the upper end of the task's stack.
        """
        extended = self._engine.extended_registers()
        values = self._read_state()
        restore_clean()
        self._interrupted(values, extended)
        return Registers(
            tuple(values[name] for name in stubs.REGISTERS), values["rip"], values["rflags"], values["cr2"]
        )

    @property
    def interrupted(self) -> int:
        """The address of the struct pt_regs of the current task's user code."""
        return self._memory.u64(self._gates.stack_top) - PT_REGS_SIZE

    def _interrupted(self, values: dict[str, int], extended: bytes) -> None:
        self._engine.restore_extended(extended)
        self._engine.swap_gs()
        words = (values.get(name, MASK64) for name in PT_REGS_ORDER)  # orig_ax is -1: this is no system call
        self._memory.write(self.interrupted, PT_REGS.pack(*words))

    def _counted(self, values: dict[str, int], extended: bytes, size: int) -> int:
        """RDTSC, or RDTSCP if ``size`` is 3: user code continues behind it."""
        counter = self._gates.counter()
        values |= {"rax": counter & 0xFFFF_FFFF, "rdx": counter >> 32, "rip": values["rip"] + size}
        if size == len(_RDTSCP):
            values["rcx"] = 0  # the number of the CPU
        self._interrupted(values, extended)
        return self.leave(self.interrupted)

    def leave(self, regs: int, function: int = 0) -> int:
        """Have the CPU leave the kernel for the user code of a struct pt_regs; returns where it continues.

        Before that it calls ``function(regs)``, by default the one after an interrupt.
        """
        self._frame[stubs.F_SP] = regs
        self._frame[stubs.F_FUNCTION] = function or self._gates.leave
        return self.leave_at


def _with_jump(cpu: Cpu, code: bytes, target: int) -> int:
    """Write code, and a jump behind it to ``target``; returns its address."""
    address = cpu.stubs.add_native(code + bytes(stubs.JUMP_SIZE))
    behind = address + len(code)
    jump = b"\xe9" + struct.pack("<i", target - behind - stubs.JUMP_SIZE)
    cpu.memory.write(behind, jump, force=True)
    return address


_GATE_CODE: Final = b"".join(
    (
        # movq $0, the gate: it is closed again
        b"\x48\xc7\x04\x25" + struct.pack("<iI", GDT_AT + _GATE - (1 << 64), 0),
        b"\x6a" + bytes((_CLEARED_FLAGS,)) + b"\x9d",  # push; popf: as MSR_SYSCALL_MASK has it
        b"\x48\x8b\x64\x24\x10",  # mov 16(%rsp), %rsp: the user's, which SYSCALL leaves alone
    )
)
_LEAVE_CODE: Final = b"".join(
    (
        stubs.load("rsp", stubs.F_SP),
        b"\x48\x89\xe7",  # mov %rsp, %rdi
        stubs.call(stubs.F_FUNCTION),
    )
)


def _gate_descriptor(target: int) -> tuple[bytes, bytes]:
    """The two halves of a 64-bit call gate that ring 3 may use (Intel SDM vol. 3, 5.8.3.1)."""
    present, ring3, kind = 0x80, 0x60, 0x0C
    low = struct.pack("<HHBBH", target & 0xFFFF, KERNEL_CS, 0, present | ring3 | kind, target >> 16 & 0xFFFF)
    return low, struct.pack("<II", target >> 32, 0)
