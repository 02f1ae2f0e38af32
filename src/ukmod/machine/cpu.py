"""The emulated CPU: guest functions called from Python, Python functions called from the guest.

``Cpu.call`` runs a guest function to its end. Whenever the guest calls a function that Python implements, the
CPU halts in its stub (see stubs.py), the emulation returns, and the function runs as ordinary Python: it may
call the guest again, or switch to another task, because no emulation is under way beneath it. A stop and a
restart cost less than a microsecond, no more than a callback from inside the emulation would.
"""

from __future__ import annotations

import ctypes
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ukmod.errors import MachineError, MissingExtraError
from ukmod.machine import stubs
from ukmod.machine.memory import (
    NX,
    PAGE_SIZE,
    PRESENT,
    READ_EXEC,
    READ_ONLY,
    READ_WRITE,
    Fault,
    Memory,
    page_align,
)
from ukmod.machine.stubs import ID_NONE, ID_RETURN

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
    raise MissingExtraError("The emulated machine", "machine") from error

MASK64 = (1 << 64) - 1
_TLB_FLUSH = UC_CTL_IO_WRITE << 30 | UC_CTL_TLB_FLUSH
_TB_REMOVE = UC_CTL_IO_WRITE << 30 | 2 << 26 | UC_CTL_TB_REMOVE_CACHE
"""uc_ctl()'s UC_CTL_WRITE(what, number of arguments)."""
_NOWHERE = stubs.PADDING_AT
"""Where emulation would end if the guest got there, which it does not: padding between stubs. The engine
looks the address up on every start, and where there is no code that counts as an exception, which would make
the next one a double fault."""
EXCEPTION_LAPS = 250
"""Kernel calls that an exception is worth which was handled so that the code goes on behind it."""
_ENGINE = frozenset(("_uc", "_handle", "_frame", "_watchdog", "_ram", "_handlers"))
"""Attributes of Cpu that are of this process alone."""
MAX_DEPTH = 64
"""Guest-to-Python-to-guest calls that may nest in one task; the guest's stack is usually the first limit."""

_REGISTERS = tuple(getattr(x86, f"UC_X86_REG_{name.upper()}") for name in stubs.REGISTERS)
_VECTOR_REGISTERS = (*(getattr(x86, f"UC_X86_REG_XMM{n}") for n in range(16)), x86.UC_X86_REG_MXCSR)
_MSR_EFER, _MSR_GS_BASE, _MSR_FS_BASE = 0xC000_0080, 0xC000_0101, 0xC000_0100
_EFER_SCE, _EFER_LME, _EFER_LMA, _EFER_NX = 1 << 0, 1 << 8, 1 << 10, 1 << 11
CR0 = 0x8005_0033  # PG AM WP NE ET MP PE, as Linux sets it
CR4 = 0x0000_06A0  # PAE PGE OSFXSR OSXMMEXCPT and PSE off
_RFLAGS_IF = 1 << 9
_RFLAGS = 1 << 1 | _RFLAGS_IF  # bit 1 is always set; a task begins with interrupts enabled
PF_VECTOR, UD_VECTOR, GP_VECTOR, DF_VECTOR, DE_VECTOR, BP_VECTOR = 14, 6, 13, 8, 0, 3
MC_VECTOR = 18
_VECTOR_OF_ERROR = {
    UC_ERR_INSN_INVALID: UD_VECTOR,
    # Physical memory that is not there: page tables of the guest's own making, or none.
    UC_ERR_FETCH_UNMAPPED: MC_VECTOR,
    UC_ERR_READ_UNMAPPED: MC_VECTOR,
    UC_ERR_WRITE_UNMAPPED: MC_VECTOR,
}
"""What the engine reports as an error of its own, as the exception that hardware would raise."""


@dataclass(frozen=True, slots=True)
class Registers:
    """The CPU's registers at one moment; ``gpr`` is in the order of stubs.REGISTERS."""

    gpr: tuple[int, ...]
    rip: int
    rflags: int
    cr2: int

    def __getitem__(self, name: str) -> int:
        return self.gpr[stubs.REGISTERS.index(name)]


@dataclass(frozen=True, slots=True)
class CpuException:
    """An exception that the guest's code raised: ``vector`` as the CPU numbers them.

    ``address`` and ``write``/``fetch`` say what a page fault (vector 14) was about.
    """

    vector: int
    registers: Registers
    address: int = 0
    write: bool = False
    fetch: bool = False
    present: bool = False


Handler = Callable[[memoryview], int]
"""A kernel function behind a stub: given the trap frame in 8-byte words, it returns RAX (any sign)."""


