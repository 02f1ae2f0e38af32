"""The kernel: its parts put together, and what a user of it does with it.

Each part is a file named after the kernel's own and keeps its state in an object here (``k.sched``,
``k.modules``, ...). Functions that modules call are in those files too, marked with ``export``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ukmod.kernel.clock import NSEC_PER_SEC, Clock
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.kallsyms import Kallsyms
from ukmod.kernel.percpu import PerCpu
from ukmod.kernel.printk import Log, current_caller
from ukmod.kernel.sched import Scheduler, Task
from ukmod.kernel.slab import Slab
from ukmod.kernel.symbols import SymbolTable
from ukmod.kernel.task import Tasks
from ukmod.machine.cpu import Cpu
from ukmod.machine.memory import Memory

if TYPE_CHECKING:
    from ukmod.kernel.kasan import Report
    from ukmod.machine.types import Types


class Kernel:
    """A booted kernel without modules. ``types`` gives the struct layouts of the kernel it stands for.

    hz: CONFIG_HZ of that kernel, ticks a second.
    memory: bytes of RAM at most; only what is used is taken from the host.
    realtime: let virtual time pass no faster than real time.
    seed: choose among runnable tasks at random, reproducibly, instead of in turn.
    """

    def __init__(
        self,
        types: Types,
        *,
        hz: int = 250,
        memory: int = 1 << 30,
        realtime: bool = False,
        seed: int | None = None,
    ) -> None:
        self.types = types
        self.reports: list[Report] = []
        """Misuse of memory that was found, in order."""
        self.memory = Memory(memory)
        self.cpu = Cpu(self.memory)
        self.clock = Clock(hz, realtime=realtime)
        self.log = Log(self.clock)
        self.percpu = PerCpu(self)
        self.sched = Scheduler(self, self.clock, seed)
        self.tasks = Tasks(self)
        self.symbols = SymbolTable(self, kernel_functions())
        self.idle = self.tasks.create("swapper/0", lambda: 0)
        """Pid 0: what is current when no task is."""
        self.percpu.set_current(self.idle.address)
        self.log.caller = lambda: current_caller(self)
        self.kallsyms = Kallsyms(self)
        self.slab = Slab(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the machine down: every task's stack is unwound, the memory given back."""
        self.sched.kill_all()
        self.cpu.close()

    def printk(self, text: str, level: int = 4) -> None:
        """Print a line (or, without a newline, part of one) to the kernel log at ``level``, 0 to 7."""
        self.log.printk(text, level)

    def run(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass; tasks, timers and work run as they come due."""
        self.sched.run(lambda: False, self.clock.now + round(seconds * NSEC_PER_SEC))

    def run_task(self, comm: str, entry: Callable[[], int]) -> Task:
        """Run ``entry`` as a new process named ``comm`` until it has ended; the task, with its exit code."""
        task = self.tasks.create(comm, entry)
        self.sched.wake_new(task)
        self.sched.run(lambda: task.exited)
        return task

    def interrupt(self, action: Callable[[], Any]) -> None:
        """Run ``action`` as an interrupt would: on the idle task's stack, and it must not sleep."""
        cpu, sched = self.cpu, self.sched
        sp, depth = cpu.sp, cpu.depth
        cpu.sp, cpu.depth = self.idle.sp, 0
        self.percpu.set_current(self.idle.address)
        sched.in_interrupt = True
        try:
            action()
        finally:
            sched.in_interrupt = False
            cpu.sp, cpu.depth = sp, depth
