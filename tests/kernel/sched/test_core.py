"""Tasks, sleeping and waking."""

from __future__ import annotations

import pytest
from tests.kernel import machine_code
from tests.kernel.conftest import Guest
from tests.kernel.machine_code import CODE, Code
from tests.kernel.tasks import call, in_task, start

from ukmod.errors import KernelPanic
from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import (
    ERESTARTSYS,
    TASK_IDLE,
    TASK_INTERRUPTIBLE,
    TASK_KILLABLE,
    TASK_NORMAL,
    TASK_UNINTERRUPTIBLE,
    block,
    cond_resched,
)
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.signal_numbers import SIGSTOP
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC

SIGTERM = 15


def test_tasks_run_in_turn(kernel: Core) -> None:
    seen: list[str] = []
    for name in "abc":
        start(kernel, name, lambda name=name: seen.append(name))
    kernel.run(0.1)
    assert seen == ["a", "b", "c"]


def test_a_seed_gives_another_order_and_always_the_same() -> None:
    from tests.kernel.conftest import layouts

    def order(seed: int) -> list[int]:
        seen: list[int] = []
        with Core(layouts(), seed=seed) as k:
            for n in range(8):
                start(k, "t", lambda n=n: seen.append(n))
            k.run(0.1)
        return seen

    assert order(1) == order(1)
    assert sorted(order(1)) == list(range(8))
    assert len({tuple(order(seed)) for seed in range(4)}) > 1


def test_schedule_timeout_sleeps_whole_ticks_and_tells_what_is_left(kernel: Core) -> None:
    left: list[int] = []
    task = start(kernel, "sleeper", lambda: left.append(block(kernel, TASK_INTERRUPTIBLE, 10)))
    kernel.run(0.012)
    assert kernel.sched.wake(task)
    kernel.run(0.1)
    assert left == [7]


def test_schedule_timeout_refuses_a_negative_time(kernel: Core) -> None:
    kernel.run_task("t", lambda: call(kernel, "schedule_timeout", -5))
    assert any("schedule_timeout: wrong timeout value fffffffffffffffb" in line for line in kernel.log.lines)


def test_waking_minds_the_state(kernel: Core) -> None:
    task = start(kernel, "t", lambda: block(kernel, TASK_UNINTERRUPTIBLE))
    kernel.run(0.01)
    assert not kernel.sched.wake(task, TASK_INTERRUPTIBLE)
    assert kernel.sched.wake(task)
    assert not kernel.sched.wake(task)


def test_a_signal_keeps_an_interruptible_task_from_sleeping(kernel: Core) -> None:
    results: dict[int, int] = {}
    tasks = {}
    for state in (TASK_INTERRUPTIBLE, TASK_KILLABLE, TASK_UNINTERRUPTIBLE):

        def wait(state: int = state) -> None:
            results[state] = Waiters(kernel).wait_event(lambda: False, state)

        tasks[state] = start(kernel, "t", wait)
    kernel.run(0.01)
    for task in tasks.values():
        kernel.signals.send(task, 9)
    kernel.run(0.01)
    assert results == {TASK_INTERRUPTIBLE: -ERESTARTSYS, TASK_KILLABLE: -ERESTARTSYS}


def test_a_task_that_was_woken_may_run_at_the_next_might_sleep(kernel: Core) -> None:
    seen: list[str] = []

    def sleeper() -> None:
        block(kernel, TASK_INTERRUPTIBLE)
        seen.append("sleeper")

    def waker() -> None:
        assert not cond_resched(kernel), "the other only waits for its turn"
        kernel.sched.schedule()
        kernel.sched.wake(task)
        assert cond_resched(kernel)
        seen.append("waker")

    start(kernel, "waker", waker)
    task = start(kernel, "sleeper", sleeper)
    kernel.run(0.1)
    assert seen == ["sleeper", "waker"]


def test_sleeping_with_a_spinlock_held_is_reported_and_done(kernel: Core) -> None:
    lock = kernel.slab.kmalloc(4)
    kernel.memory.set_u32(lock, 0)

    def body() -> int:
        call(kernel, "_raw_spin_lock", lock)
        call(kernel, "schedule_timeout_uninterruptible", 1)
        return 0

    task = kernel.run_task("sleepy", body)
    assert task.exited
    expected = f"BUG: scheduling while atomic: sleepy/{task.pid}/0x00000002"
    assert expected in "\n".join(kernel.log.lines)


def test_sleeping_in_an_interrupt_is_the_end(kernel: Core) -> None:
    def sleep() -> None:
        call(kernel, "msleep", 1)

    kernel.clock.at(0, sleep)
    with pytest.raises(KernelPanic):
        kernel.run(0.1)
    assert "BUG: scheduling while atomic: swapper/0/0/0x00010002" in kernel.log.lines


def test_run_ends_when_nothing_can_ever_happen(kernel: Core) -> None:
    task = start(kernel, "t", lambda: block(kernel, TASK_UNINTERRUPTIBLE))
    assert not kernel.sched.run(lambda: task.exited)


CLI, NOP, READ_FLAGS, RET = b"\xfa", b"\x90", b"\x9c\x58", b"\xc3"
IF = 1 << 9


