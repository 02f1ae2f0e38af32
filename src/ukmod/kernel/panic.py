"""Taint, warnings, BUG() and panic(): kernel/panic.c and lib/bug.c.

Each report is first a value (see oops.py), kept in ``k.warnings`` or ``k.oopses``, and then printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import KernelPanic, StoppedError
from ukmod.kernel.boot_parameters import boot_parameters
from ukmod.kernel.export import export
from ukmod.kernel.kdebug import KMSG_DUMP_OOPS
from ukmod.kernel.lib.kstrtox import S32, parse
from ukmod.kernel.lib.vsprintf import vformat
from ukmod.kernel.limits import MAX_REPORTS, OOPS_LIMIT
from ukmod.kernel.oops import END_TRACE, Oops, Warn, call_trace, modules_line, snapshot, task_line
from ukmod.kernel.sched.core import PF_EXITING, TaskDeadError, TaskExitError
from ukmod.kernel.signal_numbers import SIGSEGV
from ukmod.kernel.x86.bug_table import placed
from ukmod.kernel.x86.trapnr import TRAPS
from ukmod.kernel.x86.unwind import Frame, frame_of, registers_at_trap, walk, walk_trap
from ukmod.machine.abi import CStr, Int, Ptr, UInt, ULong, VarArgs
from ukmod.machine.registers import UD_VECTOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kernel.bug import Site
    from ukmod.kernel.core import Core
    from ukmod.kernel.oops import Line
    from ukmod.kernel.x86.unwind import CallTrace
    from ukmod.machine.registers import Registers

TAINT_LETTERS: Final = "PFSRMBUDAWCIOELKXTN"
"""In the order of their bits, Documentation/admin-guide/tainted-kernels.rst."""
TAINT_NAMES: Final = (
    *("PROPRIETARY_MODULE", "FORCED_MODULE", "CPU_OUT_OF_SPEC", "FORCED_RMMOD", "MACHINE_CHECK", "BAD_PAGE"),
    *("USER", "DIE", "OVERRIDDEN_ACPI_TABLE", "WARN", "CRAP", "FIRMWARE_WORKAROUND", "OOT_MODULE"),
    *("UNSIGNED_MODULE", "SOFTLOCKUP", "LIVEPATCH", "AUX", "RANDSTRUCT", "TEST"),
)
"""The flags' names, in the order of their letters."""
_LOCKDEP_NOW_UNRELIABLE: Final = 1
CUT_HERE: Final = "------------[ cut here ]------------\n"
UD2_LENGTH: Final = 2


class Taint:
    """The kernel's taint flags, by their letters; an image's ``tainted_mask`` has them, too."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._letters: set[str] = set()

    def add(self, letter: str) -> None:
        """add_taint()."""
        self._letters.add(letter)
        self._publish()

    def clear(self) -> None:
        """Forget all flags, as when the kernel starts."""
        self._letters.clear()
        self._publish()

    def _publish(self) -> None:
        if self._k.image is not None:
            self._k.image.set("tainted_mask", self.mask)

    def has(self, letter: str) -> bool:
        """test_taint()."""
        return letter in self._letters

    @property
    def mask(self) -> int:
        """/proc/sys/kernel/tainted."""
        return sum(1 << TAINT_LETTERS.index(letter) for letter in self._letters)

    def __str__(self) -> str:
        """print_tainted()."""
        if not self._letters:
            return "Not tainted"
        # G means that P is absent; other absent flags are blanks.
        flags = (c if c in self._letters else "G" if c == "P" else " " for c in TAINT_LETTERS)
        return "Tainted: " + "".join(flags)

    def verbose(self) -> str:
        """print_tainted_verbose(), since v6.11: each flag with its name; empty without any."""
        named = zip(TAINT_LETTERS, TAINT_NAMES, strict=True)
        flags = ", ".join(f"[{letter}]={name}" for letter, name in named if letter in self._letters)
        return f"Tainted: {flags}" if flags else ""


def _int(value: str | None) -> int:
    """A parameter of type int, as the kernel's command line has it; 0 if it is missing or refused."""
    try:
        return parse((value or "").encode("utf-8", "surrogateescape"), 0, S32)
    except (ValueError, OverflowError):
        return 0


