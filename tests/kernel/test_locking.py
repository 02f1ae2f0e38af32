"""Spinlocks, mutexes, semaphores and rwsems; tests/golden has what modules see (waits_locks)."""

from __future__ import annotations

from errno import EINTR, ETIME

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kernel.conftest import layouts
from tests.kernel.tasks import call, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block


def made(k: Core, struct: str) -> int:
    """A zeroed struct, initialised where the kernel has a function for it."""
    size = k.types.sizeof(struct)
    address = k.slab.kmalloc(size)
    k.memory.fill(address, 0, size)
    if struct == "mutex":
        k.mutexes.init(address)
    if struct == "rw_semaphore":
        k.rwsems.init(address)
    return address


@pytest.mark.parametrize("kind", ["spin", "read", "write"])
@pytest.mark.parametrize(
    ("lock", "unlock", "count"),
    [("", "", 1), ("_irq", "_irq", 1), ("_bh", "_bh", 0x201)],
)
def test_a_spinlock_counts_as_preemption_disabled(
    kernel: Core, kind: str, lock: str, unlock: str, count: int
) -> None:
    at, counts = made(kernel, "spinlock"), []

    def body() -> int:
        call(kernel, f"_raw_{kind}_lock{lock}", at)
        counts.append(kernel.percpu.preempt_count())
        call(kernel, f"_raw_{kind}_unlock{unlock}", at)
        counts.append(kernel.percpu.preempt_count())
        return 0

    kernel.run_task("t", body)
    assert counts == [count, 0]
    assert kernel.memory.u32(at) == 0


def test_irqsave_gives_the_flags_back(kernel: Core) -> None:
    at, enabled = made(kernel, "spinlock"), []

    def body() -> int:
        flags = call(kernel, "_raw_spin_lock_irqsave", at)
        enabled.append(bool(kernel.cpu.registers().rflags & 0x200))
        call(kernel, "_raw_spin_unlock_irqrestore", at, flags)
        enabled.append(bool(kernel.cpu.registers().rflags & 0x200))
        return 0

    kernel.run_task("t", body)
    assert enabled == [False, True]


def test_trylock_of_a_held_lock_fails_and_leaves_no_trace(kernel: Core) -> None:
    at = made(kernel, "spinlock")
    results: list[int] = []

    def body() -> int:
        results.extend(call(kernel, "_raw_spin_trylock", at) for _ in range(2))
        results.append(kernel.percpu.preempt_count())
        call(kernel, "_raw_spin_unlock", at)
        return 0

    kernel.run_task("t", body)
    assert results == [1, 0, 1]


def test_taking_a_spinlock_twice_is_a_lockup_that_ends_the_task(kernel: Core) -> None:
    at = made(kernel, "spinlock")

    def body() -> int:
        call(kernel, "_raw_spin_lock", at)
        call(kernel, "_raw_spin_lock", at)
        raise AssertionError("the second lock was had")

    task = kernel.run_task("deadlock", body)
    assert task.exit_code == 9
    assert f"BUG: spinlock lockup suspected on CPU#0, deadlock/{task.pid}" in kernel.log.lines
    assert kernel.percpu.preempt_count() == 0


def test_many_readers_or_one_writer(kernel: Core) -> None:
    at = made(kernel, "spinlock")
    results: list[int] = []

    def body() -> int:
        results.extend(call(kernel, f"_raw_{kind}_trylock", at) for kind in ("read", "read", "write"))
        call(kernel, "_raw_read_unlock", at)
        call(kernel, "_raw_read_unlock", at)
        results.extend(call(kernel, f"_raw_{kind}_trylock", at) for kind in ("write", "read"))
        call(kernel, "_raw_write_unlock", at)
        return 0

    kernel.run_task("t", body)
    assert results == [1, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("struct", "take", "wait"),
    [
        ("mutex", "mutex_lock", "mutex_lock_killable"),
        ("mutex", "mutex_lock", "mutex_lock_interruptible"),
        ("semaphore", "", "down_interruptible"),
        ("semaphore", "", "down_killable"),
        ("rw_semaphore", "down_write", "down_read_killable"),
        ("rw_semaphore", "down_write", "down_read_interruptible"),
        ("rw_semaphore", "down_read", "down_write_killable"),
    ],
)
def test_a_signal_ends_the_wait_with_eintr(kernel: Core, struct: str, take: str, wait: str) -> None:
    at, results = made(kernel, struct), []
    if take:
        kernel.run_task("owner", lambda: call(kernel, take, at))
    before = kernel.memory.read(at, 8)
    task = start(kernel, "waiter", lambda: results.append(call(kernel, wait, at)))
    kernel.run(0.01)
    assert results == []
    kill(kernel, task)
    kernel.run(0.01)
    assert results == [-EINTR]
    assert kernel.memory.read(at, 8) == before


def test_down_timeout(kernel: Core) -> None:
    at, results = made(kernel, "semaphore"), []
    kernel.run_task("t", lambda: results.append(call(kernel, "down_timeout", at, 5)) or 0)
    assert results == [-ETIME]


def test_up_goes_to_the_task_that_waits_longest(kernel: Core) -> None:
    at, seen = made(kernel, "semaphore"), []
    for name in "abc":
        start(kernel, name, lambda name=name: (call(kernel, "down", at), seen.append(name)))
    kernel.run(0.01)
    kernel.run_task("t", lambda: sum(call(kernel, "up", at) for _ in range(4)) * 0)
    kernel.run(0.01)
    assert seen == ["a", "b", "c"]
    assert kernel.memory.u32(at + kernel.types.offset("semaphore", "count")) == 1


def test_a_waiting_writer_keeps_new_readers_out(kernel: Core) -> None:
    at, seen = made(kernel, "rw_semaphore"), []
    kernel.run_task("reader", lambda: call(kernel, "down_read", at))
    start(kernel, "writer", lambda: (call(kernel, "down_write", at), seen.append("writer")))
    kernel.run(0.01)
    start(kernel, "late", lambda: (call(kernel, "down_read", at), seen.append("late")))
    kernel.run(0.01)
    assert seen == []
    kernel.run_task("reader", lambda: call(kernel, "up_read", at))
    kernel.run(0.01)
    assert seen == ["writer"]
    kernel.run_task("writer", lambda: call(kernel, "up_write", at))
    kernel.run(0.01)
    assert seen == ["writer", "late"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    turns=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=2, max_size=5),
    seed=st.none() | st.integers(0, 9),
)
def test_a_mutex_is_one_tasks_at_a_time_and_everyones_in_the_end(
    turns: list[list[int]], seed: int | None
) -> None:
    inside, done = 0, 0
    with Core(layouts(), seed=seed, memory=1 << 26) as k:
        at = made(k, "mutex")

        def body(sleeps: list[int]) -> None:
            nonlocal inside, done
            for ticks in sleeps:
                call(k, "mutex_lock", at)
                inside += 1
                assert inside == 1
                if ticks:
                    block(k, TASK_UNINTERRUPTIBLE, ticks)
                inside -= 1
                call(k, "mutex_unlock", at)
            done += 1

        for sleeps in turns:
            start(k, "t", lambda sleeps=sleeps: body(sleeps))
        k.run(1)
        assert k.mutexes.owner(at) == 0
    assert done == len(turns)
