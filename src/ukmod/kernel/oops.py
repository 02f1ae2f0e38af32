"""Oopses and warnings as values, and the kernel's text for them.

The text follows arch/x86/kernel/dumpstack.c, process_64.c, arch/x86/mm/fault.c and kernel/panic.c line by
line, so that tools for real kernels' oopses can read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.vsprintf import vformat
from ukmod.kernel.sched.core import PF_WQ_WORKER
from ukmod.kernel.x86.dumpstack import code_bytes, general_registers
from ukmod.kernel.x86.trapnr import Trap
from ukmod.kernel.x86.unwind import CallTrace, Frame, frame_of
from ukmod.machine.registers import CR0, CR4, MASK64, Registers
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.machine.image.image import KernelImage

HARDWARE: Final = "ukmod emulated PC"
OPTIONS: Final = ("PREEMPT_RT", "PREEMPT", "SMP", "KASAN", "NOPTI")
"""The words of __die_header() for a kernel's options, in its order. DEBUG_PAGEALLOC is never on."""
END_TRACE: Final = "---[ end trace 0000000000000000 ]---"
Line = tuple[int, str]
"""A level of the kernel log, and a line of text without its newline."""


@record
class Wording:
    """How a kernel words its reports. It is read from the format strings of its image."""

    options: str = "PREEMPT SMP NOPTI"
    """The words after an oops's number, for the options that the kernel was built with."""
    names_user: bool = False
    """The line of the task has its user: "CPU: 0 UID: 0 PID: ..."."""
    names_taint: bool = False
    """A line below it has the names of the taint flags: "Tainted: [O]=OOT_MODULE"."""
    warns_by_place: bool = False
    """A warning begins with its place, and ends in the task."""
    says_oops: bool = False
    """The line with an oops's number begins with "Oops: ", whatever the error is."""
    preemption: str = ""
    """The words that end the line of the task: "PREEMPT(lazy)". An image says them once it is up."""

    @classmethod
    def of(cls, image: KernelImage | None) -> Wording:
        """The wording of an image, all of which is searched; without one, that of Debian's 6.1."""
        if image is None:
            return cls()
        has_text = image.has_text
        return cls(
            " ".join(word for word in OPTIONS if has_text(f" {word}\0")),
            names_user=has_text("CPU: %d UID: %u PID: %d Comm: "),
            names_taint=has_text("PROPRIETARY_MODULE\0"),
            warns_by_place=has_text("WARNING: %s:%d at %pS, CPU#%d: %s/%d"),
            says_oops=has_text("Oops: %s: %04lx [#%d]"),
        )


@record
class OopsState:
    """The state of the machine at an oops or warning: the data that show_regs() prints."""

    time: int
    """Virtual nanoseconds since boot."""
    pid: int
    comm: str
    task: str
    """The lines "CPU: ..." and "Hardware name: ...", and a worker's "Workqueue: ...", as one string."""
    rip: Frame
    registers: Registers
    code: str
    fs: int
    gs: int
    user_gs: int
    cr3: int
    trace: CallTrace
    """The call trace, without RIP itself."""
    interrupt: bool
    wording: Wording

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The call trace, innermost caller first."""
        return self.trace.frames

    def registers_lines(self) -> Iterator[str]:
        """__show_regs()."""
        r = self.registers
        yield f"RIP: 0010:{self.rip}"
        yield f"Code: {self.code}"
        yield f"RSP: 0018:{r['rsp']:016x} EFLAGS: {r.rflags:08x}"
        yield from general_registers(r)
        yield f"FS:  {self.fs:016x}(0000) GS:{self.gs:016x}(0000) knlGS:{self.user_gs:016x}"
        yield f"CS:  0010 DS: 0000 ES: 0000 CR0: {CR0:016x}"
        yield f"CR2: {r.cr2:016x} CR3: {self.cr3:016x} CR4: {CR4:016x}"

    def lines(self) -> Iterator[str]:
        """show_regs(): the task, its registers and its call trace."""
        yield from self.task.split("\n")
        yield from self.registers_lines()
        yield from call_trace(self.trace, interrupt=self.interrupt)


@record
class Oops:
    """An error that ended a task. ``kind`` is "page fault", "general protection fault", "BUG" and so on."""

    kind: str
    trap: Trap
    address: int | None
    """The address of a page fault."""
    header: tuple[Line, ...]
    """The lines printed before that line."""
    state: OopsState
    modules: str
    """The line "Modules linked in: ..."."""
    fatal: bool = False
    """True if the machine cannot continue because the stack itself is unusable."""

    @property
    def title(self) -> str:
        """The start of the line with the oops's number: "Oops: 0002"."""
        start = "Oops: " if self.state.wording.says_oops else ""
        return f"{start}{self.trap.text}{self.trap.hint}: {self.trap.error:04x}"

    def die_lines(self, *, number: int = 1) -> Iterator[Line]:
        """__die(): the lines of the ``number``-th oops's report, before die notifiers are called for it."""
        yield 4, f"{self.title} [#{number}] {self.state.wording.options}".rstrip()
        for text in (*self.state.lines(), self.modules):
            yield 4, text

    def end_lines(self) -> Iterator[Line]:
        """The lines after them, before those who keep the log are called."""
        if self.address is not None:
            yield 4, f"CR2: {self.address:016x}"
        yield 4, END_TRACE

    def summary_lines(self, first: OopsState) -> Iterator[str]:
        """The ``first`` oops's registers, which end each report; what no struct pt_regs has is of now."""
        registers = replace(first.registers, cr2=self.state.registers.cr2)
        return replace(self.state, rip=first.rip, code=first.code, registers=registers).registers_lines()

    def lines(self) -> Iterator[Line]:
        """The report as a whole, as it is of the first oops."""
        yield from (*self.header, *self.die_lines(), *self.end_lines())
        for text in self.summary_lines(self.state):
            yield 4, text

    def text(self) -> str:
        """The report as dmesg shows it."""
        return "\n".join(text for _, text in self.lines()) + "\n"

    def __str__(self) -> str:
        what = next((text for _, text in self.header if "cut here" not in text), self.title)
        return f"{what.strip()} in {self.state.rip.place()}, task {self.state.comm} (pid {self.state.pid})"