class Crash:
    """The handling of errors, and the sysctls that control it."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        boot = boot_parameters(kernel.cmdline)
        self.panic_on_oops = boot.get("oops") == "panic"
        self.panic_on_warn = _int(boot.get("panic_on_warn")) != 0
        self.panic_timeout = _int(boot.get("panic"))
        """kernel.panic: after a panic, 0 halts the machine (and says so); other values restart it."""
        self._oopsing = False
        self._end: StoppedError | None = None
        """Why the machine has stopped."""
        self._debug_locks = True

    # -- continuing -----------------------------------------------------------------------------------

    def warn(
        self,
        message: str,
        file: str,
        line: int,
        *,
        rip: Frame | None = None,
        registers: Registers | None = None,
        cut_here: bool = True,
        taint: str = "W",
    ) -> None:
        """__warn(): report and continue. ``message`` ends with a newline, or is empty.

        ``registers`` are given if the warning is a guest's instruction; otherwise it is a kernel function's,
        which ``rip`` may name. ``cut_here``: whether to print the line that begins a report.
        """
        k = self._k
        if cut_here:
            k.printk(CUT_HERE)
        if message:
            k.printk(message if message.endswith("\n") else message + "\n")
        if registers is None:
            state = snapshot(k, registers_at_trap(k), walk_trap(k), rip=rip or Frame(0))
        else:
            state = snapshot(k, registers, walk(k, registers))
        report = Warn(message.rstrip("\n"), file, line, state, modules_line(k))
        self.keep(report)
        for level, text in report.lines():
            if text == END_TRACE:
                k.lockdep.show_interrupts((k.sched.current or k.idle).address)
            k.printk(text + "\n", level)
        k.taint.add(taint)
        if self.panic_on_warn:
            self.panic("kernel: panic_on_warn set ...\n")

    def warn_at(self, site: Site, message: str = "") -> None:
        """WARN() in a kernel function that is written in Python, at its place in this kernel's source."""
        there, rip = self._placed(site, warning=True)
        self.warn(message, there.file, there.line, rip=rip)

    def _placed(self, site: Site, *, warning: bool) -> tuple[Site, Frame]:
        """Where a kernel function reports itself, and the instruction: the image's, if that is known."""
        there, rip = placed(self._k, site, warning=warning)
        return there, frame_of(self._k, rip) if rip else Frame(0, there.function)

    def keep(self, report: Warn) -> None:
        """Keep a warning as a value, unless there are already too many."""
        if len(self._k.warnings) < MAX_REPORTS:
            self._k.warnings.append(report)

    def checker_report(self, text: str) -> None:
        """Keep the first line of a report that a checker of the image has begun to log, such as lockdep."""
        k, trace = self._k, walk_trap(self._k)
        code = next((frame for frame in trace.frames if frame.module and frame.reliable), trace.frames[0])
        self.keep(Warn(text, "", 0, snapshot(k, registers_at_trap(k), trace, rip=code), modules_line(k)))

    def dump_stack(self, level: int = 4) -> None:
        """dump_stack_lvl()."""
        k = self._k
        k.printk(task_line(k) + "\n", level)
        self.show_trace(walk_trap(k), level, interrupt=k.sched.in_interrupt)

    def show_trace(self, trace: CallTrace, level: int, *, interrupt: bool) -> None:
        """show_trace_log_lvl(). ``interrupt``: it is the trace of an interrupt, not of a task."""
        for text in call_trace(trace, interrupt=interrupt):
            self._k.printk(text + "\n", level)

    def scheduling_while_atomic(self) -> None:
        """__schedule_bug(): report a task that sleeps in atomic context."""
        k = self._k
        task = k.sched.task()
        count = k.percpu.preempt_count()
        name = k.tasks.comm(task)
        # The scheduler itself holds one more preempt count when it checks.
        k.printk(f"BUG: scheduling while atomic: {name}/{task.pid}/0x{count + 1:08x}\n", 3)
        k.lockdep.show_held_locks(task.address)
        k.printk(modules_line(k) + "\n")
        self.dump_stack()
        k.taint.add("W")

    def bad_page_taint(self) -> None:
        """add_taint(TAINT_BAD_PAGE, LOCKDEP_NOW_UNRELIABLE)."""
        self.debug_locks_off()
        self._k.taint.add("B")

    def debug_locks_off(self) -> None:
        """Turn lock debugging off, after a taint of the kind LOCKDEP_NOW_UNRELIABLE."""
        if self._debug_locks:
            self._k.printk("Disabling lock debugging due to kernel taint\n")
            self._debug_locks = False

    # -- ending -----------------------------------------------------------------------------------------

    def bug(self, site: Site) -> NoReturn:
        """BUG() in a kernel function: report it and end the task."""
        k = self._k
        there, rip = self._placed(site, warning=False)
        header = ((4, CUT_HERE.rstrip("\n")), (2, f"kernel BUG at {there.file}:{there.line}!"))
        state = snapshot(k, registers_at_trap(k), walk_trap(k), rip=rip)
        self.die(Oops("BUG", TRAPS[UD_VECTOR], None, header, state, modules_line(k)), SIGSEGV)

    def die(self, oops: Oops, signal: int, *, irqs_off: bool = False) -> NoReturn:
        """die(): print an oops and end the task with ``signal``, or panic if there is no task to end.

        ``irqs_off``: the exception was taken with interrupts disabled, and they remained so.
        """
        self._report(oops, continues=False)
        self._end_task(oops, signal, irqs_off=irqs_off)

    def die_or_continue(self, oops: Oops, signal: int, *, irqs_off: bool = False) -> Registers:
        """The same for code of the guest, which continues if a die notifier returns NOTIFY_STOP."""
        after = self._report(oops)
        if after is None or len(self._k.oopses) >= OOPS_LIMIT:  # a notifier may let it fail for ever
            self._end_task(oops, signal, irqs_off=irqs_off)
        return after

    def _report(self, oops: Oops, *, continues: bool = True) -> Registers | None:
        """The report, and who wants to hear of it; registers to continue with, if one of them says so."""
        k = self._k
        if self._oopsing:
            self.stop(KernelPanic("an oops while reporting an oops"))
        self._print(oops.header)
        if (after := k.kdebug.notify_trap(oops)) is not None and continues:
            return after
        self._debug_locks = False
        k.oopses.append(oops)
        self._print(oops.die_lines(number=len(k.oopses)))
        after = k.kdebug.notify_oops(oops)
        k.taint.add("D")
        self._print(oops.end_lines())
        k.kdebug.dump(KMSG_DUMP_OOPS, fatal=oops.fatal)
        self._print((4, text) for text in oops.summary_lines(k.oopses[0].state))
        return after

    def _print(self, lines: Iterable[Line]) -> None:
        self._oopsing = True
        try:
            for level, text in lines:
                self._k.printk(text + "\n", level)
        finally:
            self._oopsing = False

    def _end_task(self, oops: Oops, signal: int, *, irqs_off: bool) -> NoReturn:
        k = self._k
        if len(k.oopses) >= OOPS_LIMIT:
            self.panic(f"Oopsed too often (kernel.oops_limit is {OOPS_LIMIT})")
        if k.sched.in_interrupt or k.percpu.preempt_count() & k.percpu.count.interrupt_mask or oops.fatal:
            self.panic("Fatal exception in interrupt", fatal=oops.fatal)
        if self.panic_on_oops:
            self.panic("Fatal exception")
        self._make_task_dead(signal, irqs_off=irqs_off)

    def _make_task_dead(self, signal: int, *, irqs_off: bool) -> NoReturn:
        k = self._k
        if (task := k.sched.current) is None:
            self.panic("Attempted to kill the idle task!")
        who = f"{k.tasks.comm(task)}[{task.pid}]"
        if irqs_off:
            k.printk(f"note: {who} exited with irqs disabled\n", 6)
        if count := k.percpu.preempt_count():
            k.printk(f"note: {who} exited with preempt_count {count}\n", 6)
            k.percpu.set_preempt(0)
        if k.tasks.pf(task) & PF_EXITING:
            k.printk("Fixing recursive fault but reboot is needed!\n", 1)
            raise TaskDeadError
        raise TaskExitError(signal)

    def panic(self, message: str, *, fatal: bool = False) -> NoReturn:
        """panic(): stop the machine. Raises KernelPanic. ``fatal``: the stack cannot be used."""
        k = self._k
        message = message.removesuffix("\n")
        k.printk(f"Kernel panic - not syncing: {message}\n", 0)
        if not k.taint.has("D"):
            self.dump_stack(0)
        k.kdebug.panicked(message, fatal=fatal)
        if self.panic_timeout > 0:
            k.printk(f"Rebooting in {self.panic_timeout} seconds..\n", 0)
        elif self.panic_timeout == 0:
            k.printk(f"---[ end Kernel panic - not syncing: {message} ]---\n", 0)
        self.stop(KernelPanic(message))

    def stop(self, end: StoppedError) -> NoReturn:
        """Stop the machine, and raise ``end``, now and whenever it is to run again."""
        self._end = end
        raise end

    def forget(self) -> None:
        """Let tasks run again after a panic, while an image is brought up."""
        self._end = None

    def check(self) -> None:
        """Raise the error that stopped the machine, if it was stopped: nothing may run then."""
        if self._end is not None:
            from copy import copy

            raise copy(self._end)


