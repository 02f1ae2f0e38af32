"""Atomic context (include/linux/preempt.h), and the kernel's reports of tasks that sleep in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ukmod.errors import KernelPanic
from ukmod.kernel.export import export
from ukmod.kernel.sched.core import TaskExitError
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.machine.abi import CStr, Int

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


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


@export("__might_sleep", "__might_resched", native=True)
def might_sleep(k: Core, file: CStr, line: Int) -> None:
    """void __might_sleep(const char *file, int line): called by modules built with DEBUG_ATOMIC_SLEEP."""
    if not in_atomic(k):
        return
    comm, pid = current_name_and_pid(k)
    where = f"{file.decode('latin-1')}:{line}"
    k.printk(f"BUG: sleeping function called from invalid context at {where}\n", level=3)
    interrupt = int(k.sched.in_interrupt)
    text = f"in_atomic(): 1, irqs_disabled(): {interrupt}, non_block: 0, pid: {pid}, name: {comm}\n"
    k.printk(text, level=3)
    k.crash.dump_stack()


@export("preempt_count_add", native=True)
def preempt_count_add(k: Core, value: Int) -> None:
    """void preempt_count_add(int val)."""
    k.percpu.add_preempt(value)


@export("preempt_count_sub", native=True)
def preempt_count_sub(k: Core, value: Int) -> None:
    """void preempt_count_sub(int val)."""
    k.percpu.add_preempt(-value)
