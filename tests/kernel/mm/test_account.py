"""What a guest makes ukmod keep is limited by the machine's RAM: kernel/mm/account.py and its users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import EAGAIN, ENOMEM

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.kernel.tasks import in_task, start

from ukmod.errors import LimitError
from ukmod.kernel.core import Core
from ukmod.kernel.limits import MIN_MEMORY
from ukmod.kernel.mm.account import admit
from ukmod.kernel.sched.core import Task
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.kernel.task import THREAD_SIZE
from ukmod.machine.memory import PAGE_SHIFT

MOST = MIN_MEMORY >> PAGE_SHIFT
"""The number of objects of a kind that the smallest machine keeps."""


@pytest.fixture
def small() -> Iterator[Core]:
    with Core(layouts(), memory=MIN_MEMORY) as k:
        yield k


def demanding(k: Core, body: Callable[[int], object]) -> Task:
    """A task that calls ``body`` more often than the machine has room for."""

    def loop() -> None:
        for n in range(2 * MOST):
            body(n)

    task = start(k, "demanding", loop)
    k.sched.run(lambda: task.exited)
    return task


def test_as_many_objects_as_pages_of_ram(small: Core) -> None:
    admit(small, MOST - 1, "works")
    with pytest.raises(LimitError, match=f"no memory for more than {MOST} works") as raised:
        admit(small, MOST, "works")
    assert raised.value.errno == ENOMEM


def test_timers_that_were_cancelled_do_not_count(small: Core) -> None:
    """A timer that is set again and again is one timer."""

    def set_and_cancel(n: int) -> None:
        small.clock.at(10**9 + n, int).cancelled = True

    assert demanding(small, set_and_cancel).exit_code == 0


def test_each_task_that_wants_a_timer_too_many_is_killed(small: Core) -> None:
    for _ in range(3):
        task = demanding(small, lambda n: small.clock.at(10**12 + n, int))
        assert task.exit_code == SIGKILL
        assert f"Out of memory: Killed process {task.pid} (demanding)" in small.log.dmesg()
    with pytest.raises(LimitError):
        small.clock.at(10**12, int)


def test_grace_periods_end_after_a_task_has_queued_too_many_callbacks(small: Core) -> None:
    called: list[int] = []
    for n in range(100):  # so that the timer of a grace period is one too many before its callback is
        small.clock.at(10**12 + n, int)
    assert demanding(small, lambda n: small.rcu.call(lambda: called.append(n))).exit_code == SIGKILL
    small.run(1)
    assert called == list(range(len(called)))
    assert len(called) > MOST // 2
    in_task(small, small.rcu.synchronize)


def test_the_stacks_of_all_tasks_take_an_eighth_of_the_ram(small: Core) -> None:
    assert small.tasks.max_threads == MIN_MEMORY // 8 // THREAD_SIZE


def test_a_thread_too_many_is_refused_until_another_has_ended(small: Core) -> None:
    """copy_process() with kernel.threads-max."""
    guest = Guest(small)
    made = 0
    while (result := create(guest)) > 0:
        made += 1
        last = result
    assert result == -EAGAIN
    assert made > small.tasks.max_threads // 2
    assert guest.call_int("kthread_stop", last) < 0
    assert create(guest) > 0


def create(guest: Guest) -> int:
    """kthread_create_on_node(): a pointer, which is positive here, or a negative errno."""
    result = guest.call("kthread_create_on_node", 0, 0, 0, b"thread")
    return result if -4096 < result < 0 else result & (1 << 64) - 1
