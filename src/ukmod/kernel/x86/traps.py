"""Exceptions of guest code: arch/x86/kernel/traps.c and arch/x86/mm/fault.c.

Either the exception is handled and the code continues (a fence was touched, the code expected the fault, a
warning was raised), or it becomes an oops and the task ends.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NoReturn

from ukmod.kernel.mm import kasan
from ukmod.kernel.mm.fault import user_fault
from ukmod.kernel.mm.switch import mm_of
from ukmod.kernel.mm.vmalloc import VMALLOC_END
from ukmod.kernel.oops import Line, Oops, hashed, modules_line, page_table_walk, snapshot
from ukmod.kernel.sched.core import PF_EXITING
from ukmod.kernel.signal_numbers import SIGFPE, SIGKILL, SIGSEGV
from ukmod.kernel.x86 import extable, kprobes, tsc
from ukmod.kernel.x86.bugs import Bug, report_bug
from ukmod.kernel.x86.insn_eval import memory_operand
from ukmod.kernel.x86.trapnr import DIE_TRAP, GUARD, TRAPS, Trap
from ukmod.kernel.x86.unwind import registers_at_trap, stack_bounds, walk, walk_trap
from ukmod.machine.area import VMALLOC_START
from ukmod.machine.memory import PAGE_SIZE, PRESENT, USER_HALF, Fault, is_canonical
from ukmod.machine.registers import (
    BP_VECTOR,
    DE_VECTOR,
    GP_VECTOR,
    PF_INSTR,
    PF_PROT,
    PF_RSVD,
    PF_VECTOR,
    PF_WRITE,
    UD_VECTOR,
    CpuException,
    Registers,
)
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def wire(k: Core) -> None:
    """Install the handlers for the CPU's exceptions: idt_setup_traps()."""
    k.cpu.on_exception = partial(exception, k)
    k.memory.resolve = partial(_resolve, k)


def _resolve(k: Core, address: int, write: bool) -> bool:  # noqa: FBT001 - an access, as Memory tells it
    if k.pages.populate(address) or user_fault(k, address, write=write):
        return True
    return kasan.report_access(k, address, write=write)


def die(
    k: Core, raised: CpuException, kind: str, trap: Trap, header: tuple[Line, ...], signal: int,
    *, address: int | None = None, irqs_off: bool = False, fatal: bool = False,
) -> Registers:  # fmt: skip
    """die(): report an oops with the registers of the exception; those to continue with."""
    state = snapshot(k, raised.registers, walk(k, raised.registers))
    oops = Oops(kind, trap, address, header, state, modules_line(k), fatal)
    return k.crash.die_or_continue(oops, signal, irqs_off=irqs_off)


def exception(k: Core, raised: CpuException) -> Registers:
    """Handle an exception; returns the registers to continue with, or raises what ends the task."""
    k.cpu.sp = (raised.registers["rsp"] - 128) & ~15  # below the guest's red zone: reports may call the guest
    if raised.vector == PF_VECTOR:
        return page_fault(k, raised)
    if raised.vector in (tsc.RDTSC_VECTOR, tsc.RDTSCP_VECTOR):
        return tsc.read_counter(k, raised)
    if raised.vector in (UD_VECTOR, BP_VECTOR) and (after := report_bug(k, raised.registers)) is not None:
        if isinstance(after, Bug):
            return die(k, raised, "BUG", TRAPS[UD_VECTOR], after.header, SIGSEGV)
        return after
    if raised.vector == BP_VECTOR:
        return _breakpoint(k, raised.registers) or _int3(k, raised)
    if (fixed := extable.fixup(k, raised)) is not None:
        return fixed
    trap = TRAPS.get(raised.vector) or Trap(f"exception {raised.vector}", raised.vector, DIE_TRAP)
    kind = trap.text
    if raised.vector == GP_VECTOR:
        trap = replace(trap, hint=gp_address(k, raised.registers))
    return die(k, raised, kind, trap, (), SIGSEGV)


def _breakpoint(k: Core, registers: Registers) -> Registers | None:
    """exc_int3(): a replaced, hooked or probed function; None if the breakpoint is not of these."""
    if k.image is not None and (stub := k.image.breakpoints.get(registers.rip - 1)) is not None:
        return replace(registers, rip=stub)
    return k.ftrace.hit(registers) or kprobes.int3(k, registers)


def _int3(k: Core, raised: CpuException) -> Registers:
    """The rest of exc_int3(): it counts as an NMI, so that a stray breakpoint ends the machine."""
    count = k.percpu.count
    k.percpu.add_preempt(count.nmi_offset + count.hardirq_offset)
    after = die(k, raised, "int3", TRAPS[BP_VECTOR], (), SIGSEGV)
    k.percpu.add_preempt(-count.nmi_offset - count.hardirq_offset)
    return after


def gp_address(k: Core, registers: Registers) -> str:
    """get_kernel_gp_address(): the address that caused the fault, if the instruction reveals it."""
    try:
        operand = memory_operand(k.memory.read(registers.rip, 16), registers, gs=k.percpu.gs)
    except Fault:
        operand = None
    if operand is None or operand.address is None:
        return ""
    canonical = (
        operand.address >= ~(USER_HALF - 1) & (1 << 64) - 1 or operand.address + operand.size <= USER_HALF
    )
    hint = "maybe for address" if canonical else "probably for non-canonical address"
    return f", {hint} {operand.address:#x}"


# -- page faults --------------------------------------------------------------------------------------


