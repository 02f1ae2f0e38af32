"""Mutexes: Documentation/locking/mutex-design.rst, kernel/locking/mutex.c."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kernel.conftest import Guest, layouts
from tests.kernel.structs import kernel_with
from tests.kernel.tasks import call, in_task, start

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import list_empty
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block


def mutex(k: Core) -> int:
    """A struct mutex, made by __mutex_init() of memory with other things in it."""
    at = Guest(k).put(b"\xff" * k.types.sizeof("mutex"))
    Guest(k).call("__mutex_init", at, b"lock", 0)
    return at


def test_a_mutex_that_lockdep_does_not_know_is_free_as_well(kernel: Core, guest: Guest) -> None:
    at = guest.put(b"\xff" * kernel.types.sizeof("mutex"))
    guest.call("mutex_init_generic", at)
    assert guest.call_int("mutex_trylock", at) == 1
    assert guest.call_int("mutex_is_locked", at) == 1


def test_a_new_mutex_is_free_and_nobody_waits(kernel: Core, guest: Guest) -> None:
    at = mutex(kernel)
    assert guest.call_int("mutex_is_locked", at) == 0
    assert list_empty(kernel.memory, at + kernel.types.offset("mutex", "wait_list"))


@pytest.mark.parametrize(
    "lock",
    [
        *("mutex_lock", "mutex_lock_io", "mutex_lock_nested"),
        *("mutex_lock_interruptible", "mutex_lock_interruptible_nested"),
        *("mutex_lock_killable", "mutex_lock_killable_nested"),
    ],
)
def test_a_mutex_is_its_owners_until_it_is_unlocked(kernel: Core, guest: Guest, lock: str) -> None:
    at, seen, owners = mutex(kernel), list[str](), list[int]()

    def owner() -> None:
        guest.call(lock, at)
        owners.append(kernel.mutexes.owner(at) - kernel.sched.task().address)
        assert not guest.call_int("mutex_trylock", at), "not even by its owner"
        block(kernel, TASK_UNINTERRUPTIBLE, 10)
        seen.append("unlock")
        guest.call("mutex_unlock", at)

    start(kernel, "owner", owner)
    start(kernel, "waiter", lambda: (guest.call(lock, at), seen.append("locked")))
    kernel.run(1)
    assert owners == [0], "the task_struct, and no flags"
    assert seen == ["unlock", "locked"]
    assert guest.call_int("mutex_is_locked", at) == 1


def test_a_trylock_takes_a_free_mutex(kernel: Core, guest: Guest) -> None:
    at = mutex(kernel)
    assert guest.call_int("mutex_trylock", at) == 1
    assert guest.call_int("mutex_trylock", at) == 0


@pytest.mark.parametrize("acquired", [0, 2])
def test_unlocking_a_ww_mutex_leaves_one_less_to_its_context(acquired: int) -> None:
    """struct ww_acquire_ctx counts the mutexes that it has; one locked without a context has none."""
    context = {"task": 8, "stamp": 8, "acquired": 4, "wounded": 2, "is_wait_die": 2}
    size = layouts().sizeof("mutex")
    with kernel_with(ww_mutex={"base": size, "ctx": 8}, ww_acquire_ctx=context) as k:
        guest, lock, seen = Guest(k), Guest(k).put(bytes(size + 8)), list[str]()
        guest.call("__mutex_init", lock, b"lock", 0)
        at = guest.words(0, 0, acquired)

        def owner() -> None:
            guest.call("mutex_lock", lock)
            k.memory.set_u64(lock + size, at if acquired else 0)
            block(k, TASK_UNINTERRUPTIBLE, 10)
            seen.append("unlock")
            guest.call("ww_mutex_unlock", lock)

        start(k, "owner", owner)
        start(k, "waiter", lambda: (guest.call("mutex_lock", lock), seen.append("locked")))
        k.run(1)
        assert seen == ["unlock", "locked"]
        assert k.memory.u32(at + 16) == max(acquired - 1, 0)
        assert k.memory.u64(lock + size) == 0, "the next owner has no context yet"


class TestLastReference:
    """atomic_dec_and_mutex_lock(): the mutex is held only by the task that drops the count to 0."""

    def test_only_the_last_reference_takes_the_mutex(self, kernel: Core, guest: Guest) -> None:
        at, count, seen = mutex(kernel), guest.words(2, size=4), list[tuple[int, int, int]]()

        def body() -> None:
            for _ in range(2):
                result = guest.call_int("atomic_dec_and_mutex_lock", count, at)
                seen.append((result, kernel.memory.u32(count), guest.call_int("mutex_is_locked", at)))

        in_task(kernel, body)
        assert seen == [(0, 1, 0), (1, 0, 1)]

    def test_a_reference_that_comes_while_it_waits_lets_the_mutex_go(
        self, kernel: Core, guest: Guest
    ) -> None:
        at, count, results = mutex(kernel), guest.words(1, size=4), list[int]()

        def owner() -> None:
            guest.call("mutex_lock", at)
            block(kernel, TASK_UNINTERRUPTIBLE, 10)
            kernel.memory.set_u32(count, 2)
            guest.call("mutex_unlock", at)

        start(kernel, "owner", owner)
        start(kernel, "put", lambda: results.append(guest.call_int("atomic_dec_and_mutex_lock", count, at)))
        kernel.run(1)
        assert results == [0]
        assert kernel.memory.u32(count) == 1
        assert guest.call_int("mutex_is_locked", at) == 0


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
        at = mutex(k)

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
