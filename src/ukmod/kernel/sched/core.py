"""Tasks and the scheduler: kernel/sched/core.c, for one CPU and in virtual time.

A task is a greenlet. Guest code and the Python functions it calls share the greenlet's stack, so a kernel
function sleeps by calling ``schedule``, as in C. Scheduling is deterministic: equal input, and an equal seed
if one is given, produces an equal run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from ukmod.errors import MachineError, MissingExtraError
from ukmod.kernel.export import export
from ukmod.kernel.sched.plug import flush_plug
from ukmod.kernel.task_work import task_work_run
from ukmod.kernel.time.clock import NSEC_PER_SEC, Clock, Event
from ukmod.machine.abi import Int, Ptr, UInt
from ukmod.machine.watchdog import Stalled

try:
    from greenlet import GreenletExit, getcurrent, greenlet
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("The emulated machine", "machine", error) from error

if TYPE_CHECKING:
    from random import Random

    from ukmod.kernel.core import Core
    from ukmod.kernel.kthread import Kthread
    from ukmod.kernel.x86.entry import UserThread

# include/linux/sched.h
TASK_RUNNING: Final = 0x0
TASK_INTERRUPTIBLE: Final = 0x1
TASK_UNINTERRUPTIBLE: Final = 0x2
TASK_STOPPED: Final = 0x4
"""__TASK_STOPPED, without the bit that lets SIGKILL end it."""
TASK_TRACED: Final = 0x8
"""__TASK_TRACED, likewise."""
TASK_DEAD: Final = 0x80
TASK_WAKEKILL: Final = 0x100
TASK_NOLOAD: Final = 0x400
TASK_NORMAL: Final = TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE
TASK_KILLABLE: Final = TASK_WAKEKILL | TASK_UNINTERRUPTIBLE
TASK_IDLE: Final = TASK_UNINTERRUPTIBLE | TASK_NOLOAD
MAX_SCHEDULE_TIMEOUT: Final = (1 << 63) - 1
PF_EXITING: Final = 0x0000_0004
PF_WQ_WORKER: Final = 0x0000_0020
PF_FORKNOEXEC: Final = 0x0000_0040
PF_MEMALLOC: Final = 0x0000_0800
PF_NOFREEZE: Final = 0x0000_8000
PF_KTHREAD: Final = 0x0020_0000
PF_NO_SETAFFINITY: Final = 0x0400_0000
MAX_RT_PRIO: Final = 100
"""Priorities below this are real-time tasks', include/linux/sched/prio.h; a lower number goes first."""
DEFAULT_PRIO: Final = 120
ERESTARTSYS, ERESTARTNOINTR = 512, 513
"""Not errnos visible to user space: the system call is to be restarted, include/linux/errno.h."""

SWITCH_COST_NS = 1_000
"""The time a context switch takes, so that tasks that only yield to one another do not stop the clock."""
POLLS = 1_000
"""After this many calls of schedule(), the only runnable task is considered to be polling."""
SLICE_CALLS = 10_000
"""After this many kernel calls, a task that never sleeps must let time pass and other tasks run."""
SLICE_NS = 25_000_000
"""The virtual duration of such a slice: more than a real machine takes, so that polling ends soon."""


