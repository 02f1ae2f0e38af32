"""Tasks, sleeping and waking."""

from __future__ import annotations

import pytest
from tests.kernel.tasks import call, start

from ukmod.errors import KernelPanic
from ukmod.kernel.core import Kernel
from ukmod.kernel.sched import (
    ERESTARTSYS,
    TASK_INTERRUPTIBLE,
    TASK_KILLABLE,
    TASK_UNINTERRUPTIBLE,
    Waiters,
    block,
    cond_resched,
)


def test_tasks_run_in_turn(kernel: Kernel) -> None:
    seen: list[str] = []
    for name in "abc":
        start(kernel, name, lambda name=name: seen.append(name))
    kernel.run(0.1)
    assert seen == ["a", "b", "c"]


def test_a_seed_gives_another_order_and_always_the_same() -> None:
    from tests.kernel.conftest import layouts

    def order(seed: int) -> list[int]:
        seen: list[int] = []
        with Kernel(layouts(), seed=seed) as k:
            for n in range(8):
                start(k, "t", lambda n=n: seen.append(n))
            k.run(0.1)
        return seen

    assert order(1) == order(1)
    assert sorted(order(1)) == list(range(8))
    assert len({tuple(order(seed)) for seed in range(4)}) > 1


def test_schedule_timeout_sleeps_whole_ticks_and_tells_what_is_left(kernel: Kernel) -> None:
    left: list[int] = []
    task = start(kernel, "sleeper", lambda: left.append(block(kernel, TASK_INTERRUPTIBLE, 10)))
    kernel.run(0.012)
    assert kernel.sched.wake(task)
    kernel.run(0.1)
    assert left == [7]


def test_schedule_timeout_refuses_a_negative_time(kernel: Kernel) -> None:
    kernel.run_task("t", lambda: call(kernel, "schedule_timeout", -5))
    assert any("schedule_timeout: wrong timeout value fffffffffffffffb" in line for line in kernel.log.lines)


def test_waking_minds_the_state(kernel: Kernel) -> None:
    task = start(kernel, "t", lambda: block(kernel, TASK_UNINTERRUPTIBLE))
    kernel.run(0.01)
    assert not kernel.sched.wake(task, TASK_INTERRUPTIBLE)
    assert kernel.sched.wake(task)
    assert not kernel.sched.wake(task)


def test_a_signal_keeps_an_interruptible_task_from_sleeping(kernel: Kernel) -> None:
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


def test_a_task_that_was_woken_may_run_at_the_next_might_sleep(kernel: Kernel) -> None:
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


def test_sleeping_with_a_spinlock_held_is_reported_and_done(kernel: Kernel) -> None:
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


def test_sleeping_in_an_interrupt_is_the_end(kernel: Kernel) -> None:
    def sleep() -> None:
        call(kernel, "msleep", 1)

    kernel.clock.at(0, sleep)
    with pytest.raises(KernelPanic):
        kernel.run(0.1)
    assert "BUG: scheduling while atomic: swapper/0/0/0x00010001" in kernel.log.lines


def test_run_ends_when_nothing_can_ever_happen(kernel: Kernel) -> None:
    task = start(kernel, "t", lambda: block(kernel, TASK_UNINTERRUPTIBLE))
    assert not kernel.sched.run(lambda: task.exited)
