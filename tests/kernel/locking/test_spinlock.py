"""Spinlocks and rwlocks: kernel/locking/spinlock.c; tests/golden has what modules see (waits_locks)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.kernel.tasks import call

from ukmod.kernel.core import Core


def made(k: Core, struct: str) -> int:
    """A lock that is free."""
    size = k.types.sizeof(struct)
    return Guest(k).put(bytes(size), size)


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


@pytest.mark.parametrize(("lock", "count"), [("", 0), ("_bh", 0x200)])
def test_a_kernel_that_is_not_preemptible_counts_no_spinlock(lock: str, count: int) -> None:
    """Its modules unlock inline, without counting down. Its vermagic says so."""
    with Core(layouts(), vermagic="5.10.0 SMP mod_unload modversions ") as k:
        at, counts = made(k, "spinlock"), []

        def body() -> int:
            call(k, f"_raw_spin_lock{lock}", at)
            counts.append(k.percpu.preempt_count())
            call(k, f"_raw_spin_unlock{lock}", at)
            counts.append(k.percpu.preempt_count())
            return 0

        k.run_task("t", body)
        assert counts == [count, 0]


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
    ("held", "wanted"),
    [
        *(("_raw_spin_lock", name) for name in ("_raw_spin_lock", "queued_spin_lock_slowpath")),
        *(("_raw_write_lock", name) for name in ("_raw_read_lock", "queued_read_lock_slowpath")),
        *(("_raw_read_lock", name) for name in ("_raw_write_lock", "queued_write_lock_slowpath")),
        ("_raw_write_lock", "_raw_write_lock"),
    ],
)
def test_waiting_for_a_lock_that_no_other_cpu_releases_is_a_lockup_that_ends_the_task(
    kernel: Core, held: str, wanted: str
) -> None:
    at, passed = made(kernel, "spinlock"), list[str]()

    def body() -> int:
        call(kernel, held, at)
        passed.append(held)
        call(kernel, wanted, at, 1)
        passed.append(wanted)
        return 0

    task = kernel.run_task("deadlock", body)
    assert task.exit_code == 9
    assert passed == [held]
    lines = list(kernel.log.lines)
    report = lines.index(f"BUG: spinlock lockup suspected on CPU#0, deadlock/{task.pid}")
    assert lines[report + 1] == f" lock: {at:#x}"
    assert kernel.percpu.preempt_count() == 0