def level_number(level: bytes) -> int:
    """The number of a KERN_ prefix; that of KERN_WARNING, the default, if it is another."""
    return int(level[1:2]) if level[:1] == b"\x01" and level[1:2].isdigit() else 4


@export()
def dump_stack(k: Core) -> None:
    """void dump_stack(void)."""
    k.crash.dump_stack()


@export()
def dump_stack_lvl(k: Core, level: CStr) -> None:
    """void dump_stack_lvl(const char *log_lvl)."""
    k.crash.dump_stack(level_number(level))


@export()
def panic(k: Core, fmt: CStr, args: VarArgs) -> None:
    """void panic(const char *fmt, ...)."""
    k.crash.panic(vformat(k, fmt, args).decode("utf-8", "replace"))


@export("__stack_chk_fail", native=True)
def stack_chk_fail(k: Core) -> None:
    """void __stack_chk_fail(void): the stack protector's canary has been overwritten."""
    where = frame_of(k, registers_at_trap(k).rip, call=True)
    k.crash.panic(f"stack-protector: Kernel stack is corrupted in: {where}")


@export("__warn_printk")
def warn_printk(k: Core, fmt: CStr, args: VarArgs) -> None:
    """void __warn_printk(const char *fmt, ...): print the message of a WARN(), whose ud2 follows."""
    k.printk(CUT_HERE)
    k.printk(vformat(k, fmt, args).decode("utf-8", "replace"))


@export()
def warn_slowpath_fmt(k: Core, file: CStr, line: Int, taint: UInt, fmt: Ptr, args: VarArgs) -> None:
    """void warn_slowpath_fmt(const char *file, int line, unsigned taint, const char *fmt, ...)."""
    words = vformat(k, k.memory.cstring(fmt), args).decode("utf-8", "replace") if fmt else ""
    k.crash.warn(words, file.decode("utf-8", "replace"), line, taint=_letter(taint))


@export()
def add_taint(k: Core, flag: UInt, lockdep_ok: Int) -> None:
    """void add_taint(unsigned flag, enum lockdep_ok lockdep_ok)."""
    if lockdep_ok == _LOCKDEP_NOW_UNRELIABLE:
        k.crash.debug_locks_off()
    k.taint.add(_letter(flag))


@export()
def test_taint(k: Core, flag: UInt) -> Int:
    """int test_taint(unsigned flag)."""
    return k.taint.has(_letter(flag))


@export()
def get_taint(k: Core) -> ULong:
    """unsigned long get_taint(void)."""
    return k.taint.mask


def _letter(flag: int) -> str:
    return TAINT_LETTERS[flag] if flag < len(TAINT_LETTERS) else "W"