class Cpu:
    """One emulated x86-64 CPU in kernel mode, on ``memory``."""

    def __init__(self, memory: Memory, *, watchdog: float = 0.2) -> None:
        self.memory = memory
        self._handlers: list[Handler] = [_no_handler, _no_handler]
        self._stubs = [0, 0]
        """Addresses, parallel to ``_handlers``."""
        self._next_stub = stubs.STUB_BASE + stubs.CODE_SIZE
        self._stub_end = stubs.STUB_BASE
        self.sp = 0
        """The stack pointer below which the current task's next guest function may run."""
        self.depth = 0
        """How many guest functions are under way in the current task, one inside the other."""
        self.on_exception: Callable[[CpuException], Registers] = _unhandled
        """Told of a guest's exception; returns the registers to go on with, or raises to end the task."""
        self.on_fault: Callable[[Fault, int], None] = _unhandled_fault
        """Told of a Fault in the Python function behind the stub at the address given; raises."""
        self.on_stuck: Callable[[Registers, bool], None] = _ignore
        """Called with the registers of guest code that has run for ``watchdog`` seconds without calling the
        kernel (silent), or has used up its slice with exceptions; may switch tasks, or raise to end the task.
        """
        self.on_slice: Callable[[], None] = _ignore
        """Called between two kernel calls when the slice of ``new_slice`` is used up; may switch tasks."""
        self._slice_end = 1 << 62
        self._period = watchdog
        self._devices: dict[int, Callable[[int, int], int]] = {}
        """By physical address: what answers loads of that page."""
        self._ports: tuple[Callable[[int, int], int], Callable[[int, int, int], None]] | None = None
        self._vector = -1
        self._frame_at = self._map_stubs()
        self._start()
        self._clean: Any = self._uc.context_save()
        memory.on_unmap = self.flush_tlb

    def _start(self) -> None:
        self._uc: Any = self._engine()
        self._handle = self._uc._uch  # noqa: SLF001 - the raw call costs half of emu_start()'s
        self._frame = self.memory.view[self._frame_at : self._frame_at + PAGE_SIZE].cast("Q")
        for physical, read in self._devices.items():
            self._add_device(physical, read)
        if self._ports is not None:
            self._add_ports(*self._ports)
        self._watchdog = _Watchdog(self._uc, self._period)

    def _engine(self) -> Any:
        uc = Uc(UC_ARCH_X86, UC_MODE_64)
        uc.ctl_set_cpu_model(x86.UC_CPU_X86_QEMU64)  # what the kernels that we compare with ran on
        ram = (ctypes.c_char * self.memory.size).from_buffer(self.memory.ram)
        uc.mem_map_ptr(0, self.memory.size, 7, ctypes.addressof(ram))
        self._ram: Any = ram
        uc.reg_write(x86.UC_X86_REG_CR3, self.memory.root)
        uc.reg_write(x86.UC_X86_REG_CR4, CR4)
        uc.msr_write(_MSR_EFER, _EFER_SCE | _EFER_LME | _EFER_LMA | _EFER_NX)
        uc.reg_write(x86.UC_X86_REG_CR0, CR0)
        uc.reg_write(x86.UC_X86_REG_RFLAGS, _RFLAGS)
        uc.hook_add(UC_HOOK_INTR, self._interrupt)
        return uc

    def _map_stubs(self) -> int:
        """Put the stubs into memory; the physical address of the trap frame."""
        memory = self.memory
        frame = memory.alloc_frames(1)
        memory.map(stubs.FRAME_BASE, frame, PAGE_SIZE, READ_WRITE)
        code = stubs.shared_code()
        self._grow_stubs()
        memory.write(stubs.STUB_BASE, code, force=True)
        return frame

    def close(self) -> None:
        """Stop the watchdog and free the engine, and with it some 30 MB of the host's memory."""
        self._watchdog.close()
        self._frame.release()
        self._clean = None
        # Its hooks refer to the engine and so keep it until the next garbage collection, with a gigabyte of
        # address space: its own finalizer is run now.
        uc, self._uc = self._uc, None
        if uc is not None:
            uc._Uc__finalizer()  # noqa: SLF001
        self._ram = None

    # -- snapshots ------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The CPU as it is while it runs nothing: all but the engine, whose registers are kept, and the
        functions behind its stubs, which the owner adds again with ``set_function``.
        """
        state = {name: value for name, value in vars(self).items() if name not in _ENGINE}
        left = self._slice_end - self._watchdog.laps
        return state | {"_registers": self._uc.context_save(), "_slice_end": left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._handlers = [_no_handler] * len(self._stubs)

    def resume(self) -> None:
        """Start the engine of a CPU that was kept, on memory that holds again what it did."""
        self._start()
        self._uc.context_restore(vars(self).pop("_registers"))

    def set_function(self, address: int, handler: Handler) -> None:
        """Have the stub at an address that ``add_function`` gave call ``handler``."""
        self._handlers[bisect_left(self._stubs, address)] = handler

    def go_on(self, rest: Callable[[], int], below: int) -> int:
        """Do what is left of a ``call`` whose guest code was in a kernel function when the CPU was kept:
        first ``rest``, what is left of that function, whose result it gets. RAX, unsigned.

        ``below`` is what the stack pointer was when the call was made.
        """
        sp = self.sp
        try:
            result = rest()
            self._frame[stubs.F_SP] = sp
            self._frame[stubs.F_RESULT] = result & MASK64
            return self._run(stubs.RESUME_AT)
        finally:
            self.depth -= 1
            self.sp = below

    # -- code -----------------------------------------------------------------------------------------

    def _grow_stubs(self) -> None:
        size = 16 * PAGE_SIZE
        self.memory.map(self._stub_end, self.memory.alloc_frames(16), size, READ_EXEC)
        self._stub_end += size

    def _room(self, size: int) -> int:
        address = self._next_stub
        self._next_stub = address + ((size + 15) & ~15)
        while self._next_stub > self._stub_end:
            self._grow_stubs()
        return address

    def add_function(self, handler: Handler) -> int:
        """Give ``handler`` an address that guest code can call; the address."""
        address = self._room(stubs.STUB_SIZE)
        self.memory.write(address, stubs.stub(address, len(self._handlers)), force=True)
        self._handlers.append(handler)
        self._stubs.append(address)
        return address

    def add_native(self, code: bytes) -> int:
        """Put machine code where guest code can call it; the address."""
        address = self._room(len(code))
        self.memory.write(address, code, force=True)
        return address

    def flush_tlb(self) -> None:
        """Forget cached translations, after a page table entry was restricted."""
        uclib.uc_ctl(self._handle, _TLB_FLUSH)

    def flush_icache(self, address: int, size: int) -> None:
        """Forget what was translated from these bytes, after they were written and made executable.

        Translations are known by the frame that the code lies in. So this has to be done when new code takes
        its place, and need not be done when code goes: a page that is gone cannot be executed.
        """
        end = address + size
        while address < end:
            below = min((address | (PAGE_SIZE - 1)) + 1, end)
            # The engine looks for the page as a fetch does, and would remember the fault if it found none.
            if self.memory.prot(address) & (PRESENT | NX) == PRESENT:
                uclib.uc_ctl(self._handle, _TB_REMOVE, ctypes.c_uint64(address), ctypes.c_uint64(below))
            address = below

    def flush_code(self) -> None:
        """Forget all translated code, whatever was written."""
        self._uc.ctl_flush_tb()

    def map_io(self, address: int, read: Callable[[int, int], int]) -> None:
        """Make the page at virtual ``address`` a device: each load of it calls ``read(offset, size)``."""
        physical = page_align(self.memory.size) + (address & 0xFFFF_F000)
        self._devices[physical] = read
        self._add_device(physical, read)
        self.memory.map(address, physical, PAGE_SIZE, READ_ONLY)

    def _add_device(self, physical: int, read: Callable[[int, int], int]) -> None:
        self._uc.mmio_map(
            physical, PAGE_SIZE, lambda _uc, offset, size, _: read(offset, size), None, None, None
        )

    def after_fork(self) -> None:
        """In the child of a fork(2), which has none of its parent's threads: watch over its own CPU."""
        laps = self._watchdog.laps
        self._watchdog = _Watchdog(self._uc, self._period)
        self._watchdog.laps = laps  # the slice that is under way ends where it would have

    def on_port_io(self, load: Callable[[int, int], int], store: Callable[[int, int, int], None]) -> None:
        """Have ``load(port, size in bytes)`` give what the instruction IN loads, and ``store(port, size,
        value)`` take what OUT stores.
        """
        self._ports = load, store
        self._add_ports(load, store)

    def _add_ports(self, load: Callable[[int, int], int], store: Callable[[int, int, int], None]) -> None:
        self._uc.hook_add(
            UC_HOOK_INSN, lambda _uc, port, size, _: load(port, size), None, 1, 0, x86.UC_X86_INS_IN
        )
        self._uc.hook_add(
            UC_HOOK_INSN,
            lambda _uc, port, size, value, _: store(port, size, value),
            None,
            1,
            0,
            x86.UC_X86_INS_OUT,
        )

    @contextmanager
    def interrupts_off(self) -> Iterator[None]:
        """What is called meanwhile finds interrupts disabled, as the handler of one does."""
        flags = self._uc.reg_read(x86.UC_X86_REG_RFLAGS)
        self._uc.reg_write(x86.UC_X86_REG_RFLAGS, flags & ~_RFLAGS_IF)
        try:
            yield
        finally:
            self._uc.reg_write(x86.UC_X86_REG_RFLAGS, flags)

    def set_gs(self, base: int) -> None:
        """Where this CPU's per-CPU area is."""
        self._uc.msr_write(_MSR_GS_BASE, base)
        self._clean = self._uc.context_save()

    # -- running --------------------------------------------------------------------------------------

    def call(self, function: int, *arguments: int) -> int:
        """Call the guest function at an address in the current task; RAX, unsigned.

        Arguments are integers or pointers; any number. Raises what ``on_exception`` raises for a fault.
        """
        frame, sp = self._frame, self.sp
        below = (sp - 8) & ~15
        if extra := arguments[6:]:
            below = (below - 8 * len(extra)) & ~15
            for n, argument in enumerate(extra):
                self.memory.set_u64(below + 8 * n, argument)
        for n, argument in enumerate(arguments[:6]):
            frame[stubs.F_ARGS + n] = argument & MASK64
        frame[stubs.F_SP] = below
        frame[stubs.F_FUNCTION] = function
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                raise Fault(sp, write=True)
            return self._run(stubs.ENTER_AT)
        finally:
            self.depth -= 1
            self.sp = sp

    def _run(self, rip: int) -> int:
        frame, handlers, handle = self._frame, self._handlers, self._handle
        start, dog = uclib.uc_emu_start, self._watchdog
        dog.laps += 1
        while True:
            frame[0] = ID_NONE
            dog.running = True
            error = start(handle, rip, _NOWHERE, 0, 0)
            dog.running = False
            number = frame[0]
            if number > ID_RETURN:
                try:
                    handler = handlers[number]
                except IndexError:
                    rip = self._wild_trap()
                    continue
                sp = self.sp = frame[7]
                try:
                    result = handler(frame)
                except Fault as fault:
                    self.on_fault(fault, number)
                    raise
                dog.laps += 1
                if dog.laps >= self._slice_end:
                    self.on_slice()
                frame[7] = sp
                frame[8] = result & MASK64
                rip = stubs.RESUME_AT
            elif number == ID_RETURN:
                return frame[8]
            else:
                rip = self._interrupted(error)

    def _interrupted(self, error: int) -> int:
        """The emulation ended without a trap: a fault, or the watchdog. Where to go on."""
        if error or self._vector >= 0:
            vectors = self._vector_registers()
            return self._handle_exception(self._exception(error), vectors)
        return self._stuck()

    def _wild_trap(self) -> int:
        """Guest code jumped into the stubs' common part, or wrote into the trap frame: there is no function
        of that number. To the guest it is what hlt is to code that may not execute it.
        """
        raised = CpuException(GP_VECTOR, self.registers())
        return self._handle_exception(raised, self._vector_registers())

    def _handle_exception(self, raised: CpuException, vectors: list[tuple[int, int]]) -> int:
        sp, dog = self.sp, self._watchdog
        after = self.on_exception(raised)
        # A fault that was repaired is tried again, and that is progress. One that was reported and passed
        # over is worth many calls, or else a loop around a WARN() would report for hours before it ends.
        dog.laps += 1 if after.rip == raised.registers.rip else EXCEPTION_LAPS
        if dog.laps >= self._slice_end:
            self.on_stuck(after, False)
        self.sp = sp
        return self._resume(after, vectors)

    def _stuck(self) -> int:
        """The guest's code has not called the kernel for long, or halts the CPU. Where to go on."""
        self._watchdog.laps += 1
        registers = self.registers()
        context = self._uc.context_save()
        sp = self.sp
        self.sp = (registers["rsp"] - 128) & ~15
        self.on_stuck(registers, True)
        self._uc.context_restore(context)
        self.sp = sp
        return registers.rip

    def _resume(self, registers: Registers, vectors: list[tuple[int, int]]) -> int:
        """Set all registers; RIP. What is left out is the engine's memory of an exception, which would make
        the next one a double fault.
        """
        write = self._uc.reg_write
        self._uc.context_restore(self._clean)
        for number, value in zip(_REGISTERS, registers.gpr, strict=True):
            write(number, value)
        write(x86.UC_X86_REG_RFLAGS, registers.rflags)
        for number, value in vectors:
            write(number, value)
        return registers.rip

    def _vector_registers(self) -> list[tuple[int, int]]:
        """What code between kernel_fpu_begin() and kernel_fpu_end() has in the SSE registers."""
        return [(number, self._uc.reg_read(number)) for number in _VECTOR_REGISTERS]

    def new_slice(self, calls: int) -> None:
        """Have ``on_slice`` called after so many more kernel calls."""
        self._slice_end = self._watchdog.laps + calls

    def registers(self) -> Registers:
        """All registers now."""
        read = self._uc.reg_read
        return Registers(
            tuple(read(number) for number in _REGISTERS),
            read(x86.UC_X86_REG_RIP),
            read(x86.UC_X86_REG_RFLAGS),
            read(x86.UC_X86_REG_CR2),
        )

    def arguments(self) -> list[int]:
        """The six argument registers with which guest code made the latest call."""
        return self._frame[stubs.F_ARGS : stubs.F_ARGS + 6].tolist()

    def stub_at(self, number: int) -> int:
        """The address of the stub with this number, for reports."""
        return self._stubs[number]

    # -- exceptions -----------------------------------------------------------------------------------

    def _interrupt(self, uc: Any, vector: int, _: object) -> None:
        self._vector = vector
        uc.emu_stop()

    def _exception(self, error: int) -> CpuException:
        vector, self._vector = self._vector, -1
        registers = self.registers()
        self._uc.context_restore(self._clean)
        if vector < 0:
            if error not in _VECTOR_OF_ERROR:
                raise MachineError(f"the engine failed: {UcError(error)}")
            vector = _VECTOR_OF_ERROR[error]
        if vector != PF_VECTOR:
            return CpuException(vector, registers)
        prot = self.memory.prot(registers.cr2)
        present = bool(prot)
        behind = (registers.rip | (PAGE_SIZE - 1)) + 1
        fetch = registers.cr2 == registers.rip or registers.cr2 == behind < registers.rip + 15
        fetch = fetch and (not present or bool(prot & NX))
        write = not fetch and (present or self._is_write(registers))
        return CpuException(vector, registers, registers.cr2, write, fetch, present)

    def _is_write(self, registers: Registers) -> bool:
        """Was the access that faulted on an absent page a store?

        The engine does not tell the error code. So the instruction is tried once more with a read-only page
        at the address: a load passes, a store faults again.
        """
        memory, page = self.memory, registers.cr2 & ~(PAGE_SIZE - 1)
        if 0x7FFF_FFFF_FFFF < registers.cr2 < 0xFFFF_8000_0000_0000:
            return False
        scratch = memory.alloc_frames(1)
        before = memory.swap_entry(page, scratch | READ_ONLY)
        self._resume(registers, [])
        dog = self._watchdog  # one instruction may run for ever: rep movs
        dog.laps += 1
        dog.running = True
        self.flush_code()  # what was translated before does not count its instructions, and would run on
        uclib.uc_emu_start(self._handle, registers.rip, _NOWHERE, 0, 1)
        self.flush_code()
        dog.running = False
        write = self._vector == PF_VECTOR and self._uc.reg_read(x86.UC_X86_REG_CR2) == registers.cr2
        self._vector = -1
        memory.swap_entry(page, before)
        memory.free_frames(scratch, 1)
        self._uc.context_restore(self._clean)
        return write


