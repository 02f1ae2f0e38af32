"""Waiting for bits: kernel/sched/wait_bit.c."""

from __future__ import annotations

from errno import EAGAIN, EINTR
from functools import partial

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import (
    TASK_KILLABLE,
    TASK_NORMAL,
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    Task,
    block,
)
from ukmod.kernel.sched.wait import WQ_FLAG_EXCLUSIVE

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


@pytest.mark.parametrize("action", ["bit_wait", "bit_wait_io"])
def test_a_wait_action_sleeps_once_and_tells_of_a_signal(kernel: Core, guest: Guest, action: str) -> None:
    results: list[int] = []

    def body() -> None:
        kernel.tasks.set_state(kernel.sched.task(), TASK_KILLABLE)
        results.append(guest.call_int(action, 0, TASK_KILLABLE))

    for wake, result in ((kernel.sched.wake, 0), (partial(kill, kernel), -EINTR)):
        task = start(kernel, "t", body)
        kernel.run(0.01)
        wake(task)
        kernel.run(0.01)
        assert results.pop() == result


@pytest.mark.parametrize("action", ["bit_wait_timeout", "bit_wait_io_timeout"])
def test_a_wait_action_with_a_timeout_sleeps_until_then(kernel: Core, guest: Guest, action: str) -> None:
    """``key->timeout`` is the jiffy at which it gives up."""
    results: list[tuple[int, int]] = []
    key = guest.put(b"", kernel.types.sizeof("wait_bit_key"))

    def body() -> None:
        begin = kernel.clock.jiffies
        kernel.memory.set_u64(key + kernel.types.offset("wait_bit_key", "timeout"), begin + 5)
        for _ in range(2):
            kernel.tasks.set_state(kernel.sched.task(), TASK_UNINTERRUPTIBLE)
            results.append((guest.call_int(action, key, TASK_UNINTERRUPTIBLE), kernel.clock.jiffies - begin))
        kernel.tasks.set_state(kernel.sched.task(), TASK_RUNNING)

    in_task(kernel, body)
    assert results == [(0, 5), (-EAGAIN, 5)]


class TestVariables:
    """wait_var_event(), which is inlined, and wake_up_var()."""

    def wait(self, guest: Guest, variable: int, woken: list[int]) -> None:
        """Start a task that sleeps until ``variable`` is not 0."""
        k, size = guest.kernel, guest.kernel.types.sizeof("wait_bit_queue_entry")

        def body() -> None:
            queue = guest.call("__var_waitqueue", variable) & (1 << 64) - 1
            entry = guest.put(b"\xff" * size)
            guest.call("init_wait_var_entry", entry, variable, 0)
            waiter = entry + k.types.offset("wait_bit_queue_entry", "wq_entry")
            while True:
                guest.call("prepare_to_wait_event", queue, waiter, TASK_UNINTERRUPTIBLE)
                if k.memory.u64(variable):
                    break
                k.sched.schedule()
                woken.append(variable)
            guest.call("finish_wait", queue, waiter)

        start(k, "waiter", body)
        k.run(0.01)

    def test_a_waiter_goes_on_when_its_variable_has_changed(self, kernel: Core, guest: Guest) -> None:
        variable, woken = word(kernel), list[int]()
        self.wait(guest, variable, woken)
        kernel.memory.set_u64(variable, 1)
        guest.call("wake_up_var", variable)
        kernel.run(0.01)
        assert woken == [variable]

    def test_only_waiters_for_the_same_variable_are_woken(self, kernel: Core, guest: Guest) -> None:
        """Though they may be on the same queue of the hashed table."""
        first = word(kernel)
        queue = guest.call("__var_waitqueue", first)
        others = (kernel.slab.kmalloc(8) for _ in range(100_000))
        second = next(at for at in others if guest.call("__var_waitqueue", at) == queue)
        kernel.memory.set_u64(second, 0)
        woken: list[int] = []
        for variable in (first, second):
            self.wait(guest, variable, woken)
        guest.call("wake_up_var", first)
        kernel.run(0.01)
        assert woken == [first]

    def test_a_waiter_for_a_variable_is_no_waiter_for_its_first_bit(self, kernel: Core, guest: Guest) -> None:
        variable, woken = word(kernel), list[int]()
        self.wait(guest, variable, woken)
        guest.call("__wake_up_bit", guest.call("__var_waitqueue", variable) & (1 << 64) - 1, variable, 0)
        kernel.run(0.01)
        assert woken == []

    def test_an_entry_has_the_flags_that_were_asked_for(self, kernel: Core, guest: Guest) -> None:
        entry = guest.put(b"\xff" * kernel.types.sizeof("wait_bit_queue_entry"))
        guest.call("init_wait_var_entry", entry, 0x1234, WQ_FLAG_EXCLUSIVE)
        at = entry + kernel.types.offset("wait_bit_queue_entry", "wq_entry") + kernel.waitqueues.waiter.flags
        assert kernel.memory.u32(at) == WQ_FLAG_EXCLUSIVE
        key = entry + kernel.types.offset("wait_bit_queue_entry", "key")
        assert kernel.memory.u64(key + kernel.types.offset("wait_bit_key", "flags")) == 0x1234
        assert kernel.memory.u32(key + kernel.types.offset("wait_bit_key", "bit_nr")) == 0xFFFF_FFFF
        assert kernel.memory.u64(key + kernel.types.offset("wait_bit_key", "timeout")) == 0

    def test_the_wake_function_of_a_variable_wakes_for_its_own_key_only(
        self, kernel: Core, guest: Guest
    ) -> None:
        task = start(kernel, "t", lambda: block(kernel, TASK_UNINTERRUPTIBLE))
        kernel.run(0.01)
        entry, keys = guest.put(b"", kernel.types.sizeof("wait_bit_queue_entry")), []
        guest.call("init_wait_var_entry", entry, 0x1000, 0)
        waiter = entry + kernel.types.offset("wait_bit_queue_entry", "wq_entry")
        kernel.memory.set_u64(waiter + kernel.waitqueues.waiter.private, task.address)
        for variable in (0x2000, 0x1000):
            key = guest.put(b"", kernel.types.sizeof("wait_bit_key"))
            kernel.memory.set_u64(key + kernel.types.offset("wait_bit_key", "flags"), variable)
            kernel.memory.set_u32(key + kernel.types.offset("wait_bit_key", "bit_nr"), 0xFFFF_FFFF)
            keys.append(key)
        results = [guest.call_int("var_wake_function", waiter, TASK_NORMAL, 0, key) for key in keys]
        assert results == [0, 1]


