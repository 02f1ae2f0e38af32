"""The emulated CPU: guest functions called from Python, and Python functions called from the guest.

``Cpu.call`` runs a guest function to its end. When the guest calls a function that Python implements, the CPU
halts in its stub (see stubs.py), the emulation returns, and the function runs as ordinary Python. As no
emulation is in progress then, it may call the guest again or switch to another task. A stop and a restart
cost less than a microsecond, no more than a callback from within the emulation would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ukmod.errors import LimitError, MachineError
from ukmod.machine import stubs
from ukmod.machine.engine import MSR_GS_BASE, Engine, emu_start, vector_of
from ukmod.machine.memory import (
    NX,
    PAGE_SIZE,
    PRESENT,
    READ_ONLY,
    READ_WRITE,
    USER_HALF,
    Fault,
    Memory,
    is_canonical,
    page_align,
)
from ukmod.machine.registers import (
    BP_VECTOR,
    GP_VECTOR,
    MASK64,
    PF_INSTR,
    PF_PROT,
    PF_VECTOR,
    PF_WRITE,
    RFLAGS_IF,
    UD_VECTOR,
    CpuException,
    Registers,
)
from ukmod.machine.stub_area import StubArea
from ukmod.machine.stubs import ID_NONE, ID_RETURN
from ukmod.machine.usermode import NOWHERE, UserGates, UserMode
from ukmod.machine.watchdog import Stalled, Watchdog

_NOWHERE = stubs.PADDING_AT
"""The address at which emulation would end if the guest reached it, which it cannot: padding between stubs.

The engine looks this address up at every start. If there were no code at it, that would count as an exception
and make the next one a double fault.
"""
EXCEPTION_LAPS = 1000
"""The number of kernel calls that a reported exception counts as, if the code continues after it."""
_ENGINE = frozenset(("_engine", "_frame", "watchdog"))
"""Attributes of Cpu that belong to this process alone."""
FORGOTTEN_PAGES = 1_000
"""So many pages of discarded translations take some 4 MB of the host's memory."""
MAX_DEPTH = 64
"""The maximum nesting of guest-to-Python-to-guest calls in one task; the guest's stack usually ends first."""