class TestInterruptsAreATasksOwn:
    """raw_spin_rq_unlock_irq(): who returns from schedule(), or begins, has them enabled."""

    def test_schedule_returns_with_interrupts_enabled(self, kernel: Core) -> None:
        schedule = machine_code.call(kernel.symbols.address("schedule"))
        _, flags = Code(kernel).run(CLI + schedule + READ_FLAGS + RET)
        assert flags is not None
        assert flags & IF

    def test_what_does_not_sleep_leaves_them_disabled(self, kernel: Core) -> None:
        ktime_get = machine_code.call(kernel.symbols.address("ktime_get"))
        _, flags = Code(kernel).run(CLI + ktime_get + READ_FLAGS + RET)
        assert flags is not None
        assert not flags & IF

    def test_a_task_that_ends_with_them_disabled_is_alone_in_that(self, kernel: Core) -> None:
        code = Code(kernel)
        code.run(CLI + RET)
        _, flags = code.run(READ_FLAGS + RET)
        assert flags is not None
        assert flags & IF

    @pytest.mark.parametrize(("first", "order"), [(CLI, ["looped", "other"]), (NOP, ["other", "looped"])])
    def test_a_task_with_interrupts_disabled_is_not_preempted(
        self, kernel: Core, first: bytes, order: list[str]
    ) -> None:
        """It calls more often than a slice has room for."""
        polls = machine_code.call(kernel.symbols.address("ktime_get"))
        # push %rbx; mov $15000,%ebx; ...; dec %ebx; jnz polls; pop %rbx
        loop = b"\x53\xbb\x98\x3a\x00\x00" + first + polls + b"\xff\xcb\x75\xee\x5b" + RET
        kernel.memory.map(CODE, kernel.memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)
        kernel.memory.write(CODE, loop, force=True)
        seen: list[str] = []

        def loops() -> None:
            kernel.cpu.call(CODE)
            seen.append("looped")

        start(kernel, "loops", loops)
        start(kernel, "other", lambda: seen.append("other"))
        kernel.run(10)
        assert seen == order


class TestSleeping:
    """schedule_timeout_*(): the state that each sleeps in."""

    @pytest.mark.parametrize(
        ("kind", "state", "signal", "wakes"),
        [
            ("interruptible", TASK_INTERRUPTIBLE, SIGSTOP, True),
            ("uninterruptible", TASK_UNINTERRUPTIBLE, SIGTERM, False),
            ("killable", TASK_KILLABLE, SIGTERM, True),
            ("killable", TASK_KILLABLE, SIGSTOP, False),
            ("idle", TASK_IDLE, SIGTERM, False),
        ],
    )
    def test_a_sleep_ends_early_by_the_signals_that_its_state_allows(
        self, kernel: Core, guest: Guest, kind: str, state: int, signal: int, wakes: bool
    ) -> None:
        left: list[int] = []
        task = start(kernel, "t", lambda: left.append(guest.call(f"schedule_timeout_{kind}", 100)))
        kernel.run(10 * kernel.clock.tick / 1e9)
        assert kernel.tasks.state(task) == state
        kernel.signals.send(task, signal)
        kernel.run(0.001)
        assert bool(left) == wakes
        if wakes:
            assert 90 <= left[0] <= 91
        else:
            kernel.run(1)
            assert left == [0]

    @pytest.mark.parametrize(
        ("state", "woken"), [(TASK_INTERRUPTIBLE, 0), (TASK_UNINTERRUPTIBLE, 1), (TASK_NORMAL, 1)]
    )
    def test_waking_by_state_leaves_others_asleep(
        self, kernel: Core, guest: Guest, state: int, woken: int
    ) -> None:
        task = start(kernel, "t", lambda: block(kernel, TASK_UNINTERRUPTIBLE))
        kernel.run(0.01)
        assert guest.call_int("wake_up_state", task.address, state) == woken
        kernel.run(0.01)
        assert task.exited == bool(woken)


class TestYielding:
    def test_yield_lets_others_run_first(self, kernel: Core, guest: Guest) -> None:
        seen: list[str] = []
        start(kernel, "a", lambda: (guest.call("yield"), seen.append("a")))
        start(kernel, "b", lambda: seen.append("b"))
        kernel.run(0.01)
        assert seen == ["b", "a"]

    def test_yield_keeps_a_task_that_had_set_a_state_runnable(self, kernel: Core, guest: Guest) -> None:
        def body() -> None:
            kernel.tasks.set_state(kernel.sched.task(), TASK_UNINTERRUPTIBLE)
            guest.call("yield")

        in_task(kernel, body)

    @pytest.mark.parametrize("name", ["__cond_resched", "__SCT__cond_resched", "__SCT__might_resched"])
    def test_cond_resched_tells_whether_another_task_ran(self, kernel: Core, guest: Guest, name: str) -> None:
        seen: list[object] = []

        def body() -> None:
            seen.append(guest.call_int(name))
            start(kernel, "other", lambda: seen.append("other"))
            kernel.clock.advance_to(kernel.clock.now + kernel.clock.tick)
            seen.append(guest.call_int(name))

        in_task(kernel, body)
        assert seen == [0, "other", 1]

    def test_cond_resched_does_nothing_with_preemption_disabled(self, kernel: Core, guest: Guest) -> None:
        seen: list[object] = []

        def body() -> None:
            start(kernel, "other", lambda: seen.append("other"))
            kernel.clock.advance_to(kernel.clock.now + kernel.clock.tick)
            guest.call("preempt_count_add", 1)
            seen.append(guest.call_int("__cond_resched"))
            guest.call("preempt_count_sub", 1)

        in_task(kernel, body)
        kernel.run(0.01)
        assert seen == [0, "other"]
