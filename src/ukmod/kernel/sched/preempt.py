"""Atomic context (include/linux/preempt.h), and the kernel's reports of tasks that sleep in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import KernelPanic
from ukmod.kernel.export import export
from ukmod.kernel.sched.core import TaskExitError
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.machine.abi import CStr, Int, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


_RCU_SHIFT: Final = 8
"""MIGHT_RESCHED_RCU_SHIFT, include/linux/kernel.h."""
PREEMPT_OFFSETS: Final = (1 << _RCU_SHIFT) - 1


def current_name_and_pid(k: Core) -> tuple[str, int]:
    """The name and pid of the current task, or of the idle task if there is none."""
    task = k.sched.current or k.idle
    return k.tasks.comm(task), task.pid


def lockup(k: Core, text: str) -> NoReturn:
    """Report that the current task will spin for ever, and end it so that the machine can continue."""
    k.printk(text, level=0)
    k.crash.dump_stack()
    if k.sched.current is None or k.sched.in_interrupt:
        raise KernelPanic(text.strip())
    k.percpu.set_preempt(0)
    raise TaskExitError(SIGKILL)


def in_atomic(k: Core) -> bool:
    """in_atomic()."""
    return k.percpu.preempt_count() != 0


@export("__might_sleep", image_first=True)
def might_sleep(k: Core, file: CStr, line: Int) -> None:
    """void __might_sleep(const char *file, int line): called by modules built with DEBUG_ATOMIC_SLEEP."""
    might_resched(k, file, line, 0)


@export("__might_resched", image_first=True)
def might_resched(k: Core, file: CStr, line: Int, offsets: UInt) -> None:
    """void __might_resched(const char *file, int line, unsigned int offsets): at most a report a second.

    ``offsets``: the preempt count (8 bits) and the depth of RCU readers that the caller expects.
    """
    task, clock = k.sched.task(), k.clock
    count, depth, off = k.percpu.preempt_count(), k.rcu.nesting(task), not k.cpu.interrupts_enabled()
    if count + (depth << _RCU_SHIFT) == offsets and not off and task is not k.idle:
        return
    if clock.jiffies < k.sched.report_again:
        return
    k.sched.report_again = clock.jiffies + clock.hz
    comm, pid = current_name_and_pid(k)
    for text in (
        f"BUG: sleeping function called from invalid context at {file.decode('latin-1')}:{line}",
        f"in_atomic(): {in_atomic(k):d}, irqs_disabled(): {off:d}, non_block: 0, pid: {pid}, name: {comm}",
        f"preempt_count: {count:x}, expected: {offsets & PREEMPT_OFFSETS:x}",
        f"RCU nest depth: {depth}, expected: {offsets >> _RCU_SHIFT}",
    ):
        k.printk(text + "\n", level=3)
    k.crash.dump_stack()
    k.taint.add("W")


@export("preempt_count_add", native=True)
def preempt_count_add(k: Core, value: Int) -> None:
    """void preempt_count_add(int val)."""
    k.percpu.add_preempt(value)


@export("preempt_count_sub", native=True)
def preempt_count_sub(k: Core, value: Int) -> None:
    """void preempt_count_sub(int val)."""
    k.percpu.add_preempt(-value)
