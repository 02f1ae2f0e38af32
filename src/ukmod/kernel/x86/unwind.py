"""Call traces: the return addresses on a task's stack, and their names.

As in the kernel, the whole stack is scanned for code addresses. Those that the unwinder (orc.py) arrives at
are actual callers; the others are hints, marked with a question mark.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ukmod.errors import UkmodError
from ukmod.kernel.x86 import orc
from ukmod.kernel.x86.dumpstack import UserRegisters, user_registers
from ukmod.kernel.x86.orc import OrcTable, Position, Words
from ukmod.machine import stubs
from ukmod.machine.memory import NX, PRESENT, Fault
from ukmod.machine.registers import MASK64, Registers
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module
    from ukmod.kernel.sched.core import Task

TRACE_BYTES: Final = 512
"""The maximum number of stack bytes that a StackTrace keeps."""
_KERNEL_TEXT: Final = 0xFFFF_FFFF_8000_0000
"""__START_KERNEL_map: the kernel, stubs and modules are above it."""
_RFLAGS_FIXED_IF: Final = 0x202


@record
class StackTrace:
    """The callers of a kernel function, kept as raw stack and unwound only when a report needs them."""

    pid: int
    comm: str
    time: int
    """Virtual nanoseconds since boot."""
    sp: int
    """The address of ``stack``, which begins with the return address of the innermost call."""
    bp: int
    stack: bytes
    frames: tuple[Frame, ...] | None = None
    """Frames unwound early, because the caller's code will soon be freed: a module's init part."""
    gone: bool = False
    """True if the module whose code it was is no longer loaded."""

    @property
    def caller(self) -> int:
        """The return address of the innermost call; 0 if no guest code made it."""
        return int.from_bytes(self.stack[:8], "little")


@record
class Frame:
    """A code address with its name; ``symbol`` is empty if no symbol is known."""

    address: int
    symbol: str = ""
    offset: int = 0
    size: int = 0
    module: str = ""
    reliable: bool = True
    """False for a value on the stack that looks like a return address but may not be one."""
    source: str = ""
    """file:line, if the module's debugging information has it."""

    def __str__(self) -> str:
        if not self.symbol:
            return f"{self.address:#x}"
        if not self.size:  # a kernel function that is written in Python
            return self.symbol
        place = f"{self.symbol}+{self.offset:#x}/{self.size:#x}"
        return f"{place} [{self.module}]" if self.module else place

    def place(self) -> str:
        """The frame, with its source line if that is known."""
        return f"{self} ({self.source})" if self.source else str(self)

    def text(self) -> str:
        """The frame as a line of a call trace."""
        return str(self) if self.reliable else f"? {self}"


@record
class CallTrace:
    """The code addresses on a stack, innermost first."""

    frames: tuple[Frame, ...] = ()
    user: UserRegisters | None = None
    """The registers of user code, if the outermost certain caller is where that entered the kernel."""


def frame_of(k: Core, address: int, *, call: bool = False, reliable: bool = True) -> Frame:
    """Name a code address. ``call``: it is a return address, and the call before it is named (%pB)."""
    back = int(call)
    found = k.kallsyms.lookup(address - back)
    if found is None:
        return Frame(address, reliable=reliable)
    source = source_line(k, address - back) if found.module else ""
    return Frame(address, found.name, found.offset + back, found.size, found.module, reliable, source)


def source_line(k: Core, address: int) -> str:
    """file:line of a module's code; empty if its debugging information is missing or damaged."""
    module = k.modules.of_code(address)
    if module is None or (lines := k.sources.get(module.name)) is None:
        return ""
    starts = [(start, index) for index, start in module.layout.addresses.items() if start <= address]
    if not starts:
        return ""
    start, section = max(starts)
    try:
        found = lines.find(section, address - start)
    except UkmodError:
        return ""
    # An inline function in a kernel header is not the module's own code; report the line that called it.
    while found is not None and found.caller is not None and "/include/" in found.file:
        found = found.caller
    return f"{found.file}:{found.line}" if found is not None else ""


# -- capturing ----------------------------------------------------------------------------------------


def stack_bounds(k: Core) -> tuple[int, int]:
    """The lowest address and the end of the current stack."""
    task = k.idle if k.sched.in_interrupt or k.sched.current is None else k.sched.current
    return task.stack, task.stack + task.stack_size


def capture(k: Core) -> StackTrace:
    """Capture the callers of the current kernel function."""
    task = k.sched.current or k.idle
    low, high = stack_bounds(k)
    sp = k.cpu.sp + stubs.SAVED_BYTES
    if not low <= sp < high:
        return StackTrace(task.pid, k.tasks.comm(task), k.clock.now, sp, 0, b"")
    stack = k.memory.read(sp, min(high - sp, TRACE_BYTES))
    trace = StackTrace(task.pid, k.tasks.comm(task), k.clock.now, sp, k.memory.u64(sp - 16), stack)
    module = k.modules.of_code(trace.caller)
    if module is None or not 0 <= trace.caller - module.layout.init < module.layout.init_size:
        return trace
    return replace(trace, frames=frames_of(k, trace))