@record
class Warn:
    """A WARN_ON() or WARN() whose condition was true."""

    message: str
    """WARN()'s own message; empty for WARN_ON()."""
    file: str
    line: int
    state: OopsState
    modules: str

    def lines(self) -> Iterator[Line]:
        """The report's lines, without "cut here" and the message."""
        yield 4, self._first_line()
        yield 4, self.modules
        for text in self.state.lines():
            yield 4, text
        yield 4, END_TRACE

    def _first_line(self) -> str:
        state = self.state
        place = f"{self.file}:{self.line} " if self.file else ""
        if state.wording.warns_by_place:
            return f"WARNING: {place}at {state.rip}, CPU#0: {state.comm}/{state.pid}"
        return f"WARNING: CPU: 0 PID: {state.pid} at {place}{state.rip}".rstrip()

    def text(self) -> str:
        """The report as dmesg shows it."""
        return "\n".join(text for _, text in self.lines()) + "\n"

    def __str__(self) -> str:
        where = f" at {self.file}:{self.line}" if self.file else ""
        return f"{self.message or 'WARN_ON()'}{where} in {self.state.rip.place()}"


@record
class _One:
    """A single variadic argument."""

    value: int

    def next(self) -> int:
        return self.value


def hashed(k: Core, address: int) -> str:
    """An address as printed by %p."""
    return vformat(k, b"%p", _One(address)).decode()


# -- taking the state ---------------------------------------------------------------------------------


def task_line(k: Core) -> str:
    """dump_stack_print_info(): the current task, the machine, and what a worker is executing."""
    task = k.sched.current or k.idle
    user = f"UID: {k.creds.uid(task, 'euid')} " if k.wording.names_user else ""
    taint = k.taint.verbose() if k.wording.names_taint else ""
    version = f"#1 {k.wording.preemption}".rstrip()
    who = f"CPU: 0 {user}PID: {task.pid} Comm: {k.tasks.comm(task)} {k.taint} {k.release} {version}"
    work = k.workqueues.worker_info(task) if k.tasks.pf(task) & PF_WQ_WORKER else ""
    knows = k.image is None or k.image.get("dmi_available") is not None  # CONFIG_DMI
    return "\n".join(filter(None, (who, taint, f"Hardware name: {HARDWARE}" if knows else "", work)))


def modules_line(k: Core) -> str:
    """print_modules()."""
    listed = "".join(f" {module.name}{module.flags()}" for module in k.modules)
    last = f" [last unloaded: {k.modules.last_unloaded}]" if k.modules.last_unloaded else ""
    return f"Modules linked in:{listed}{last}"


def call_trace(trace: CallTrace, *, interrupt: bool) -> Iterator[str]:
    """show_trace_log_lvl()."""
    name = "IRQ" if interrupt else "TASK"
    yield "Call Trace:"
    yield f" <{name}>"
    for frame in trace.frames:
        yield f" {frame.text()}"
    if trace.user is not None:
        yield from trace.user.lines()
    yield f" </{name}>"


def snapshot(k: Core, registers: Registers, trace: CallTrace, *, rip: Frame | None = None) -> OopsState:
    """The state of the machine with ``registers``; ``rip`` names the place if they cannot."""
    task = k.sched.current or k.idle
    fs, user_gs = k.cpu.user_bases() if task.thread is not None else (0, 0)
    return OopsState(
        time=k.clock.now,
        pid=task.pid,
        comm=k.tasks.comm(task),
        task=task_line(k),
        rip=rip or frame_of(k, registers.rip),
        registers=registers,
        code=code_bytes(k, registers.rip),
        fs=fs,
        gs=k.percpu.gs & MASK64,
        user_gs=user_gs,
        cr3=k.memory.root,
        trace=trace,
        interrupt=k.sched.in_interrupt,
        wording=k.wording,
    )


def page_table_walk(k: Core, address: int) -> str:
    """dump_pagetable(): the page table entries for ``address``, up to the first that is not present."""
    parts = []
    for name, entry in zip(("PGD", "PUD", "PMD", "PTE"), k.memory.entries(address), strict=False):
        parts.append(f"{name} {entry:x}")
        if name == "PGD":
            parts.append(f"P4D {entry:x}")
    return " ".join(parts) + ("" if len(parts) == 5 else " ")
