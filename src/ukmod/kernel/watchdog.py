"""Code that does not yield the CPU: time slices, and the lockup detectors (kernel/watchdog.c).

Virtual time stands still while code runs. A loop that waits for something only an event can cause would
therefore never end. So when it has used up a slice, time passes, events fire, and other tasks run if it can
be preempted.

A lockup is reported, and the code continues: it may be a long computation. What ends it is the CPU time that
the caller of the machine is willing to wait. The log says now and then that it still runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import PatienceError
from ukmod.kernel.oops import OopsState, Warn, modules_line, snapshot
from ukmod.kernel.preempt_count import is_counted
from ukmod.kernel.sched.core import SLICE_CALLS, SLICE_NS, Task, TaskExitError
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.x86.unwind import Frame, registers_at_trap, walk, walk_trap
from ukmod.machine.memory import USER_HALF, Fault
from ukmod.machine.registers import RFLAGS_IF, Registers

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

LOCKUP_SECONDS: Final = 22
"""Virtual seconds without sleep: slightly more than twice watchdog_thresh, as in the kernel."""
HARD_LOCKUP_SECONDS: Final = 10
"""The same for one interrupt: watchdog_thresh."""
LOCKUP_SLICES: Final = LOCKUP_SECONDS * NSEC_PER_SEC // SLICE_NS
HARD_LOCKUP_SLICES: Final = HARD_LOCKUP_SECONDS * NSEC_PER_SEC // SLICE_NS
UNCOUNTED_SLICES: Final = NSEC_PER_SEC // SLICE_NS
"""Slices after which code that does not sleep waits for another task, whatever a preempt count could say."""
SLOWEST: Final = 4
"""Seconds of CPU time for one of virtual time; more, for long, are suspicious."""
LOOKED_AT: Final = 100
"""The tasks that are searched for one in a module's code: the oldest, as a flood's cause is older than it."""
SILENT_SLICES: Final = 8
"""The slices that one report by the CPU's watchdog counts as: 0.2 s, like the CPU time that has passed."""


def wire(k: Core) -> None:
    """Have the CPU report when a slice is used up."""
    k.cpu.on_slice = partial(used_up, k, None)
    k.cpu.on_stuck = partial(_stuck, k)


def _stuck(k: Core, registers: Registers, silent: bool) -> None:  # noqa: FBT001 - as Cpu tells it
    used_up(k, registers, SILENT_SLICES if silent else 1)


def used_up(k: Core, registers: Registers | None, slices: int = 1) -> None:
    """Handle used-up slices of the current task; ``registers`` are set if it is not in a kernel function.

    Raises PatienceError if the machine has no time left, KernelPanic for an interrupt that does not end.
    """
    k.cpu.new_slice(SLICE_CALLS)
    if k.cpu.watchdog.late:
        out_of_patience(k, registers)
    task = k.sched.current
    if task is None or k.sched.in_interrupt:
        k.idle.slices += slices
        if k.idle.slices >= HARD_LOCKUP_SLICES:
            k.crash.panic("Hard LOCKUP")
        k.clock.advance_to(k.clock.now + slices * SLICE_NS)
        return
    if k.cpu.was_in_user_mode:  # a program may run for as long as it likes
        k.cpu.was_in_user_mode = False
        task.slices = 0
    before, task.slices = task.slices, task.slices + slices
    k.clock.advance_to(k.clock.now + slices * SLICE_NS)
    if task.slices // LOCKUP_SLICES > before // LOCKUP_SLICES:
        soft_lockup(k, registers)
    if k.cpu.watchdog.is_asking():
        progress(k, registers)
    if not (registers.rflags & RFLAGS_IF if registers is not None else k.cpu.interrupts_enabled()):
        return  # what is due comes when they are enabled and a slice ends again, or the task sleeps
    k.sched.fire_due()
    k.percpu.set_current(task.address)
    k.sched.look_outside()
    if (k.sched.runnable() or k.sched.overdue()) and _may_preempt(k, task, registers):
        k.sched.preempt()


def _may_preempt(k: Core, task: Task, registers: Registers | None) -> bool:
    """preemptible(). A kernel that does not count its locks and RCU readers holds none for a second.

    ``registers`` are those of code that has been stopped anywhere.
    """
    if k.percpu.preempt_count():
        return False
    in_kernel_code = registers is not None and registers.rip >= USER_HALF
    return not in_kernel_code or task.slices >= UNCOUNTED_SLICES or is_counted(k)


def _state(k: Core, registers: Registers | None) -> OopsState:
    """The state of the machine at guest code with ``registers``, or at the current kernel function."""
    if registers is None:
        return snapshot(k, registers_at_trap(k), walk_trap(k))
    return snapshot(k, registers, walk(k, registers))