def registers_at_trap(k: Core) -> Registers:
    """The registers with which guest code called the current kernel function; RIP is the return address."""
    low, high = stack_bounds(k)
    sp = k.cpu.sp
    if not low <= sp < high - stubs.SAVED_BYTES:
        return Registers((0,) * len(stubs.REGISTERS), 0, _RFLAGS_FIXED_IF, 0)
    words = k.memory.read(sp, stubs.SAVED_BYTES + 8)
    values = [int.from_bytes(words[n : n + 8], "little") for n in range(0, len(words), 8)]
    saved = dict(zip(("r15", "r14", "r13", "r12", "rbp", "rbx"), values, strict=False))
    saved |= dict(zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), k.cpu.arguments(), strict=True))
    saved["rsp"] = sp + stubs.SAVED_BYTES
    gpr = tuple(saved.get(name, 0) for name in stubs.REGISTERS)
    return Registers(gpr, values[-1], _RFLAGS_FIXED_IF, 0)


# -- unwinding ----------------------------------------------------------------------------------------


def is_text(k: Core, address: int) -> bool:
    """__kernel_text_address(): True if a function may return to ``address``."""
    if address < _KERNEL_TEXT or address > MASK64:
        return False
    if stubs.STUB_BASE <= address < stubs.STUB_BASE + stubs.CODE_SIZE:
        return False
    prot = k.memory.prot(address)
    return bool(prot & PRESENT) and not prot & NX


def orc_table(k: Core, module: Module) -> OrcTable | None:
    """The module's ORC table, or None if it was built without one."""
    layout, sections = module.layout, module.layout.sections
    if layout.orc is not None:
        return layout.orc
    ips, entries = sections.get(".orc_unwind_ip"), sections.get(".orc_unwind")
    if ips is None or entries is None:
        return None
    old = k.types.has("orc_entry", "end") or not k.types.has("orc_entry", "signal")
    layout.orc = orc.read_table(k.memory, ips, entries, has_undefined_type=not old)
    return layout.orc


class Unwinder:
    """Steps from callee to caller, across modules and across calls from Python into the guest."""

    def __init__(self, k: Core, words: Words, high: int) -> None:
        self._k = k
        self._words = words
        self._high = high

    def caller(self, position: Position, *, returned: bool) -> Position | None:
        """The position after the function at ``position`` returns; None at the end, or if unknown.

        ``returned``: the position is itself a return address, perhaps the first byte after its function.
        """
        table = self._table(position.ip - returned)
        entry = table.find(position.ip - returned) if table is not None else None
        found = orc.step(self._words, position, entry) if entry is not None else None
        if found is not None and stubs.ENTER_AT <= found.ip < stubs.THUNKS_AT:
            return self._outer_trap(found.sp)
        return found

    def _table(self, address: int) -> OrcTable | None:
        """The ORC table of the module or image that contains ``address``."""
        k = self._k
        if k.image is not None and k.image.contains(address):
            return k.image.orc
        module = k.modules.of_code(address)
        return orc_table(k, module) if module is not None else None

    def _outer_trap(self, below: int) -> Position | None:
        """Python called the function: continue with the caller of that kernel function. See Cpu.call."""
        at = below + 8 + stubs.SAVED_BYTES
        if at % 16 != 8 or at + 8 > self._high:
            return None
        return Position(self._words.u64(at), at + 8, self._words.u64(at - 16), at)

    def callers(self, start: Position, *, returned: bool) -> Iterator[Position]:
        """The positions of all callers, innermost first."""
        position = self.caller(start, returned=returned)
        seen = 0
        while position is not None and seen < position.at:
            yield position
            seen = position.at
            position = self.caller(position, returned=True)


def walk(k: Core, registers: Registers) -> CallTrace:
    """The call trace from ``registers``: the callers of the function at RIP, innermost first."""
    sp = registers["rsp"]
    low, high = stack_bounds(k)
    start = Position(registers.rip, sp, registers["rbp"])
    known: dict[int, int] = {}
    if registers.rip == 0 and low <= sp < high:
        # A null pointer was called: its return address is at the top of the stack.
        start = Position(k.memory.u64(sp), sp + 8, registers["rbp"], sp)
        known[sp] = start.ip
    found = tuple(Unwinder(k, k.memory, high).callers(start, returned=bool(known)))
    known |= {position.at: position.ip for position in found}
    return CallTrace(_scan(k, max(sp, low), high, known), _entry_registers(k, k.sched.current, found))