class TestOwnEntry:
    """__wait_on_bit(), __wait_on_bit_lock(): with the caller's own queue entry, DEFINE_WAIT_BIT()."""

    def wait(self, guest: Guest, function: str, at: int, done: list[int]) -> Task:
        """A task that waits for a bit of the word at ``at``."""
        k = guest.kernel

        def body() -> None:
            queue = guest.call("bit_waitqueue", at, BIT) & (1 << 64) - 1
            entry = guest.put(b"", k.types.sizeof("wait_bit_queue_entry"))
            guest.call("init_wait_var_entry", entry, at, 0)
            waiter = entry + k.types.offset("wait_bit_queue_entry", "wq_entry")
            wakes = k.symbols.address("wake_bit_function")
            k.memory.set_u64(waiter + k.waitqueues.waiter.func, wakes)
            bit = (
                entry
                + k.types.offset("wait_bit_queue_entry", "key")
                + k.types.offset("wait_bit_key", "bit_nr")
            )
            k.memory.set_u32(bit, BIT)
            action = k.symbols.address("bit_wait")
            done.append(guest.call_int(function, queue, entry, action, TASK_UNINTERRUPTIBLE))

        task = start(k, "waiter", body)
        k.run(0.01)
        return task

    def test_all_waiters_go_on_when_the_bit_is_clear(self, kernel: Core, guest: Guest) -> None:
        at, done = word(kernel, 1 << BIT), list[int]()
        for _ in range(2):
            self.wait(guest, "__wait_on_bit", at, done)
        assert done == []
        clear_and_wake(kernel, at, BIT)
        assert done == [0, 0]
        assert kernel.memory.u64(at) == 0

    def test_one_waiter_gets_the_lock_and_the_bit_is_set_again(self, kernel: Core, guest: Guest) -> None:
        at, done = word(kernel, 1 << BIT), list[int]()
        for _ in range(2):
            self.wait(guest, "__wait_on_bit_lock", at, done)
        clear_and_wake(kernel, at, BIT)
        assert done == [0]
        assert kernel.memory.u64(at) == 1 << BIT

    def test_waking_before_the_bit_is_clear_wakes_nobody(self, kernel: Core, guest: Guest) -> None:
        """wake_bit_function(): the bit is looked at again."""
        at, done = word(kernel, 1 << BIT), list[int]()
        task = self.wait(guest, "__wait_on_bit", at, done)
        guest.call("__wake_up_bit", guest.call("bit_waitqueue", at, BIT) & (1 << 64) - 1, at, BIT)
        assert kernel.tasks.state(task) == TASK_UNINTERRUPTIBLE


def test_bits_and_variables_are_hashed_by_the_kernels_function(kernel: Core, guest: Guest) -> None:
    """hash_64(value, 8): the product's upper bits."""

    def entry(function: str, *arguments: int) -> int:
        first = guest.call("__var_waitqueue", 0)
        return (guest.call(function, *arguments) - first) // kernel.types.sizeof("wait_queue_head")

    address = 0xFFFF_8880_0123_4568
    golden = 0x61C8_8646_80B5_83EB
    assert entry("__var_waitqueue", address) == (address * golden & (1 << 64) - 1) >> 56
    assert entry("bit_waitqueue", address, BIT) == ((address << 6 | BIT) * golden & (1 << 64) - 1) >> 56