def soft_lockup(k: Core, registers: Registers | None = None) -> None:
    """watchdog_timer_fn(): report the task that hogs the CPU.

    ``registers`` are those of its code; without them, it is in a kernel function.
    """
    task = k.sched.current or k.idle
    comm = k.tasks.comm(task)
    seconds = max(task.slices // LOCKUP_SLICES, 1) * LOCKUP_SECONDS
    k.printk(f"watchdog: BUG: soft lockup - CPU#0 stuck for {seconds}s! [{comm}:{task.pid}]\n", 0)
    state = _state(k, registers)
    report = Warn(f"soft lockup in {comm}", "", 0, state, modules_line(k))
    k.crash.keep(report)
    k.taint.add("L")
    for text in (report.modules, *state.lines()):
        k.printk(text + "\n", 4)


def deadlock(k: Core) -> NoReturn:
    """Report a kernel function that would wait for ever, and end its task, as nothing else would.

    Raises TaskExitError, or KernelPanic if there is no task.
    """
    if k.sched.current is None or k.sched.in_interrupt:
        k.crash.panic("Hard LOCKUP")
    soft_lockup(k)
    k.percpu.set_preempt(0)
    raise TaskExitError(SIGKILL)


def progress(k: Core, registers: Registers | None = None) -> None:
    """Look at how far the machine has come since it was asked to run.

    Tasks that sleep again and again, and achieve nothing but that, are no soft lockup, nor is a computation
    that takes the host longer than a real machine. It is said that the host has long worked, for which task
    and in which function: its code has ``registers``, if they are given. If time passes, as in a flood of
    requests, this is for information only. Raises PatienceError if the machine has no time left.
    """
    if k.cpu.watchdog.late:
        out_of_patience(k, registers)
    seconds = (k.clock.now - k.sched.began) / NSEC_PER_SEC
    spent = k.cpu.watchdog.spent
    what, level = ("lockup suspected", 4) if seconds < spent / SLOWEST else ("still running", 6)
    task = k.sched.current or _busy(k)
    place = _module_frame(k, task, registers)
    where = f" in {place.place()}" if place is not None else ""
    text = f"{spent:.0f} s of CPU time for {seconds:.1f} s"
    k.printk(f"watchdog: {what} - {text} [{k.tasks.comm(task)}:{task.pid}]{where}\n", level)


def _busy(k: Core) -> Task:
    """The task to report when none runs: the last one, unless another waits in a module's code.

    Workers and helpers are kept busy by a module; the task that is in the module says by which.
    """
    last = k.sched.last or k.idle
    candidates = (last, *islice(k.tasks.all(), LOOKED_AT))
    return next((task for task in candidates if _module_frame(k, task) is not None), last)


def _module_frame(k: Core, task: Task, registers: Registers | None = None) -> Frame | None:
    """The innermost certain frame of a module's code on the stack of a task.

    The current task is in a kernel function, or its code has ``registers``.
    """
    if task.exited or not task.started:
        return None
    with _as_current(k, task), suppress(Fault):
        trace = walk_trap(k) if registers is None else walk(k, registers)
        return next((frame for frame in trace.frames if frame.module and frame.reliable), None)
    return None


@contextmanager
def _as_current(k: Core, task: Task) -> Iterator[None]:
    """Within this, ``task`` is the current one, for a reader of its stack."""
    if task is k.sched.current:
        yield
        return
    current, sp = k.sched.current, k.cpu.sp
    k.sched.current, k.cpu.sp = task, task.sp
    try:
        yield
    finally:
        k.sched.current, k.cpu.sp = current, sp


def out_of_patience(k: Core, registers: Registers | None = None) -> NoReturn:
    """Report where the guest is, and stop the machine: it has used the CPU time that it was given."""
    if k.sched.current is None and not (busy := _busy(k)).exited:
        k.sched.current, k.cpu.sp = busy, busy.sp
    task = k.sched.current or k.idle
    who = f"{k.tasks.comm(task)}:{task.pid}"
    text = f"the guest has used {k.patience:g} s of CPU time and has not finished"
    k.printk(f"watchdog: BUG: lockup suspected - {text} [{who}]\n", 0)
    state = _state(k, registers)
    for line in (modules_line(k), *state.lines()):
        k.printk(line + "\n", 4)
    frame = next((frame for frame in (state.rip, *state.frames) if frame.symbol and frame.reliable), None)
    place = frame.place() if frame is not None else "the kernel"
    if registers is not None and registers.rip < USER_HALF:
        place = f"its own code at {registers.rip:#x}"
    where = f"{who} was in {place}"
    k.crash.stop(PatienceError(f"{text}: {where}", function=frame.symbol if frame is not None else ""))
