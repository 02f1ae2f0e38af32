"""Soft interrupts and tasklets: kernel/softirq.c.

Interrupts here are due events of the clock. Softirqs raised in an interrupt run directly after it, in softirq
context. Those raised by a task run in ksoftirqd, unless an interrupt or its local_bh_enable() precedes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.mm.account import admit
from ukmod.kernel.preempt_count import SOFTIRQ_DISABLE_OFFSET, SOFTIRQ_OFFSET
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, Task, block
from ukmod.kernel.watchdog import deadlock
from ukmod.machine.abi import Ptr, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

# include/linux/interrupt.h, in the order in which they are served
HI_SOFTIRQ: Final = 0
TIMER_SOFTIRQ: Final = 1
TASKLET_SOFTIRQ: Final = 6
HRTIMER_SOFTIRQ: Final = 8
RCU_SOFTIRQ: Final = 9
NR_SOFTIRQS: Final = 10
MAX_SOFTIRQ_RESTART: Final = 10
"""The number of rounds at the end of an interrupt: kernel/softirq.c."""

_ENABLED_IN_INTERRUPT: Final = Site("kernel/softirq.c", 400, "__local_bh_enable_ip")
_ENABLED_RAW_IN_INTERRUPT: Final = Site("kernel/softirq.c", 393, "_local_bh_enable")

TASKLET_STATE_SCHED: Final = 1 << 0
TASKLET_STATE_RUN: Final = 1 << 1


def _empty_interrupt() -> None:
    """An interrupt that only runs softirqs."""


class SoftIrqs:
    """The softirqs that were raised and have not run: by number, in the order they were raised."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._pending: tuple[deque[Callable[[], object]], ...] = tuple(deque() for _ in range(NR_SOFTIRQS))
        self._ksoftirqd: Task | None = None

    def raise_(self, number: int, action: Callable[[], object]) -> None:
        """raise_softirq(): have ``action`` called in softirq context as soon as possible."""
        k = self._k
        admit(k, len(self._pending[number]), "softirqs")
        self._pending[number].append(action)
        if k.percpu.preempt_count() & k.percpu.count.interrupt_mask:
            return  # its end runs it
        if k.sched.current is None or not self._wake_ksoftirqd():
            k.clock.at(k.clock.now, _empty_interrupt)

    def _wake_ksoftirqd(self) -> bool:
        """wakeup_softirqd(); False if there is no memory for the thread, which is made when it is needed."""
        k = self._k
        if self._ksoftirqd is None or self._ksoftirqd.exited:
            try:
                self._ksoftirqd = k.kthreads.create("ksoftirqd/0", self._run_ksoftirqd)
            except LimitError:
                return False
            self._ksoftirqd.owner = ""
            k.kthreads.bind(self._ksoftirqd)
        k.sched.wake(self._ksoftirqd)
        return True

    def _run_ksoftirqd(self) -> int:
        """smpboot_thread_fn() with run_ksoftirqd()."""
        k = self._k
        while True:
            self.run()
            k.tasks.set_state(k.sched.task(), TASK_INTERRUPTIBLE)
            k.sched.schedule(rest=self._run_ksoftirqd)

    def pending(self) -> bool:
        """local_softirq_pending()."""
        return any(self._pending)

    def run(self) -> None:
        """__do_softirq(): run pending softirqs, unless in an interrupt or with softirqs disabled.

        Softirqs raised meanwhile run in the next round. After several rounds, ksoftirqd continues beside
        other tasks.
        """
        k = self._k
        if k.percpu.preempt_count() & k.percpu.count.interrupt_mask:
            return
        for _ in range(MAX_SOFTIRQ_RESTART):
            if not self.pending():
                return
            for action in self._take():
                self.count(SOFTIRQ_OFFSET)
                k.lockdep.softirq(entered=True)
                try:
                    action()
                finally:
                    k.lockdep.softirq(entered=False)
                    self.count(-SOFTIRQ_OFFSET)
        self.leave_to_tick()

    def count(self, value: int) -> None:
        """softirq_count() += ``value``. With PREEMPT_RT, inlined code reads it from the task."""
        k = self._k
        k.percpu.add_preempt(value)
        if k.types.has("task_struct", "softirq_disable_cnt"):
            task = k.sched.current or k.idle
            at = task.address + k.types.offset("task_struct", "softirq_disable_cnt")
            k.memory.set_u32(at, k.memory.u32(at) + value)
        k.lockdep.follow_softirqs()

    def leave_to_tick(self) -> None:
        """Leave what is pending to the next timer interrupt."""
        if self.pending():
            self._k.clock.at(self._k.clock.now + self._k.clock.tick, _empty_interrupt)

    def _take(self) -> list[Callable[[], object]]:
        """Remove and return the pending actions, in the order in which they are served."""
        round_ = [action for queue in self._pending for action in queue]
        for queue in self._pending:
            queue.clear()
        return round_


