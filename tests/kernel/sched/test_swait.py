"""Simple wait queues: kernel/sched/swait.c. All waiters are exclusive, and have no functions."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE, Task

SIGTERM = 15


@dataclass
class Queue:
    """A struct swait_queue_head and those who wait on it."""

    kernel: Core
    head: int
    woken: list[str] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    def sleeper(self, name: str, state: int = TASK_UNINTERRUPTIBLE) -> Task:
        """A task that waits as ___swait_event() has it, once."""
        k = self.kernel

        def body() -> None:
            at = k.slab.kmalloc(k.types.sizeof("swait_queue"))
            entry = at + k.types.offset("swait_queue", "task_list")
            k.memory.set_u64(entry, entry)
            k.memory.set_u64(entry + 8, entry)
            while not (result := call(k, "prepare_to_swait_event", self.head, at, state)):
                k.sched.schedule()
                if self.kernel.memory.u64(entry) == entry:
                    break
            self.results.append(result)
            call(k, "finish_swait", self.head, at)
            self.woken.append(name)
            assert k.tasks.state(k.sched.task()) == TASK_RUNNING

        task = start(k, name, body)
        k.run(0.01)
        return task

    def do(self, name: str) -> list[str]:
        """Call a function of swait.c; who went on."""
        self.woken.clear()
        Guest(self.kernel).call(name, self.head)
        self.kernel.run(0.01)
        return list(self.woken)

    @property
    def empty(self) -> bool:
        head = self.head + self.kernel.types.offset("swait_queue_head", "task_list")
        return self.kernel.memory.u64(head) == head


@pytest.fixture
def queue(kernel: Core) -> Queue:
    at = kernel.slab.kmalloc(kernel.types.sizeof("swait_queue_head"))
    Guest(kernel).call("__init_swait_queue_head", at, 0, 0)
    return Queue(kernel, at)


@pytest.mark.parametrize("name", ["swake_up_one", "swake_up_locked"])
def test_one_is_woken_at_a_time_in_the_order_they_came(queue: Queue, name: str) -> None:
    for waiter in "abc":
        queue.sleeper(waiter)
    assert [queue.do(name) for _ in range(4)] == [["a"], ["b"], ["c"], []]
    assert queue.empty


def test_swake_up_all_wakes_all(queue: Queue) -> None:
    for waiter in "abc":
        queue.sleeper(waiter)
    assert queue.do("swake_up_all") == ["a", "b", "c"]
    assert queue.empty


def test_waking_takes_a_waiter_off_so_that_the_next_wakeup_is_for_another(queue: Queue) -> None:
    """Two wakeups in a row, before anybody runs, wake two."""
    queue.sleeper("a")
    queue.sleeper("b")
    k = queue.kernel
    start(k, "waker", lambda: [call(k, "swake_up_one", queue.head) for _ in range(2)])
    k.run(0.01)
    assert queue.woken == ["a", "b"]


@pytest.mark.parametrize(("state", "ends"), [(TASK_INTERRUPTIBLE, True), (TASK_UNINTERRUPTIBLE, False)])
def test_a_signal_ends_an_interruptible_wait_only(queue: Queue, state: int, ends: bool) -> None:
    task = queue.sleeper("a", state)
    queue.kernel.signals.send(task, SIGTERM)
    queue.kernel.run(0.01)
    assert queue.results == ([-ERESTARTSYS] if ends else [])
    assert queue.empty == ends


def test_an_interrupted_sleeper_does_not_use_up_a_wakeup(queue: Queue) -> None:
    """prepare_to_swait_event(): "subsequent swake_up_one() must not see us"."""
    first = queue.sleeper("a", TASK_INTERRUPTIBLE)
    queue.sleeper("b")
    kill(queue.kernel, first)
    queue.kernel.run(0.01)
    assert queue.do("swake_up_one") == ["b"]


def test_finish_takes_off_who_nobody_woke(queue: Queue) -> None:
    k, seen = queue.kernel, []

    def body() -> None:
        at = k.slab.kmalloc(k.types.sizeof("swait_queue"))
        entry = at + k.types.offset("swait_queue", "task_list")
        k.memory.set_u64(entry, entry)
        k.memory.set_u64(entry + 8, entry)
        for _ in range(2):
            call(k, "prepare_to_swait_exclusive", queue.head, at, TASK_UNINTERRUPTIBLE)
        seen.append(queue.empty)
        call(k, "finish_swait", queue.head, at)
        seen.append(queue.empty)

    start(k, "t", body)
    k.run(0.01)
    assert seen == [False, True]
