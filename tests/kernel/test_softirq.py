"""Soft interrupts and tasklets: kernel/softirq.c."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, start

from ukmod.kernel.core import Core
from ukmod.kernel.preempt_count import SOFTIRQ_DISABLE_OFFSET
from ukmod.kernel.softirq import (
    HI_SOFTIRQ,
    RCU_SOFTIRQ,
    TASKLET_SOFTIRQ,
    TASKLET_STATE_RUN,
    TASKLET_STATE_SCHED,
    TIMER_SOFTIRQ,
)


@dataclass
class Tasklets:
    """Tasklets that leave word of themselves."""

    kernel: Core
    ran: list[str] = field(default_factory=list)

    def make(self, name: str, also: Callable[[], object] = bool, *, count: int = 0) -> int:
        """A struct tasklet_struct, set up; ``count`` is how often it is disabled."""
        k = self.kernel
        at = k.slab.kmalloc(k.types.sizeof("tasklet_struct"))

        def function(*_: int) -> int:
            self.ran.append(name)
            also()
            return 0

        Guest(k).call("tasklet_setup", at, Guest(k).python(function, 1))
        self.set_count(at, count)
        return at

    def set_count(self, tasklet: int, count: int) -> None:
        """What tasklet_disable() and tasklet_enable() change."""
        self.kernel.memory.set_u32(tasklet + self.kernel.types.offset("tasklet_struct", "count"), count)

    def state(self, tasklet: int) -> int:
        return self.kernel.memory.u64(tasklet + self.kernel.types.offset("tasklet_struct", "state"))

    def schedule(self, tasklet: int, name: str = "__tasklet_schedule") -> None:
        """tasklet_schedule() as it is inlined: set the bit; only who found it clear queues it."""
        k = self.kernel
        if not self.state(tasklet) & TASKLET_STATE_SCHED:
            k.memory.set_u64(tasklet + k.types.offset("tasklet_struct", "state"), TASKLET_STATE_SCHED)
            k.cpu.call(k.symbols.address(name), tasklet)

    def in_task(self, body: Callable[[], object]) -> None:
        start(self.kernel, "t", body)
        self.kernel.run(0.001)


@pytest.fixture
def tasklets(kernel: Core) -> Tasklets:
    return Tasklets(kernel)


def raised(k: Core, *softirqs: tuple[int, Callable[[], object]]) -> None:
    """Raise softirqs in a task that holds them back until all are raised."""

    def body() -> None:
        call(k, "__local_bh_disable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
        for number, action in softirqs:
            k.softirqs.raise_(number, action)
        call(k, "__local_bh_enable_ip", 0, SOFTIRQ_DISABLE_OFFSET)

    start(k, "t", body)
    k.run(0.001)


class TestSoftirqs:
    """__do_softirq()."""

    def test_softirqs_are_served_by_their_numbers(self, kernel: Core) -> None:
        """include/linux/interrupt.h: high-priority tasklets, timers, ..., tasklets, ..., RCU last."""
        order: list[str] = []
        numbers = {"rcu": RCU_SOFTIRQ, "tasklet": TASKLET_SOFTIRQ, "timer": TIMER_SOFTIRQ, "hi": HI_SOFTIRQ}
        raised(kernel, *((number, partial(order.append, name)) for name, number in numbers.items()))
        assert order == ["hi", "timer", "tasklet", "rcu"]

    def test_what_one_raises_waits_for_the_next_round(self, kernel: Core) -> None:
        """What is pending is read once a round: not even a more urgent one comes in between."""
        order: list[str] = []

        def timer() -> None:
            order.append("timer")
            kernel.softirqs.raise_(HI_SOFTIRQ, lambda: order.append("hi"))

        raised(kernel, (TIMER_SOFTIRQ, timer), (RCU_SOFTIRQ, lambda: order.append("rcu")))
        assert order == ["timer", "rcu", "hi"]

    def test_softirqs_are_held_back_while_bottom_halves_are_disabled(self, kernel: Core) -> None:
        order: list[str] = []

        def body() -> None:
            for _ in range(2):
                call(kernel, "__local_bh_disable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            kernel.softirqs.raise_(TASKLET_SOFTIRQ, lambda: order.append("softirq"))
            call(kernel, "__local_bh_enable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            order.append("enabled once")
            call(kernel, "__local_bh_enable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            order.append("enabled twice")

        start(kernel, "t", body)
        kernel.run(0.001)
        assert order == ["enabled once", "softirq", "enabled twice"]

    def test_one_runs_with_its_count_in_preempt_count(self, kernel: Core) -> None:
        counts: list[int] = []
        raised(kernel, (TIMER_SOFTIRQ, lambda: counts.append(kernel.percpu.preempt_count())))
        counts.append(kernel.percpu.preempt_count())
        assert counts == [0x101, 0], "SOFTIRQ_OFFSET, and what the idle task has"

    def test_one_does_not_interrupt_another(self, kernel: Core) -> None:
        order: list[str] = []

        def outer() -> None:
            call(kernel, "__local_bh_disable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            kernel.softirqs.raise_(HI_SOFTIRQ, lambda: order.append("inner"))
            call(kernel, "__local_bh_enable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            order.append("outer")

        raised(kernel, (TASKLET_SOFTIRQ, outer))
        assert order == ["outer", "inner"]


class TestTasklets:
    def test_one_runs_after_its_task_has_let_go(self, tasklets: Tasklets) -> None:
        at = tasklets.make("a")
        tasklets.in_task(lambda: (tasklets.schedule(at), tasklets.ran.append("task")))
        assert tasklets.ran == ["task", "a"]

    def test_tasklets_run_in_the_order_they_were_scheduled(self, tasklets: Tasklets) -> None:
        ats = [tasklets.make(name) for name in "abc"]
        tasklets.in_task(lambda: [tasklets.schedule(at) for at in reversed(ats)])
        assert tasklets.ran == ["c", "b", "a"]

    def test_high_ones_come_first(self, tasklets: Tasklets) -> None:
        low, high = tasklets.make("low"), tasklets.make("high")
        tasklets.in_task(lambda: (tasklets.schedule(low), tasklets.schedule(high, "__tasklet_hi_schedule")))
        assert tasklets.ran == ["high", "low"]

    def test_scheduled_twice_it_runs_once(self, tasklets: Tasklets) -> None:
        at = tasklets.make("a")
        tasklets.in_task(lambda: (tasklets.schedule(at), tasklets.schedule(at)))
        assert tasklets.ran == ["a"]

    def test_one_may_schedule_itself_again(self, tasklets: Tasklets) -> None:
        """TASKLET_STATE_SCHED is clear by the time that its function is called."""

        def again() -> None:
            if len(tasklets.ran) < 3:
                tasklets.schedule(at)

        at: int = tasklets.make("a", again)
        tasklets.in_task(lambda: tasklets.schedule(at))
        assert tasklets.ran == ["a", "a", "a"]
        assert tasklets.state(at) == 0

    def test_one_that_always_does_lets_others_run(self, kernel: Core, tasklets: Tasklets) -> None:
        """After MAX_SOFTIRQ_RESTART rounds ksoftirqd goes on, a task like any other."""
        stop: list[bool] = []

        def again() -> None:
            if not stop:
                tasklets.schedule(at)

        at: int = tasklets.make("a", again)
        start(kernel, "t", lambda: tasklets.schedule(at))
        kernel.run(0.1)
        start(kernel, "other", lambda: stop.append(True))
        kernel.run(0.1)
        assert stop
        count = len(tasklets.ran)
        assert count > 20
        kernel.run(0.1)
        assert len(tasklets.ran) == count

    def test_a_disabled_one_runs_once_it_is_enabled(self, tasklets: Tasklets) -> None:
        at = tasklets.make("a", count=1)
        tasklets.in_task(lambda: tasklets.schedule(at))
        tasklets.kernel.run(1)
        assert tasklets.ran == []
        tasklets.set_count(at, 0)
        tasklets.kernel.run(0.1)
        assert tasklets.ran == ["a"]

    def test_the_old_way_of_setup_gives_it_a_number(self, kernel: Core, tasklets: Tasklets) -> None:
        """tasklet_init(): its function takes ``data``, not the tasklet."""
        given: list[int] = []
        at = kernel.slab.kmalloc(kernel.types.sizeof("tasklet_struct"))
        guest = Guest(kernel)
        guest.call("tasklet_init", at, guest.python(lambda data: given.append(data) or 0, 1), 0x1234)
        tasklets.in_task(lambda: tasklets.schedule(at))
        guest.call("tasklet_setup", at, guest.python(lambda self: given.append(self) or 0, 1))
        tasklets.in_task(lambda: tasklets.schedule(at))
        assert given == [0x1234, at]


class TestKill:
    """tasklet_kill(): afterwards it is neither scheduled nor running."""

    def test_one_that_is_scheduled_runs_first(self, kernel: Core, tasklets: Tasklets) -> None:
        at = tasklets.make("a")

        def body() -> None:
            tasklets.schedule(at)
            call(kernel, "tasklet_kill", at)
            tasklets.ran.append("killed")

        start(kernel, "t", body)
        kernel.run(0.1)
        assert tasklets.ran == ["a", "killed"]

    def test_one_that_is_not_is_not_waited_for(self, kernel: Core, tasklets: Tasklets) -> None:
        at, before = tasklets.make("a"), []
        before.append(kernel.clock.jiffies)
        Guest(kernel).call("tasklet_kill", at)
        assert tasklets.ran == []
        assert kernel.clock.jiffies == before[0]

    def test_a_disabled_one_is_waited_for_for_ever(self, kernel: Core, tasklets: Tasklets) -> None:
        """Documentation of tasklet_kill(): it must not be disabled."""
        at, done = tasklets.make("a", count=1), []
        start(kernel, "t", lambda: (tasklets.schedule(at), call(kernel, "tasklet_kill", at), done.append(1)))
        kernel.run(10)
        assert not done

    def test_in_an_interrupt_it_is_complained_of(self, kernel: Core, tasklets: Tasklets) -> None:
        at = tasklets.make("a")
        raised(kernel, (TIMER_SOFTIRQ, lambda: call(kernel, "tasklet_kill", at)))
        assert "Attempt to kill tasklet from interrupt" in kernel.log.dmesg()


class TestEnabling:
    """local_bh_enable() runs what is pending; _local_bh_enable() does not."""

    @pytest.mark.parametrize(
        ("function", "arguments", "order"),
        [
            ("__local_bh_enable_ip", (0, SOFTIRQ_DISABLE_OFFSET), ["softirq", "enabled"]),
            ("_local_bh_enable", (), ["enabled", "softirq"]),
        ],
    )
    def test_enabling_runs_pending_softirqs_or_leaves_them_to_the_next_interrupt(
        self, kernel: Core, guest: Guest, function: str, arguments: tuple[int, ...], order: list[str]
    ) -> None:
        seen: list[str] = []

        def body() -> None:
            guest.call("__local_bh_disable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            kernel.softirqs.raise_(TASKLET_SOFTIRQ, lambda: seen.append("softirq"))
            guest.call(function, *arguments)
            assert kernel.percpu.preempt_count() == 0
            seen.append("enabled")

        in_task(kernel, body)
        kernel.run(0.01)
        assert seen == order

    @pytest.mark.parametrize(
        ("function", "arguments", "line"),
        [("__local_bh_enable_ip", (0, SOFTIRQ_DISABLE_OFFSET), 400), ("_local_bh_enable", (), 393)],
    )
    def test_enabling_in_an_interrupt_is_warned_of(
        self, kernel: Core, guest: Guest, function: str, arguments: tuple[int, ...], line: int
    ) -> None:
        """As by spin_unlock_bh() in an interrupt handler."""

        def handler() -> None:
            guest.call("__local_bh_disable_ip", 0, SOFTIRQ_DISABLE_OFFSET)
            guest.call(function, *arguments)

        kernel.clock.at(0, handler)
        kernel.run(0.01)
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/softirq.c", line)]


class TestRunning:
    """TASKLET_STATE_RUN: tasklet_trylock(), which is inlined, sets it; tasklet_unlock() clears it."""

    def lock(self, tasklets: Tasklets, at: int) -> None:
        k = tasklets.kernel
        k.memory.set_u64(at + k.types.offset("tasklet_struct", "state"), TASKLET_STATE_RUN)

    @pytest.mark.parametrize("function", ["tasklet_unlock_wait", "tasklet_kill"])
    def test_waiting_for_a_locked_tasklet_ends_when_it_is_unlocked(
        self, kernel: Core, guest: Guest, tasklets: Tasklets, function: str
    ) -> None:
        at, done = tasklets.make("a"), list[str]()
        self.lock(tasklets, at)
        start(kernel, "waiter", lambda: (guest.call(function, at), done.append(function)))
        kernel.run(1)
        assert done == []
        guest.call("tasklet_unlock", at)
        kernel.run(0.1)
        assert done == [function]

    def test_unlocking_leaves_a_tasklet_that_is_scheduled_so(self, guest: Guest, tasklets: Tasklets) -> None:
        at, k = tasklets.make("a"), tasklets.kernel
        both = TASKLET_STATE_RUN | TASKLET_STATE_SCHED
        k.memory.set_u64(at + k.types.offset("tasklet_struct", "state"), both)
        guest.call("tasklet_unlock", at)
        assert tasklets.state(at) == TASKLET_STATE_SCHED

    @pytest.mark.parametrize("function", ["tasklet_unlock_wait", "tasklet_unlock_spin_wait"])
    def test_an_unlocked_tasklet_is_not_waited_for(
        self, kernel: Core, guest: Guest, tasklets: Tasklets, function: str
    ) -> None:
        before = kernel.clock.jiffies
        guest.call(function, tasklets.make("a"))
        assert kernel.clock.jiffies == before

    def test_spinning_for_a_locked_tasklet_is_a_lockup(
        self, kernel: Core, guest: Guest, tasklets: Tasklets
    ) -> None:
        """There is no other CPU to unlock it."""
        at = tasklets.make("a")
        self.lock(tasklets, at)
        task = start(kernel, "spinner", lambda: guest.call("tasklet_unlock_spin_wait", at))
        kernel.run(30)
        assert (task.exited, task.exit_code) == (True, 9)
        assert any("soft lockup - CPU#0 stuck" in line for line in kernel.log.lines)

    def test_a_tasklet_that_kills_itself_sleeps_in_ksoftirqd_for_ever(
        self, kernel: Core, guest: Guest, tasklets: Tasklets
    ) -> None:
        """Its own function waits for it to end, and its task is a thread, which may sleep even so."""
        at: int = tasklets.make("a", lambda: guest.call("tasklet_kill", at))
        task = start(kernel, "t", lambda: tasklets.schedule(at))
        kernel.run(1)
        assert task.exited
        assert kernel.tasklets.running(at)
        assert "Attempt to kill tasklet from interrupt" in kernel.log.dmesg()
        assert "BUG: scheduling while atomic" in kernel.log.dmesg()