def callers(k: Core) -> tuple[Position, ...]:
    """The certain callers of the current kernel function, innermost first."""
    return _callers_at(k, k.cpu.sp, *stack_bounds(k))


def _callers_at(k: Core, sp: int, low: int, high: int) -> tuple[Position, ...]:
    """The certain callers of the kernel function whose stub has this stack pointer."""
    at = sp + stubs.SAVED_BYTES
    if not low <= at < high:
        return ()
    start = Position(k.memory.u64(at), at + 8, k.memory.u64(at - 16), at)
    return (start, *Unwinder(k, k.memory, high).callers(start, returned=True))


def walk_trap(k: Core) -> CallTrace:
    """The call trace of the current kernel function: its callers, innermost first."""
    found = callers(k)
    if not found:
        return CallTrace()
    known = {position.at: position.ip for position in found}
    return CallTrace(
        _scan(k, min(known), stack_bounds(k)[1], known), _entry_registers(k, k.sched.current, found)
    )


def _entry_registers(k: Core, task: Task | None, found: tuple[Position, ...]) -> UserRegisters | None:
    """unwind_get_entry_regs(): entry code calls the kernel with its stack pointer at the struct pt_regs."""
    thread = task.thread if task is not None else None
    if thread is None or not found or found[-1].sp != thread.regs:
        return None
    return user_registers(k, thread.regs, is_current=task is k.sched.current)


def walk_asleep(k: Core, task: Task) -> CallTrace:
    """The certain callers of the function in which a task sleeps."""
    found = _callers_at(k, task.sp, task.stack, task.stack + task.stack_size)
    frames = (frame_of(k, position.ip, call=True) for position in found)
    known = tuple(frame for frame in frames if is_text(k, frame.address))
    return CallTrace(known, _entry_registers(k, task, found))


def _scan(k: Core, low: int, high: int, known: dict[int, int]) -> tuple[Frame, ...]:
    """All code addresses on the stack; those whose stack address is in ``known`` are certain callers."""
    low = (low + 7) & ~7
    if low >= high:
        return ()
    frames = []
    for at, (address,) in enumerate(struct.iter_unpack("<Q", k.memory.read(low, (high - low) & ~7))):
        if is_text(k, address):
            reliable = known.get(low + 8 * at) == address
            frames.append(frame_of(k, address, call=True, reliable=reliable))
    return tuple(frames)


@record
class _Kept:
    """The captured stack of a StackTrace, read like memory."""

    trace: StackTrace

    def u64(self, address: int) -> int:
        """The 8 bytes at ``address``. Raises Fault if they were not captured."""
        offset = address - self.trace.sp
        if not 0 <= offset <= len(self.trace.stack) - 8:
            raise Fault(address)
        return int.from_bytes(self.trace.stack[offset : offset + 8], "little")


def frames_of(k: Core, trace: StackTrace, known: dict[int, Frame | None] | None = None) -> tuple[Frame, ...]:
    """The certain callers in a captured trace, innermost first.

    ``known``: the frames of addresses that were looked up before, None for those without code; for the caller
    of many traces.
    """
    if trace.frames is not None:
        return trace.frames
    known = {} if known is None else known

    def frame_at(address: int) -> Frame | None:
        if address not in known:
            known[address] = frame_of(k, address, call=True) if is_text(k, address) else None
        return known[address]

    if frame_at(trace.caller) is None:
        return ()
    start = Position(trace.caller, trace.sp + 8, trace.bp, trace.sp)
    found = Unwinder(k, _Kept(trace), trace.sp + len(trace.stack)).callers(start, returned=True)
    return tuple(frame for p in (start, *found) if (frame := frame_at(p.ip)) is not None)


def may_name(trace: StackTrace, module: Module, code: Iterable[tuple[int, int]]) -> bool:
    """False if ``frames_of`` cannot find the module among the callers; judged from the raw stack alone.

    ``code``: where the code in question begins and ends. The bytes that all its addresses share are looked
    for, as there are many traces, and few that have them without being the module's.
    """
    if trace.frames is not None:
        return any(frame.module == module.name for frame in trace.frames)
    return any(_shared_bytes(begin, end) in trace.stack for begin, end in code if begin < end)


@lru_cache(maxsize=4)
def _shared_bytes(begin: int, end: int) -> bytes:
    """The upper bytes, lowest first, that the addresses from ``begin`` to ``end`` share."""
    return begin.to_bytes(8, "little")[(begin ^ end).bit_length() + 7 >> 3 :]


def module_frame(k: Core, trace: StackTrace) -> Frame | None:
    """The innermost caller within a module, or None."""
    return next((frame for frame in frames_of(k, trace) if frame.module), None)
