"""Counting semaphores: kernel/locking/semaphore.c; tests/golden has what modules see (waits_locks)."""

from __future__ import annotations

from errno import ETIME

from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core


def semaphore(k: Core) -> int:
    """A struct semaphore with a count of 0."""
    size = k.types.sizeof("semaphore")
    return Guest(k).put(bytes(size), size)


def test_down_timeout(kernel: Core) -> None:
    at, results = semaphore(kernel), []
    kernel.run_task("t", lambda: results.append(call(kernel, "down_timeout", at, 5)) or 0)
    assert results == [-ETIME]


def test_up_goes_to_the_task_that_waits_longest(kernel: Core) -> None:
    at, seen = semaphore(kernel), []
    for name in "abc":
        start(kernel, name, lambda name=name: (call(kernel, "down", at), seen.append(name)))
    kernel.run(0.01)
    kernel.run_task("t", lambda: sum(call(kernel, "up", at) for _ in range(4)) * 0)
    kernel.run(0.01)
    assert seen == ["a", "b", "c"]
    assert kernel.memory.u32(at + kernel.types.offset("semaphore", "count")) == 1


def test_a_trylock_takes_what_is_there_and_never_waits(kernel: Core, guest: Guest) -> None:
    at = semaphore(kernel)
    guest.call("up", at)
    assert [guest.call_int("down_trylock", at) for _ in range(2)] == [0, 1], "1 is failure"


def test_a_timed_wait_that_is_served_returns_0(kernel: Core, guest: Guest) -> None:
    at, results = semaphore(kernel), list[int]()
    start(kernel, "waiter", lambda: results.append(guest.call_int("down_timeout", at, 100)))
    kernel.run(0.01)
    guest.call("up", at)
    kernel.run(0.01)
    assert results == [0]
