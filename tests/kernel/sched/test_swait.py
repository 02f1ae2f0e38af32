"""Simple wait queues: kernel/sched/swait.c. All waiters are exclusive, and have no functions."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.sched.queues import WaitQueue
from tests.kernel.tasks import call, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import init_list_head, list_empty
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE, Task

SIGTERM = 15


class Queue(WaitQueue):
    """A struct swait_queue_head."""

    def __init__(self, guest: Guest) -> None:
        super().__init__(guest, "swait_queue_head", "task_list", "__init_swait_queue_head")
        self.results: list[int] = []

    def entry(self) -> tuple[int, int]:
        """A struct swait_queue, and the address of its list entry."""
        k = self.kernel
        at = k.slab.kmalloc(k.types.sizeof("swait_queue"))
        entry = at + k.types.offset("swait_queue", "task_list")
        init_list_head(k.memory, entry)
        return at, entry

    def sleeper(self, name: str, state: int = TASK_UNINTERRUPTIBLE) -> Task:
        """A task that waits once, as ___swait_event() does."""

        def body(k: Core) -> None:
            at, entry = self.entry()
            while not (result := call(k, "prepare_to_swait_event", self.head, at, state)):
                k.sched.schedule()
                if list_empty(k.memory, entry):
                    break
            self.results.append(result)
            call(k, "finish_swait", self.head, at)
            self.woken.append(name)
            assert k.tasks.state(k.sched.task()) == TASK_RUNNING

        return self.task(name, body)


@pytest.fixture
def queue(guest: Guest) -> Queue:
    return Queue(guest)


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
    seen: list[bool] = []

    def body(k: Core) -> None:
        at, _ = queue.entry()
        for _ in range(2):
            call(k, "prepare_to_swait_exclusive", queue.head, at, TASK_UNINTERRUPTIBLE)
        seen.append(queue.empty)
        call(k, "finish_swait", queue.head, at)
        seen.append(queue.empty)

    queue.task("t", body)
    assert seen == [False, True]
