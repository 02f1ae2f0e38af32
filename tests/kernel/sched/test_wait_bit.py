"""Waiting for bits: kernel/sched/wait_bit.c."""

from __future__ import annotations

from errno import EAGAIN, EINTR

from tests.kernel.tasks import call, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import TASK_KILLABLE, TASK_UNINTERRUPTIBLE

BIT = 11


def word(k: Core, value: int = 0) -> int:
    address = k.slab.kmalloc(8)
    k.memory.set_u64(address, value)
    return address


def clear_and_wake(k: Core, at: int, bit: int) -> None:
    def body() -> None:
        k.memory.set_u64(at, k.memory.u64(at) & ~(1 << bit))
        call(k, "wake_up_bit", at, bit)

    start(k, "waker", body)
    k.run(0.01)


def wait(k: Core, how: str, at: int, mode: int, results: list[int], *more: int) -> None:
    action = k.symbols.address("bit_wait_timeout" if more else "bit_wait")
    results.append(call(k, how, at, BIT, action, mode, *more))


def test_a_clear_bit_is_not_waited_for(kernel: Core) -> None:
    at = word(kernel, ~(1 << BIT) & 0xFFFF)
    results: list[int] = []
    start(kernel, "t", lambda: wait(kernel, "out_of_line_wait_on_bit", at, TASK_UNINTERRUPTIBLE, results))
    kernel.run(0.01)
    assert results == [0]


def test_all_who_wait_for_a_bit_go_on_when_it_is_clear(kernel: Core) -> None:
    at = word(kernel, 1 << BIT | 1)
    results: list[int] = []
    for _ in range(2):
        start(kernel, "t", lambda: wait(kernel, "out_of_line_wait_on_bit", at, TASK_UNINTERRUPTIBLE, results))
    kernel.run(0.01)
    clear_and_wake(kernel, at, 0)
    assert results == []
    clear_and_wake(kernel, at, BIT)
    assert results == [0, 0]


def test_a_bit_lock_goes_to_one_after_the_other_in_the_order_they_came(kernel: Core) -> None:
    at, order = word(kernel, 1 << BIT), []
    for name in "abc":

        def body(name: str = name) -> None:
            wait(kernel, "out_of_line_wait_on_bit_lock", at, TASK_UNINTERRUPTIBLE, [])
            order.append(name)

        start(kernel, name, body)
    kernel.run(0.01)
    for n in range(1, 4):
        clear_and_wake(kernel, at, BIT)
        assert order == list("abc")[:n]
        assert kernel.memory.u64(at) == 1 << BIT


def test_a_fatal_signal_ends_a_killable_wait(kernel: Core) -> None:
    for how in ("out_of_line_wait_on_bit", "out_of_line_wait_on_bit_lock"):
        at = word(kernel, 1 << BIT)
        results: list[int] = []
        task = start(kernel, "t", lambda how=how, at=at, r=results: wait(kernel, how, at, TASK_KILLABLE, r))
        kernel.run(0.01)
        kill(kernel, task)
        kernel.run(0.01)
        assert results == [-EINTR]


def test_a_wait_with_a_timeout_gives_up(kernel: Core) -> None:
    at = word(kernel, 1 << BIT)
    results: list[int] = []
    how = "out_of_line_wait_on_bit_timeout"
    start(kernel, "t", lambda: wait(kernel, how, at, TASK_UNINTERRUPTIBLE, results, 5))
    kernel.run(1)
    assert results == [-EAGAIN]
