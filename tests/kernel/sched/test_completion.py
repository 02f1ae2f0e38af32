"""Completions: kernel/sched/completion.c; tests/golden has what modules see (waits_completion)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE
from ukmod.kernel.signal_numbers import SIGSTOP

UINT_MAX = 0xFFFF_FFFF
SIGTERM = 15


def completion(k: Core) -> int:
    return k.slab.kmalloc(k.types.sizeof("completion"))


def test_complete_lets_one_waiter_go_on_in_the_order_they_came(kernel: Core) -> None:
    x, seen = completion(kernel), []
    for name in "abc":
        start(kernel, name, lambda name=name: (call(kernel, "wait_for_completion", x), seen.append(name)))
    kernel.run(0.01)
    for n in range(1, 4):
        start(kernel, "c", lambda: call(kernel, "complete", x))
        kernel.run(0.01)
        assert seen == list("abc")[:n]
    assert kernel.completions.done(x) == 0


def test_complete_all_is_never_used_up(kernel: Core) -> None:
    x, seen = completion(kernel), []
    for name in "ab":
        start(kernel, name, lambda name=name: (call(kernel, "wait_for_completion", x), seen.append(name)))
    kernel.run(0.01)
    start(kernel, "c", lambda: (call(kernel, "complete_all", x), call(kernel, "complete", x)))
    kernel.run(0.01)
    assert seen == ["a", "b"]
    assert kernel.completions.done(x) == UINT_MAX


def test_what_is_complete_already_takes_no_time(kernel: Core) -> None:
    x, results = completion(kernel), []

    def body() -> None:
        call(kernel, "complete", x)
        before = kernel.clock.jiffies
        results.append(call(kernel, "wait_for_completion_timeout", x, 100))
        results.append(kernel.clock.jiffies - before)
        results.append(call(kernel, "wait_for_completion_timeout", x, 5))
        results.append(kernel.clock.jiffies - before)

    start(kernel, "t", body)
    kernel.run(1)
    assert results[:3] == [100, 0, 0]
    assert results[3] >= 5


def test_signals_end_the_waits_that_allow_them(kernel: Core) -> None:
    x, results = completion(kernel), {}
    tasks = {}
    for name in ("", "_interruptible", "_killable"):

        def body(name: str = name) -> None:
            results[name] = call(kernel, f"wait_for_completion{name}", x)

        tasks[name] = start(kernel, "t", body)
    kernel.run(0.01)
    for task in tasks.values():
        kill(kernel, task)
    kernel.run(0.01)
    assert results == {"_interruptible": -ERESTARTSYS, "_killable": -ERESTARTSYS}
    assert kernel.completions.done(x) == 0


def test_trying_takes_one_and_asking_takes_none(kernel: Core) -> None:
    x, results = completion(kernel), []

    def body() -> None:
        results.append(call(kernel, "try_wait_for_completion", x))
        call(kernel, "complete", x)
        results.append(call(kernel, "completion_done", x))
        results.append(call(kernel, "try_wait_for_completion", x))
        results.append(call(kernel, "completion_done", x))

    start(kernel, "t", body)
    kernel.run(0.01)
    assert results == [0, 1, 1, 0]


TIMED = ["_timeout", "_io_timeout", "_interruptible_timeout", "_killable_timeout"]


@pytest.mark.parametrize("kind", TIMED)
def test_a_timed_wait_returns_what_is_left_or_0(kernel: Core, guest: Guest, kind: str) -> None:
    x, results = completion(kernel), []

    def body() -> None:
        begin = kernel.clock.jiffies
        results.append(guest.call(f"wait_for_completion{kind}", x, 50))
        results.append(kernel.clock.jiffies - begin)

    start(kernel, "waiter", body)
    kernel.run(20 * kernel.clock.tick / 1e9)
    guest.call("complete", x)
    kernel.run(0.01)
    assert sum(results) == 50, "left and passed"
    assert 19 <= results[1] <= 20
    results.clear()
    in_task(kernel, body)
    assert results == [0, 50]
    assert kernel.completions.done(x) == 0


@pytest.mark.parametrize("kind", ["", "_io", "_state"])
def test_a_wait_without_a_timeout_ends_with_the_completion(kernel: Core, guest: Guest, kind: str) -> None:
    x, done = completion(kernel), []
    state = [TASK_UNINTERRUPTIBLE] if kind == "_state" else []
    start(kernel, "waiter", lambda: (guest.call(f"wait_for_completion{kind}", x, *state), done.append(kind)))
    kernel.run(100)
    assert done == []
    guest.call("complete", x)
    kernel.run(0.01)
    assert done == [kind]


@pytest.mark.parametrize(
    ("function", "arguments", "signal", "ends"),
    [
        ("wait_for_completion_interruptible_timeout", (1000,), SIGTERM, True),
        ("wait_for_completion_killable_timeout", (1000,), SIGTERM, True),
        ("wait_for_completion_killable_timeout", (1000,), SIGSTOP, False),
        ("wait_for_completion_state", (TASK_INTERRUPTIBLE,), SIGSTOP, True),
        ("wait_for_completion_state", (TASK_UNINTERRUPTIBLE,), SIGTERM, False),
        ("wait_for_completion_io_timeout", (1000,), SIGTERM, False),
    ],
)
def test_a_signal_ends_the_wait_if_its_state_allows_it(
    kernel: Core, guest: Guest, function: str, arguments: tuple[int, ...], signal: int, ends: bool
) -> None:
    """SIGTERM kills a process that does not handle it; SIGSTOP does not."""
    x, results = completion(kernel), []
    task = start(kernel, "waiter", lambda: results.append(guest.call_int(function, x, *arguments)))
    kernel.run(0.01)
    kernel.signals.send(task, signal)
    kernel.run(0.01)
    assert results == ([-ERESTARTSYS] if ends else [])