def page_fault(k: Core, raised: CpuException) -> Registers:
    """exc_page_fault()."""
    registers, address = raised.registers, raised.address
    if not raised.present and k.pages.populate(address):
        return registers
    if raised.write and k.shadow is not None and k.shadow.populate(address):
        return registers
    if user_fault(k, address, write=raised.write, fetch=raised.fetch, present=raised.present):
        return registers
    if (
        not raised.present
        and not raised.fetch
        and kasan.report_access(k, address, write=raised.write, registers=registers)
    ):
        return registers
    if (fixed := extable.fixup(k, raised)) is not None:
        return fixed
    if guard := stack_guard(k, address):
        return die(k, raised, "stack overflow", GUARD, guard, SIGSEGV, fatal=True)
    code = error_code(
        write=raised.write, fetch=raised.fetch, present=raised.present, reserved=k.memory.corrupted(address)
    )
    header = page_fault_header(k, address, code)
    irqs_off = raised.fetch or _irqs_off(k, address)
    trap = Trap("Oops", error=code)
    return die(k, raised, "page fault", trap, header, SIGKILL, address=address, irqs_off=irqs_off)


def _irqs_off(k: Core, address: int) -> bool:
    """True unless the fault was on a user address of a user process, which still has its memory.

    Only then do_user_addr_fault() enables interrupts before it gives up.
    """
    task = k.sched.current
    if task is None or task.is_kthread or address >= USER_HALF:
        return True
    return bool(k.tasks.pf(task) & PF_EXITING) and not mm_of(k, task)


def error_code(*, write: bool, fetch: bool, present: bool, reserved: bool) -> int:
    """The error code of a page fault; one for reserved bits is also one for a page that is present."""
    code = PF_PROT | PF_RSVD if reserved else PF_PROT if present else 0
    return code | (PF_WRITE if write else 0) | (PF_INSTR if fetch else 0)


def page_fault_header(k: Core, address: int, code: int) -> tuple[Line, ...]:
    """show_fault_oops()."""
    lines: list[Line] = []
    write, fetch = code & PF_WRITE, code & PF_INSTR
    if fetch and code & PF_PROT and not code & PF_RSVD:
        lines.append((2, "kernel tried to execute NX-protected page - exploit attempt? (uid: 0)"))
    if address < PAGE_SIZE:
        lines.append((1, f"BUG: kernel NULL pointer dereference, address: {address:016x}"))
    else:
        lines.append((1, f"BUG: unable to handle page fault for address: {address:016x}"))
    access = "instruction fetch" if fetch else "write access" if write else "read access"
    lines.append((1, f"#PF: supervisor {access} in kernel mode"))
    why = "permissions violation" if code & PF_PROT else "not-present page"
    if code & PF_RSVD:
        why = "reserved bit violation"
    lines.append((1, f"#PF: error_code(0x{code:04x}) - {why}"))
    lines.append((6, page_table_walk(k, address)))
    return tuple(lines)


def stack_guard(k: Core, address: int) -> tuple[Line, ...]:
    """get_stack_guard_info(): the lines to print if ``address`` is just below the stack."""
    low, high = stack_bounds(k)
    if not (VMALLOC_START <= address < VMALLOC_END and low - PAGE_SIZE <= address < low):
        return ()
    where = (hashed(k, value) for value in (address, low, high))
    return ((0, "BUG: TASK stack guard page was hit at {} (stack is {}..{})".format(*where)),)


def fault_in_kernel(k: Core, fault: Fault, stub: int = 0) -> NoReturn:
    """Report a bad pointer in a kernel function written in Python as the oops it would be in C.

    ``stub`` is the function's number; 0 for code that no guest code called: an event's or a task's.
    """
    registers = replace(registers_at_trap(k), rip=k.cpu.stubs.address(stub), cr2=fault.address)
    present = fault.write and bool(k.memory.prot(fault.address) & PRESENT)
    reserved = k.memory.corrupted(fault.address)
    code = error_code(write=fault.write, fetch=False, present=present, reserved=reserved)
    if is_canonical(fault.address):
        header = page_fault_header(k, fault.address, code)
        kind, trap, signal = "page fault", Trap("Oops", error=code), SIGKILL
    else:
        hint = f", probably for non-canonical address {fault.address:#x}"
        header, kind, signal = (), "general protection fault", SIGSEGV
        trap = replace(TRAPS[GP_VECTOR], hint=hint)
    state = snapshot(k, registers, walk_trap(k))
    address = fault.address if kind == "page fault" else None
    irqs_off = kind == "page fault" and _irqs_off(k, fault.address)
    k.crash.die(Oops(kind, trap, address, header, state, modules_line(k)), signal, irqs_off=irqs_off)


def stack_overflow(k: Core) -> NoReturn:
    """Report a kernel function written in Python that called itself until its stack was full."""
    registers = registers_at_trap(k)
    low, _ = stack_bounds(k)
    header = stack_guard(k, low - 8) or ((0, "BUG: IRQ stack guard page was hit"),)
    state = snapshot(k, replace(registers, cr2=low - 8), walk_trap(k))
    k.crash.die(Oops("stack overflow", GUARD, None, header, state, modules_line(k), fatal=True), SIGSEGV)


def divide_error(k: Core) -> NoReturn:
    """Report a division by zero in a kernel function written in Python: exc_divide_error()."""
    state = snapshot(k, registers_at_trap(k), walk_trap(k))
    k.crash.die(Oops("divide error", TRAPS[DE_VECTOR], None, (), state, modules_line(k)), SIGFPE)