class Cpu:
    """One emulated x86-64 CPU in kernel mode, on ``memory``."""

    def __init__(self, memory: Memory, *, watchdog: float = 0.2) -> None:
        self.memory = memory
        self.sp = 0
        """The stack pointer below which the current task's next guest function may run."""
        self.depth = 0
        """The number of nested guest functions in progress in the current task."""
        self.on_exception: Callable[[CpuException], Registers] = _unhandled
        """Called with an exception; returns the registers to continue with, or raises to end the task."""
        self.on_error: Callable[[BaseException, int], None] = _ignore
        """Called with what the Python function behind the numbered stub raised: an Exception, or Stalled.

        It raises something else, or returns to have the error itself raised.
        """
        self.on_stuck: Callable[[Registers, bool], None] = _ignore
        """Called with the registers of guest code that does not yield; may switch tasks, or end the task.

        The code has run for ``watchdog`` seconds without calling the kernel (silent), or used up its slice
        with exceptions.
        """
        self.on_slice: Callable[[], None] = _ignore
        """Called between two kernel calls when the slice of ``new_slice`` is used up; may switch tasks."""
        self._slice_end = 1 << 62
        self._period = watchdog
        self._devices: dict[int, Callable[[int, int], int]] = {}
        """By physical address: the function that answers loads from that page."""
        self._ports: tuple[Callable[[int, int], int], Callable[[int, int, int], None]] | None = None
        self._vector = -1
        self._last: Registers | None = None
        """The registers at an exception that did not stop the engine."""
        self._forgotten = 0
        """The number of pages whose translations were discarded since all were."""
        self._nowhere = _NOWHERE
        self._user: UserMode | None = None
        """The way to ring 3 and back, once ``let_users_in`` has made it."""
        self.was_in_user_mode = False
        """User code has run since this was last reset."""
        self._frame_at = memory.alloc_frames(1)
        memory.map(stubs.FRAME_BASE, self._frame_at, PAGE_SIZE, READ_WRITE)
        self.stubs = StubArea(memory)
        self._start()
        self._clean = self._engine.save()
        memory.on_unmap = self.flush_tlb

    def _start(self) -> None:
        self._engine = Engine(self.memory, self._interrupt)
        self._frame = self.memory.view[self._frame_at : self._frame_at + PAGE_SIZE].cast("Q")
        for physical, read in self._devices.items():
            self._engine.add_device(physical, read)
        if self._ports is not None:
            self._engine.add_ports(*self._ports)
        self.watchdog = Watchdog(self._engine.stop, self._period)

    def close(self) -> None:
        """Stop the watchdog and free the engine, which uses some 30 MB of the host's memory."""
        self.watchdog.close()
        self._frame.release()
        self._engine.close()

    # -- snapshots ------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The state of a CPU that runs nothing, for a snapshot.

        It includes the engine's registers but not the engine.
        """
        state = {name: value for name, value in vars(self).items() if name not in _ENGINE}
        left = self._slice_end - self.watchdog.laps
        return state | {"_registers": self._engine.save(), "_slice_end": left}

    def resume(self) -> None:
        """Start the engine of a restored CPU, on memory with its former contents."""
        self._start()
        self._engine.restore(vars(self).pop("_registers"))

    def finish_call(self, rest: Callable[[], int], below: int) -> int:
        """Finish a ``call`` whose guest code was in a kernel function when the CPU was saved; returns RAX.

        ``rest``, the rest of that kernel function, runs first and gives its result. ``below`` is the stack
        pointer at the time of the call.
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

    def flush_tlb(self) -> None:
        """Discard cached translations, after a page table entry was restricted."""
        self._engine.flush_tlb()

    def flush_icache(self, address: int, size: int) -> None:
        """Discard translations of these bytes, after they were written and made executable.

        Translations are keyed by physical frame. New code at an old place must therefore be flushed, but
        removed code need not be: an unmapped page cannot be executed.

        The engine keeps the host's memory of a translation that it discards alone, so now and then all of
        them are discarded.
        """
        end = address + size
        self._forgotten += -(-size // PAGE_SIZE)
        if self._forgotten > FORGOTTEN_PAGES:
            self.flush_code()
            return
        while address < end:
            below = min((address | (PAGE_SIZE - 1)) + 1, end)
            # The engine looks the page up like a fetch, and would remember the fault if it were missing.
            if self.memory.prot(address) & (PRESENT | NX) == PRESENT:
                self._engine.forget_code(address, below)
            address = below

    def flush_code(self) -> None:
        """Discard all translated code."""
        self._forgotten = 0
        self._engine.flush_code()

    def map_io(self, address: int, read: Callable[[int, int], int]) -> None:
        """Make the page at virtual ``address`` a device: each load from it calls ``read(offset, size)``."""
        physical = page_align(self.memory.size) + (address & 0xFFFF_F000)
        self._devices[physical] = read
        self._engine.add_device(physical, read)
        self.memory.map(address, physical, PAGE_SIZE, READ_ONLY)

    def after_fork(self) -> None:
        """Start a watchdog in the child of a fork(2), which has none of its parent's threads."""
        laps = self.watchdog.laps
        self.watchdog = Watchdog(self._engine.stop, self._period)
        self.watchdog.laps = laps  # the current slice ends where it would have

    def on_port_io(self, load: Callable[[int, int], int], store: Callable[[int, int, int], None]) -> None:
        """Handle port I/O: ``load(port, size in bytes)`` for IN, ``store(port, size, value)`` for OUT."""
        self._ports = load, store
        self._engine.add_ports(load, store)

    @contextmanager
    def interrupts_off(self) -> Iterator[None]:
        """Run the body with interrupts disabled, as in an interrupt handler."""
        flags = self._engine.rflags
        self._engine.rflags = flags & ~RFLAGS_IF
        try:
            yield
        finally:
            self._engine.rflags = flags

    def interrupts_enabled(self) -> bool:
        """!irqs_disabled()."""
        return bool(self._engine.rflags & RFLAGS_IF)

    def enable_interrupts(self) -> None:
        """local_irq_enable()."""
        flags = self._engine.rflags
        if not flags & RFLAGS_IF:
            self._engine.rflags = flags | RFLAGS_IF

    def set_root(self, root: int) -> None:
        """Use the page table at physical address ``root``: load_new_mm_cr3()."""
        self.memory.root = root
        self._engine.set_root(root)

    def _restore_clean(self) -> None:
        """Restore the clean context, in the address space that is in use."""
        self._engine.restore(self._clean)
        if self.memory.root != self.memory.kernel_root:
            self._engine.set_root(self.memory.root)

    def set_gs(self, base: int) -> None:
        """Set the address of this CPU's per-CPU area."""
        self._engine.write_msr(MSR_GS_BASE, base)
        self._clean = self._engine.save()

    # -- user mode ------------------------------------------------------------------------------------

    def let_users_in(self, gates: UserGates) -> None:
        """Prepare the CPU to run code in ring 3. Raises MachineError if the engine cannot."""
        root, memory = self.memory.root, self.memory
        self.set_root(memory.kernel_root)
        self._user = UserMode(self, self._engine, self._frame, gates)
        self._clean = self._engine.save()
        self._nowhere = NOWHERE
        self.set_root(root)

    @property
    def has_user_mode(self) -> bool:
        """True after ``let_users_in``."""
        return self._user is not None

    def user_bases(self) -> tuple[int, int]:
        """The bases of FS and GS of the user code that the current task has left, in the kernel."""
        return self._engine.user_bases()

    def set_user_bases(self, fs: int, gs: int) -> None:
        """Set what ``user_bases`` returns."""
        self._engine.set_user_bases(fs, gs)

    def run_user(self, regs: int, leave: int) -> NoReturn:
        """Run the user code whose struct pt_regs is at ``regs``, after a call of ``leave(regs)``.

        It returns only by an exception, such as that of a task that exits.
        """
        if self._user is None:
            raise MachineError("the CPU has no user mode")
        self.depth += 1
        try:
            self._run(self._user.leave(regs, leave))
        finally:
            self.depth -= 1
        raise MachineError("user code has returned to where nobody called it")

    def _left_user_mode(self, user: UserMode, error: int) -> int:
        """Handle the end of an emulation in ring 3. Returns the next RIP."""
        self.was_in_user_mode = True
        if user.stopped:
            return user.syscall()
        dog = self.watchdog
        dog.laps += 1
        if error or self._vector >= 0:
            return user.exception(self._taken_vector(error), self._restore_clean)
        if self._is_crossing(rip := self._engine.rip):
            return rip
        registers = user.interrupt(self._restore_clean)
        self.sp = user.interrupted
        self.on_stuck(registers, True)
        return user.leave(user.interrupted)

    def _taken_vector(self, error: int) -> int:
        vector, self._vector, self._last = self._vector, -1, None
        return vector if vector >= 0 else vector_of(error)

    # -- running --------------------------------------------------------------------------------------

    def call(self, function: int, *arguments: int) -> int:
        """Call the guest function at an address in the current task; returns RAX, unsigned.

        The arguments are integers or pointers, in any number. Raises what ``on_exception`` raises for a
        fault.
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

    @property
    def result_high(self) -> int:
        """RDX as the last call left it: the second half of a result of 16 bytes."""
        return int(self._frame[stubs.F_RESULT_HIGH])

    def _run(self, rip: int) -> int:
        frame, handlers, handle = self._frame, self.stubs.handlers, self._engine.handle
        start, dog, nowhere = emu_start, self.watchdog, self._nowhere
        dog.laps += 1
        self._vector = -1  # whatever another run of the engine may have left
        while True:
            frame[0] = ID_NONE
            dog.running = True
            error = start(handle, rip, nowhere, 0, 0)
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
                except (Exception, Stalled) as raised:
                    self.on_error(raised, number)
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
        """Handle the end of an emulation without a trap: a fault, or the watchdog. Returns the next RIP.

        Raises what a device or a port raised.
        """
        failure, self._engine.raised = self._engine.raised, None
        if failure is not None:
            raise failure
        if (user := self._user) is not None:
            if self._engine.privilege:
                return self._left_user_mode(user, error)
            if self._vector >= 0 and user.returns():
                return user.bad_return(self._taken_vector(error), self._restore_clean)
            if user.stopped:  # SYSCALL in the kernel, whose entry code is not prepared for that
                user.stopped = False
                raised = CpuException(UD_VECTOR, self.registers())
                return self._handle_exception(raised, self._engine.extended_registers())
        if error or self._vector >= 0:
            extended = self._engine.extended_registers()
            raised = self._exception(error)
            self._engine.restore_extended(extended)  # a handler may switch tasks, and a report shows FS
            return self._handle_exception(raised, extended)
        return self._stuck()

    def _wild_trap(self) -> int:
        """Handle guest code that jumped into the stubs' common part or overwrote the trap frame.

        No function has the number found, so this is a general protection fault, like an hlt that may not be
        executed.
        """
        raised = CpuException(GP_VECTOR, self.registers())
        return self._handle_exception(raised, self._engine.extended_registers())

    def _handle_exception(self, raised: CpuException, extended: bytes) -> int:
        sp, dog = self.sp, self.watchdog
        after = self.on_exception(raised)
        # A repaired fault is retried, and that is progress, as is a probe's breakpoint. One that was reported
        # and skipped counts as many calls; otherwise a loop around a WARN() would report for hours.
        progress = after.rip == raised.registers.rip or raised.vector == BP_VECTOR
        dog.laps += 1 if progress else EXCEPTION_LAPS
        if dog.laps >= self._slice_end:
            self.on_stuck(after, False)
        self.sp = sp
        return self._resume(after, extended)

    def _stuck(self) -> int:
        """Handle guest code that has long not called the kernel, or halts the CPU. Returns the next RIP."""
        self.watchdog.laps += 1
        registers = self.registers()
        if self._is_crossing(registers.rip):
            return registers.rip
        context = self._engine.save()
        sp = self.sp
        self.sp = (registers["rsp"] - 128) & ~15
        self.on_stuck(registers, True)
        self._engine.restore(context)
        self.sp = sp
        return registers.rip

    def _is_crossing(self, rip: int) -> bool:
        """True if code there is on its way between guest and Python, or ring 3 and the kernel: let it arrive.

        The watchdog stops the CPU anywhere, also where what comes next is in the trap frame alone, which
        other code would overwrite. Code that stays there for ever has the patience of the machine's caller.
        """
        if self.watchdog.late:
            return False
        crosses = stubs.TRAP_AT <= rip < stubs.THUNKS_AT
        return crosses or (self._user is not None and self._user.crosses(rip))

    def _resume(self, registers: Registers, extended: bytes) -> int:
        """Set all registers; returns RIP.

        Restoring the clean context also clears the engine's record of an exception, which would make the next
        one a double fault.
        """
        self._restore_clean()
        self._engine.set_registers(registers, extended)
        return registers.rip

    def new_slice(self, calls: int) -> None:
        """Call ``on_slice`` after this many more kernel calls."""
        dog = self.watchdog
        dog.slices += 1
        self._slice_end = dog.laps + calls

    def registers(self) -> Registers:
        """All registers at present."""
        return self._engine.registers()

    def arguments(self) -> list[int]:
        """The six argument registers of the guest's latest call."""
        return self._frame[stubs.F_ARGS : stubs.F_ARGS + 6].tolist()

    # -- exceptions -----------------------------------------------------------------------------------

    def _interrupt(self, vector: int) -> None:
        if self._vector < 0:
            self._vector = vector
        elif self._last is None:
            # The engine has not stopped, but raised another exception: the guest is its own hypervisor (SVM).
            # Without that state, and where emulation ends, it stops.
            self._last = self.registers()
            self._restore_clean()
            self._engine.jump(self._nowhere)
        self._engine.stop()

    def _exception(self, error: int) -> CpuException:
        vector, self._vector = self._vector, -1
        code = self._engine.error_code() if vector == PF_VECTOR else 0
        registers, self._last = self._last or self.registers(), None
        self._restore_clean()
        if vector < 0:
            vector = vector_of(error)
        if vector != PF_VECTOR:
            return CpuException(vector, registers)
        write, fetch, present = bool(code & PF_WRITE), bool(code & PF_INSTR), bool(code & PF_PROT)
        write = write or (not present and not fetch and self._is_write(registers))
        return CpuException(vector, registers, registers.cr2, write, fetch, present)

    def _is_write(self, registers: Registers) -> bool:
        """True if a load that faulted on an absent page is that of an instruction which stores there, too.

        Hardware calls that a write, the engine a read. So the instruction is executed once more with a
        read-only page at the address: a load succeeds, a store faults again.
        """
        memory, page = self.memory, registers.cr2 & ~(PAGE_SIZE - 1)
        if not is_canonical(registers.cr2):
            return False
        if registers.cr2 < USER_HALF and memory.root != memory.kernel_root:
            # A process's page tables are the guest's own. The store faults when the load has brought it in.
            return False
        try:
            scratch = memory.alloc_frames(1)
            before = memory.swap_entry(page, scratch | READ_ONLY)
        except (Fault, LimitError):  # the guest has destroyed its page tables, or filled its memory
            return False
        self._resume(registers, b"")
        dog = self.watchdog  # a single instruction may run for ever: rep movs
        dog.laps += 1
        dog.running = True
        self.flush_code()  # code translated earlier does not count instructions, and would run on
        emu_start(self._engine.handle, registers.rip, self._nowhere, 0, 1)
        self.flush_code()
        dog.running = False
        write = self._vector == PF_VECTOR and self._engine.registers().cr2 == registers.cr2
        self._vector, self._last = -1, None
        memory.swap_entry(page, before)
        memory.free_frames(scratch, 1)
        self._restore_clean()
        return write


def _ignore(*_: object) -> None:
    pass


def _unhandled(raised: CpuException) -> Registers:
    raise MachineError(f"unhandled exception {raised.vector} at {raised.registers.rip:#x}")