class _Watchdog:
    """Stops guest code that runs on and on without calling the kernel.

    A thread looks several times in ``period`` whether the CPU is still in the same stretch of guest code, and
    adds up the CPU time this took, in seconds: on a busy host code gets as far as on an idle one. The CPU
    pays one addition a stretch for it.
    """

    def __init__(self, uc: Any, period: float) -> None:
        self.laps = 0
        """Kernel calls so far, and other signs that the guest gets on."""
        self.running = False
        self._uc = uc
        self.period = period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ukmod-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        step = self.period / 8
        seen, spent, before = -1, 0.0, time.process_time()
        while not self._stop.wait(step):
            laps, now = self.laps, time.process_time()
            # A virtual host that was halted may count that as CPU time, but in one step.
            spent = spent + min(now - before, 2 * step) if laps == seen and self.running else 0.0
            if spent >= self.period:
                self._uc.emu_stop()
                spent = 0.0
            seen, before = laps, now

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._uc = None


def _ignore(*_: object) -> None:
    pass


def _no_handler(frame: memoryview) -> int:
    raise MachineError(f"trap {frame[0]} has no function")


def _unhandled(raised: CpuException) -> Registers:
    raise MachineError(f"unhandled exception {raised.vector} at {raised.registers.rip:#x}")


def _unhandled_fault(fault: Fault, number: int) -> None:
    del fault, number