class Tasklets:
    """struct tasklet_struct, whose state and count are in guest memory, since their users are inlined."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._layout = Layout(kernel.types, "tasklet_struct")
        self.queued: set[int] = set()
        """The addresses of the tasklets on a list: tasklet_vec and tasklet_hi_vec."""

    def init(self, tasklet: int, function: int, data: int, *, use_callback: bool) -> None:
        """tasklet_setup() or, with ``data`` as its argument instead of the tasklet, tasklet_init()."""
        memory = self._k.memory
        memory.set_u64(tasklet + self._layout.next, 0)
        memory.set_u64(tasklet + self._layout.state, 0)
        memory.set_u32(tasklet + self._layout.count, 0)
        memory.set_u64(tasklet + self._layout.func, function)
        memory.set_u64(tasklet + self._layout.data, data)
        memory.set_u8(tasklet + self._layout.use_callback, use_callback)

    def schedule(self, tasklet: int, softirq: int) -> None:
        """__tasklet_schedule(): the inlined caller has set TASKLET_STATE_SCHED."""
        self.queued.add(tasklet)
        self._k.softirqs.raise_(softirq, partial(self._run, tasklet, softirq))

    def function_at(self, tasklet: int) -> int:
        """``&tasklet->func``, which shares its place with ``tasklet->callback``."""
        return tasklet + self._layout.func

    def _run(self, tasklet: int, softirq: int) -> None:
        k, memory = self._k, self._k.memory
        self.queued.discard(tasklet)
        if not self.scheduled(tasklet):
            return
        if memory.u32(tasklet + self._layout.count):
            # A disabled tasklet stays on the list, and the softirq checks it again at the next tick.
            self.queued.add(tasklet)
            k.clock.at(k.clock.now + k.clock.tick, partial(self.schedule, tasklet, softirq))
            return
        memory.set_u64(tasklet + self._layout.state, TASKLET_STATE_RUN)
        function = memory.u64(tasklet + self._layout.func)
        callback = memory.u8(tasklet + self._layout.use_callback)
        k.cpu.call(function, tasklet if callback else memory.u64(tasklet + self._layout.data))
        self.clear_run(tasklet)

    def clear_run(self, tasklet: int) -> None:
        """tasklet_unlock()."""
        at = tasklet + self._layout.state
        self._k.memory.set_u64(at, self._k.memory.u64(at) & ~TASKLET_STATE_RUN)

    def scheduled(self, tasklet: int) -> bool:
        """True if TASKLET_STATE_SCHED is set."""
        return bool(self._k.memory.u64(tasklet + self._layout.state) & TASKLET_STATE_SCHED)

    def running(self, tasklet: int) -> bool:
        """True if TASKLET_STATE_RUN is set."""
        return bool(self._k.memory.u64(tasklet + self._layout.state) & TASKLET_STATE_RUN)

    def unlock_wait(self, tasklet: int) -> None:
        """tasklet_unlock_wait()."""
        while self.running(tasklet):
            block(self._k, TASK_UNINTERRUPTIBLE, 1)

    def kill(self, tasklet: int) -> None:
        """tasklet_kill(): if it is scheduled, wait until it has run."""
        k = self._k
        if k.percpu.preempt_count() & k.percpu.count.interrupt_mask:
            k.printk("Attempt to kill tasklet from interrupt\n", level=5)
        while self.scheduled(tasklet):
            block(k, TASK_UNINTERRUPTIBLE, 1)
        self.unlock_wait(tasklet)


@export("__local_bh_disable_ip")
def local_bh_disable_ip(k: Core, ip: ULong, count: UInt) -> None:
    """void __local_bh_disable_ip(unsigned long ip, unsigned int cnt)."""
    del ip
    k.softirqs.count(count)


@export("__local_bh_enable_ip")
def local_bh_enable_ip(k: Core, ip: ULong, count: UInt) -> None:
    """void __local_bh_enable_ip(unsigned long ip, unsigned int cnt): runs pending softirqs."""
    del ip
    if k.percpu.preempt_count() & k.percpu.count.hardirq_mask:
        warn_once(k, _ENABLED_IN_INTERRUPT)
    k.softirqs.count(1 - count)  # the task is not preempted before it has run them
    k.softirqs.run()
    k.percpu.add_preempt(-1)


@export("_local_bh_enable")
def local_bh_enable(k: Core) -> None:
    """void _local_bh_enable(void): the next interrupt runs what is pending."""
    if k.percpu.preempt_count() & k.percpu.count.hardirq_mask:
        warn_once(k, _ENABLED_RAW_IN_INTERRUPT)
    k.softirqs.count(-SOFTIRQ_DISABLE_OFFSET)
    k.softirqs.leave_to_tick()


@export()
def tasklet_setup(k: Core, tasklet: Ptr, callback: Ptr) -> None:
    """void tasklet_setup(struct tasklet_struct *, void (*callback)(struct tasklet_struct *))."""
    k.tasklets.init(tasklet, callback, 0, use_callback=True)


@export()
def tasklet_init(k: Core, tasklet: Ptr, function: Ptr, data: ULong) -> None:
    """void tasklet_init(struct tasklet_struct *, void (*func)(unsigned long), unsigned long data)."""
    k.tasklets.init(tasklet, function, data, use_callback=False)


@export("__tasklet_schedule")
def tasklet_schedule(k: Core, tasklet: Ptr) -> None:
    """void __tasklet_schedule(struct tasklet_struct *)."""
    k.tasklets.schedule(tasklet, TASKLET_SOFTIRQ)


@export("__tasklet_hi_schedule")
def tasklet_hi_schedule(k: Core, tasklet: Ptr) -> None:
    """void __tasklet_hi_schedule(struct tasklet_struct *)."""
    k.tasklets.schedule(tasklet, HI_SOFTIRQ)


@export()
def tasklet_kill(k: Core, tasklet: Ptr) -> None:
    """void tasklet_kill(struct tasklet_struct *)."""
    k.tasklets.kill(tasklet)


@export()
def tasklet_unlock_wait(k: Core, tasklet: Ptr) -> None:
    """void tasklet_unlock_wait(struct tasklet_struct *): wait for tasklet_unlock()."""
    k.tasklets.unlock_wait(tasklet)


@export()
def tasklet_unlock_spin_wait(k: Core, tasklet: Ptr) -> None:
    """void tasklet_unlock_spin_wait(struct tasklet_struct *): spins for ever, as no other CPU unlocks it."""
    if k.tasklets.running(tasklet):
        deadlock(k)


@export(gpl=True)
def tasklet_unlock(k: Core, tasklet: Ptr) -> None:
    """void tasklet_unlock(struct tasklet_struct *)."""
    k.tasklets.clear_run(tasklet)