class TaskExitError(BaseException):
    """Unwinds a task's stack after do_exit(), or when an oops kills the task.

    ``sp``: the stack pointer at a call of do_exit(), below which the rest of the task's life takes place;
    without it, the stack is rewound.
    """

    def __init__(self, code: int, sp: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.sp = sp


class TaskDeadError(BaseException):
    """do_task_dead(): unwinds the stack of a task that never runs again and that nobody can wait for."""


class ThreadGroup:
    """The threads of a process, which share a signal_struct and a sighand_struct."""

    def __init__(self, leader: Task) -> None:
        self.leader = leader
        """The thread whose pid is the process's: the first, or the one that has executed a program."""
        self.owner = leader
        """The thread with whose task_struct the signal_struct lies."""
        self.actions = leader
        """Likewise of the sighand_struct, which may be another process's: see CLONE_SIGHAND."""
        self.threads = [leader]
        """Those that have not been released, oldest first."""


class Task:
    """A struct task_struct: one half is in guest memory (see kernel/task.py), the other is here."""

    def __init__(self, pid: int, address: int, stack: int, stack_size: int, entry: Callable[[], int]) -> None:
        self.pid = pid
        self.group = ThreadGroup(self)
        self.address = address
        """The address of its task_struct."""
        self.stack = stack
        self.stack_size = stack_size
        self.entry = entry
        self.sp = self.stack_top
        self.depth = 0
        self.queued = False
        self.prio = self.static_prio = DEFAULT_PRIO
        """Copies of its task_struct's, which only the scheduler changes: see sched/prio.py."""
        self.started = False
        self.exited = False
        self.is_zombie = False
        """It ends or has ended, and its parent has not waited for it."""
        self.is_leaving = False
        """Its work is done, and it gives back what it has."""
        self.exit_code = 0
        self.parent: Task | None = None
        self.owner = ""
        """The module whose code the task runs, for reports; empty for the kernel's own tasks."""
        self.is_kthread = False
        self.kthread: Kthread | None = None
        """Its struct kthread, which lives as long as its task_struct."""
        self.leaving: list[Callable[[], int]] = []
        """Called in the task itself after its work: each gives something of the task back, and may sleep."""
        self.on_exit: list[Callable[[Task], None]] = []
        self.on_sleep: Callable[[], None] | None = None
        """Called before the task sleeps; a worker pool then starts another worker."""
        self.slices = 0
        """The number of time slices used since the task last slept or called cond_resched()."""
        self.root = 0
        """The physical address of its mm's page table; 0 for the kernel's own."""
        self.thread: UserThread | None = None
        """Its state in the CPU, if it runs in ring 3."""
        self.greenlet: greenlet | None = None
        self.rest: Callable[[], int] | None = None
        """The rest of the function in which it sleeps, as in a restart_block; None if it has none."""

    def __repr__(self) -> str:
        return f"<Task {self.pid}>"

    @property
    def stack_top(self) -> int:
        """The initial stack pointer."""
        return self.stack + self.stack_size - 64


class Outside(Protocol):
    """Something outside of the machine that wakes its tasks, as a device does by an interrupt."""

    def look(self, timeout: float | None) -> bool:
        """Wake a task if something has come, or does so within ``timeout`` seconds; True if it has.

        Without a timeout there is nothing else to wait for.
        """


class Scheduler:
    """The scheduler: the run queue and the current task."""

    def __init__(self, kernel: Core, clock: Clock) -> None:
        self._k = kernel
        self.clock = clock
        self.current: Task | None = None
        self.last: Task | None = None
        """The task that ran last."""
        self._until: int | None = None
        """When the machine is to stop, in nanoseconds, even if a task does not sleep."""
        self._queue: deque[Task] = deque()
        self._random: Random | None = None
        self.outside: Outside | None = None
        """If there is one, time passes as on the host while every task sleeps."""
        self._hub = getcurrent()
        self.in_interrupt = False
        self.began = 0
        """When the machine was last asked to run, in nanoseconds."""
        self.report_again = 0
        """From when, in jiffies, __might_sleep() may report again."""
        self._polls = 0
        """The number of consecutive calls of schedule() made while no other task was runnable."""
        self._woken = False
        """The current task has woken another one, which has slept and may therefore preempt it."""
        self._since = 0
        """When the current task was switched to, in nanoseconds."""

    def seed(self, seed: int | None) -> None:
        """Pick runnable tasks at random, but reproducibly; without a seed, in turn."""
        if seed is None:
            self._random = None
            return
        from random import Random

        self._random = Random(seed)  # noqa: S311 - not a secret

    # -- running --------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] | None = None, deadline: int | None = None) -> bool:
        """Run tasks and events until ``until()`` holds; returns its last result.

        It also stops at ``deadline`` (nanoseconds), or when no task is runnable and no event is queued.
        Without ``until``, a task that does not sleep is preempted at the deadline.
        """
        self._k.crash.check()
        self._hub = getcurrent()
        self._until = deadline if until is None else None
        try:
            with self._k.cpu.watchdog.at_most(self._k.patience):
                return self._run(until or (lambda: False), deadline)
        except (Exception, Stalled) as error:
            self._k.cpu.on_error(error, 0)  # the scheduler's own, or what a task has for the caller
            raise

    def overdue(self) -> bool:
        """True if the time that ``run`` lets pass has passed."""
        return self._until is not None and self.clock.now >= self._until

    def _run(self, until: Callable[[], bool], deadline: int | None) -> bool:
        self.began = self.clock.now
        while not until():
            if self._k.cpu.watchdog.is_asking():
                self._k.look_at_the_time()
            if deadline is not None and self.clock.now >= deadline + self._due_now():
                return until()
            self.fire_due()
            self.look_outside()
            if self._queue:
                task = self._pick()
                if not task.exited:
                    self._switch_to(task)
                continue
            when = self.clock.next_event()
            if self._woken_from_outside(when, deadline):
                continue
            if when is None or (deadline is not None and when > deadline):
                if deadline is not None:
                    self.clock.advance_to(deadline)
                return until()
            self.clock.advance_to(when)
        return True

    def look_outside(self) -> None:
        """Wake the task for which something has come from outside of the machine."""
        if self.outside is not None:
            self.outside.look(0)

    def _woken_from_outside(self, when: int | None, deadline: int | None) -> bool:
        """Wait, as long as it takes on the host, for the time of the next event, or for what comes first."""
        if self.outside is None:
            return False
        ends = [one for one in (when, deadline) if one is not None]
        left = min(ends) - self.clock.now if ends else None
        began = time.monotonic_ns()
        if not self.outside.look(left / NSEC_PER_SEC if left is not None else None):
            return False
        passed = time.monotonic_ns() - began
        self.clock.advance_to(self.clock.now + (passed if left is None else min(passed, left)))
        return True

    def _due_now(self) -> bool:
        """True if a task is runnable or an event is due at this moment."""
        when = self.clock.next_event()
        return bool(self._queue) or (when is not None and when <= self.clock.now)

    def fire_due(self) -> None:
        """Take the due interrupts: run the actions of the clock's due events."""
        while event := self.clock.due():
            self._k.interrupt(event.action)

    def _pick(self) -> Task:
        if self._random is not None and self._queue[0].prio >= MAX_RT_PRIO:
            self._queue.rotate(-self._random.randrange(len(self._queue)))
        task = self._queue.popleft()
        task.queued = False
        return task

    def _switch_to(self, task: Task) -> None:
        cpu = self._k.cpu
        self.clock.now += SWITCH_COST_NS
        self._woken, self._since = False, self.clock.now
        self.current = self.last = task
        self._k.percpu.set_current(task.address)
        cpu.sp, cpu.depth = task.sp, task.depth
        self.switch_mm(task)
        cpu.new_slice(SLICE_CALLS)
        if task.greenlet is None:
            task.greenlet = greenlet(self._body)
            task.started = True
        task.greenlet.parent = self._hub
        try:
            task.greenlet.switch()
        finally:
            self.current = None
            if task.root:
                cpu.set_root(self._k.memory.kernel_root)
            # The next task, and any interrupt, must find interrupts enabled: raw_spin_rq_unlock_irq(), the
            # idle loop.
            cpu.enable_interrupts()
            self._k.lockdep.follow_interrupts()

    def switch_mm(self, task: Task) -> None:
        """switch_mm(): use the address space of ``task``, the current or next one."""
        root = task.root or self._k.memory.kernel_root
        if root != self._k.memory.root:
            self._k.cpu.set_root(root)

    def _body(self) -> None:
        task = self._running()
        try:
            task.exit_code = self._until_exit(self._live)
            task.is_leaving = True
            for part in task.leaving:
                self._until_exit(part)
            self._until_exit(self._exit_task_work)
        except GreenletExit:
            return
        except TaskDeadError:
            task.exited = True
            return
        task.exited = True
        if not task.is_zombie:
            self.release_task(task)

    def _live(self) -> int:
        """The work of a task's life: ret_from_fork()."""
        task = self._running()
        self._k.pids.begin(task)
        return task.entry()

    def release_task(self, task: Task) -> None:
        """release_task(): nobody waits for a task any longer, which ends or has done so."""
        task.is_zombie = False
        if task.exited:
            for callback in task.on_exit:
                self._undo(task, callback)
            self._k.tasks.release(task)

    def _undo(self, task: Task, callback: Callable[[Task], object]) -> None:
        """Run a part of release_task(); an oops in it ends the part alone if the task releases itself."""

        def work() -> int:
            callback(task)
            return 0

        if self.current is not task:
            work()
            return
        with suppress(TaskDeadError):  # the task is dead already
            self._until_exit(work)

    def _until_exit(self, work: Callable[[], int]) -> int:
        """Run ``work`` in the current task; returns its result, or the exit code if the task was ended."""
        try:
            return work()
        except TaskExitError as done:
            if done.sp is not None:
                self._k.cpu.sp = done.sp
            return done.code
        except (Exception, Stalled) as error:  # noqa: BLE001 - raised again, unless it is the task's end
            return self._failed(error)

    def _exit_task_work(self) -> int:
        task_work_run(self._k)
        return 0

    def _failed(self, error: BaseException) -> int:
        """Handle what a kernel function raised that no guest code called, such as the module loader."""
        try:
            self._k.cpu.on_error(error, 0)
        except TaskExitError as done:
            return done.code
        raise error

    def _running(self) -> Task:
        if self.current is None:
            raise MachineError("there is no current task")
        return self.current

    # -- for kernel functions -------------------------------------------------------------------------

    def task(self) -> Task:
        """The current task; in an interrupt that came while no task ran, the idle task.

        Raises MachineError outside of both, where no kernel function may run.
        """
        return self._k.idle if self.current is None and self.in_interrupt else self._running()

    def schedule(self, *, rest: Callable[[], int] | None = None) -> None:
        """schedule(): yield the CPU, or sleep if the state is not TASK_RUNNING and no signal is pending.

        ``rest`` is the rest of the caller after this call, up to its return to guest code or the task's end.
        """
        if self.in_interrupt or self._k.percpu.preempt_count() > 0:
            self._k.crash.scheduling_while_atomic()
            if self.in_interrupt:
                self._k.crash.panic("Fatal exception in interrupt")
            self._k.percpu.set_preempt(0)
        task = self._running()
        self._k.rcu.check_voluntary_switch(task)
        if self._k.tasks.state(task) != TASK_RUNNING:
            flush_plug(self._k, task)
        state = self._k.tasks.state(task)
        if state != TASK_RUNNING and not self._k.tasks.signal_pending_state(state, task):
            task.slices = 0
            if task.on_sleep is not None:
                task.on_sleep()
        else:
            self._k.tasks.set_state(task, TASK_RUNNING)
            self._yielded()
            self._enqueue(task)
        task.rest = rest
        self._leave(task)

    def _yielded(self) -> None:
        """Handle a task that yields although no other task may run: it is polling.

        After many such calls time passes in whole ticks; otherwise the host would poll for minutes.
        """
        self._polls = 0 if self._others_may_run() else self._polls + 1
        if self._polls > POLLS:
            self.clock.advance_to(self.clock.now + self.clock.tick)

    def _others_may_run(self) -> bool:
        """True if yielding lets another task run: for a real-time task, one of at least its priority."""
        prio = self._running().prio
        return bool(self._queue) and (prio >= MAX_RT_PRIO or self._queue[0].prio <= prio)

    def _leave(self, task: Task) -> None:
        cpu = self._k.cpu
        self._k.rcu.note_context_switch(task)
        if task.thread is not None:
            task.thread.leave()
        task.sp, task.depth = cpu.sp, cpu.depth
        self._hub.switch()
        if task.thread is not None:
            task.thread.resume()

    def preempt(self) -> None:
        """Let other tasks run; as in the kernel, the preempted task stays runnable in any state."""
        task = self._running()
        self._enqueue(task)
        self._leave(task)

    def _enqueue(self, task: Task, *, woken: bool = False) -> None:
        """Make a task runnable: before tasks of less priority, unless it is a normal one that only yields."""
        if task.queued or task.exited:
            return
        task.queued = True
        place = len(self._queue)
        if place and self._queue[-1].prio > task.prio and (woken or task.prio < MAX_RT_PRIO):
            place = next((n for n, other in enumerate(self._queue) if other.prio > task.prio), place)
        self._queue.insert(place, task)

    def requeue(self, task: Task) -> None:
        """Give a task whose priority has changed its place among the runnable tasks."""
        if task.queued:
            self._queue.remove(task)
            task.queued = False
            self._enqueue(task, woken=True)

    def wake(self, task: Task, states: int = TASK_NORMAL) -> bool:
        """try_to_wake_up(): make ``task`` runnable if its state is one of ``states``; True if it was."""
        if task.exited:
            return False
        if not self._k.tasks.state(task) & states:
            self._k.tasks.wake_saved_state(task, states)
            return False
        self._k.tasks.set_state(task, TASK_RUNNING)
        self._enqueue(task, woken=True)
        self._woken = True
        return True

    def wake_new(self, task: Task) -> None:
        """wake_up_new_task()."""
        self._k.tasks.set_state(task, TASK_RUNNING)
        self._enqueue(task, woken=True)

    def schedule_timeout(self, timeout: int, *, rest: Callable[[int], int] | None = None) -> int:
        """Sleep for at most ``timeout`` jiffies in the current task state; returns the jiffies left.

        A value that is negative as a C long is reported and does not sleep. ``rest`` is the rest of the
        caller, called with the jiffies left: see ``schedule``.
        """
        if not 0 <= timeout <= MAX_SCHEDULE_TIMEOUT:
            self._k.printk(f"schedule_timeout: wrong timeout value {timeout & (1 << 64) - 1:x}\n", level=3)
            self._k.crash.dump_stack()
            self._k.tasks.set_state(self.task(), TASK_RUNNING)
            return 0
        if timeout == MAX_SCHEDULE_TIMEOUT:
            self.schedule(rest=partial(rest, timeout) if rest is not None else None)
            return timeout
        expires = self.clock.jiffies + timeout
        task = self.task()
        event = self.clock.at(self.clock.in_ticks(expires), partial(self._timed_out, task))
        try:
            self.schedule(rest=partial(self._slept, event, expires, rest) if rest is not None else None)
        finally:
            event.cancelled = True
        return max(0, expires - self.clock.jiffies)

    def _slept(self, event: Event, expires: int, rest: Callable[[int], int]) -> int:
        event.cancelled = True
        return rest(max(0, expires - self.clock.jiffies))

    def sleep(self, duration: int) -> None:
        """Sleep uninterruptibly for ``duration`` nanoseconds."""
        task = self.task()
        self._k.tasks.set_state(task, TASK_UNINTERRUPTIBLE)
        self.clock.at(self.clock.now + duration, partial(self._timed_out, task))
        self.schedule()

    def _timed_out(self, task: Task) -> None:
        self.wake(task)

    def need_resched(self) -> bool:
        """need_resched(): a task is runnable, and was just woken, or the current one has run for a tick."""
        return self._others_may_run() and (self._woken or self.clock.now - self._since >= self.clock.tick)

    def runnable(self) -> bool:
        """True if a task other than the current one is runnable."""
        return bool(self._queue)

    def kill_all(self) -> None:
        """Unwind the stack of every task when the machine is shut down."""
        for task in self._k.tasks.all():
            if task.greenlet is not None and not task.greenlet.dead:
                self.current = task
                task.greenlet.parent = getcurrent()
                task.greenlet.throw(GreenletExit)


def block(k: Core, state: int, timeout: int = MAX_SCHEDULE_TIMEOUT) -> int:
    """Set the current task's state and sleep; returns the jiffies left of ``timeout``."""
    k.tasks.set_state(k.sched.task(), state)
    return k.sched.schedule_timeout(timeout)


@export()
def schedule(k: Core) -> None:
    """void schedule(void)."""
    k.sched.schedule(rest=int)  # int() is 0, and int(left) is left


@export("yield")
def sched_yield(k: Core) -> None:
    """void yield(void)."""
    k.tasks.set_state(k.sched.task(), TASK_RUNNING)
    k.sched.schedule()


@export("__cond_resched", "__SCT__cond_resched", "__SCT__might_resched", native=True)
def cond_resched(k: Core) -> Int:
    """``int __cond_resched(void)``: 1 if another task ran."""
    if k.percpu.preempt_count():
        return 0
    k.sched.task().slices = 0  # the watchdog's own thread runs here
    if not k.sched.need_resched():
        return 0
    k.sched.preempt()
    return 1


@export()
def wake_up_process(k: Core, task: Ptr) -> Int:
    """``int wake_up_process(struct task_struct *p)``: 1 if it was asleep."""
    return k.sched.wake(k.tasks.at(task))


@export(gpl=True)
def wake_up_state(k: Core, task: Ptr, state: UInt) -> Int:
    """``int wake_up_state(struct task_struct *p, unsigned int state)``."""
    return k.sched.wake(k.tasks.at(task), state)
