"""Code that does not yield the CPU: time slices, and the soft lockup detector (kernel/watchdog.c).

Virtual time stands still while code runs. A loop that waits for something only an event can cause would
therefore never end. So when it has used up a slice, time passes, events fire, and other tasks run if it can
be preempted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.kernel.oops import Warn, modules_line, snapshot
from ukmod.kernel.sched.core import SLICE_CALLS, SLICE_NS, TaskExitError
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.kernel.x86.unwind import registers_at_trap, walk, walk_trap
from ukmod.machine.registers import Registers

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

LOCKUP_SLICES: Final = 220
"""Slices without sleep, 22 virtual seconds: slightly more than twice watchdog_thresh, as in the kernel."""
ENDLESS_SLICES: Final = 5 * LOCKUP_SLICES
"""Slices without sleep of a task that calls cond_resched(). The kernel would wait for ever."""
LOCKUP_PERIODS: Final = 12
"""The limit for code that calls no kernel function: the number of reports by the CPU's watchdog."""
LOCKUP_SECONDS: Final = 22


def wire(k: Core) -> None:
    """Have the CPU report when a slice is used up."""
    k.cpu.on_slice = partial(used_up, k, None)
    k.cpu.on_stuck = partial(_stuck, k)


def _stuck(k: Core, registers: Registers, silent: bool) -> None:  # noqa: FBT001 - as Cpu tells it
    # Slices of code that calls nothing cost real time, so fewer of them must suffice.
    used_up(k, registers, -(-LOCKUP_SLICES // LOCKUP_PERIODS) if silent else 1)


def used_up(k: Core, registers: Registers | None, slices: int = 1) -> None:
    """Handle used-up slices of the current task; ``registers`` are set if it is not in a kernel function.

    Raises TaskExitError for a task that has run for too long, or KernelPanic if there is no task.
    """
    k.cpu.new_slice(SLICE_CALLS)
    task = k.sched.current
    if task is None or k.sched.in_interrupt:
        k.crash.panic("Hard LOCKUP")
    task.slices += slices
    task.awake += slices
    if task.slices >= LOCKUP_SLICES or task.awake >= ENDLESS_SLICES:
        k.clock.advance_to(k.clock.now + slices * SLICE_NS)
        soft_lockup(k, registers)
    k.clock.advance_to(k.clock.now + slices * SLICE_NS)
    while event := k.clock.due():
        k.interrupt(event.action)
    k.percpu.set_current(task.address)
    if k.percpu.preempt_count() == 0 and k.cpu.interrupts_enabled() and k.sched.runnable():
        k.sched.preempt()


def soft_lockup(k: Core, registers: Registers | None = None) -> NoReturn:
    """watchdog_timer_fn(): report the task that hogs the CPU, and end it, since nothing else would.

    ``registers`` are those of its code; without them, it is in a kernel function that cannot continue.
    """
    task = k.sched.current
    if task is None or k.sched.in_interrupt:
        k.crash.panic("Hard LOCKUP")
    comm = k.tasks.comm(task)
    k.printk(f"watchdog: BUG: soft lockup - CPU#0 stuck for {LOCKUP_SECONDS}s! [{comm}:{task.pid}]\n", 0)
    at_trap = registers is None
    registers = registers or registers_at_trap(k)
    frames = walk_trap(k) if at_trap else walk(k, registers)
    state = snapshot(k, registers, frames)
    report = Warn(f"soft lockup in {comm}", "", 0, state, modules_line(k))
    k.warnings.append(report)
    k.taint.add("L")
    for text in (report.modules, *state.lines()):
        k.printk(text + "\n", 4)
    k.percpu.set_preempt(0)
    raise TaskExitError(SIGKILL)
