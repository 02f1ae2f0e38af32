"""Kernel threads: kernel/kthread.c; tests/golden has what modules see of them (threads)."""

from __future__ import annotations

from errno import EBUSY, EINTR, ENOSYS

import pytest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core
from ukmod.kernel.kthread import TASK_PARKED, Kthread
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, Task, block
from ukmod.machine.memory import Fault


def thread_of(task: Task) -> Kthread:
    assert task.kthread is not None
    return task.kthread


def until_stopped(k: Core, result: int) -> int:
    """A thread function as most are: sleep until kthread_should_stop(), park when asked to."""
    while not call(k, "kthread_should_stop"):
        if call(k, "kthread_should_park"):
            call(k, "kthread_parkme")
        else:
            block(k, TASK_INTERRUPTIBLE)
    return result


def stop(k: Core, task: Task) -> int:
    results: list[int] = []
    start(k, "stopper", lambda: results.append(call(k, "kthread_stop", task.address)))
    k.run(0.1)
    (result,) = results
    return result


@pytest.mark.parametrize("result", [0, 7, -5])
def test_kthread_stop_returns_what_the_function_did(kernel: Core, result: int) -> None:
    task = kernel.kthreads.run("t", lambda: until_stopped(kernel, result))
    kernel.run(0.01)
    assert stop(kernel, task) == result


def test_a_thread_stopped_before_it_is_woken_never_calls_its_function(kernel: Core) -> None:
    called: list[int] = []
    task = kernel.kthreads.create("t", lambda: called.append(1) or 0)
    assert stop(kernel, task) == -EINTR
    assert not called


def test_kthread_exit_gives_the_result(kernel: Core) -> None:
    task = kernel.kthreads.create("t", lambda: call(kernel, "kthread_exit", -3))
    kernel.tasks.get(task)
    kernel.sched.wake(task)
    kernel.run(0.01)
    assert task.exited
    assert thread_of(task).result == -3


def test_a_parked_thread_waits_in_task_parked_until_it_is_unparked(kernel: Core) -> None:
    task = kernel.kthreads.run("t", lambda: until_stopped(kernel, 0))
    kernel.run(0.01)
    results: list[int] = []
    start(kernel, "parker", lambda: results.append(call(kernel, "kthread_park", task.address)))
    kernel.run(0.01)
    assert results == [0]
    assert kernel.tasks.state(task) == TASK_PARKED
    assert not kernel.sched.wake(task, TASK_INTERRUPTIBLE)
    kernel.kthreads.unpark(thread_of(task))
    kernel.run(0.01)
    assert kernel.tasks.state(task) == TASK_INTERRUPTIBLE


def test_parking_a_parked_thread_is_busy_and_warned_of_once(kernel: Core) -> None:
    task = kernel.kthreads.run("t", lambda: until_stopped(kernel, 0))
    kernel.run(0.01)
    results: list[int] = []

    def body() -> None:
        results.extend(call(kernel, "kthread_park", task.address) for _ in range(3))

    start(kernel, "parker", body)
    kernel.run(0.01)
    assert results == [0, -EBUSY, -EBUSY]
    assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/kthread.c", 661)]


def test_a_thread_that_has_ended_cannot_be_parked(kernel: Core) -> None:
    task = kernel.kthreads.create("t", lambda: 0)
    kernel.tasks.get(task)
    kernel.sched.wake(task)
    kernel.run(0.01)
    results: list[int] = []
    start(kernel, "parker", lambda: results.append(kernel.kthreads.park(thread_of(task))))
    kernel.run(0.01)
    assert results == [-ENOSYS]
    assert len(kernel.warnings) == 1


def test_stopping_a_parked_thread_unparks_it(kernel: Core) -> None:
    task = kernel.kthreads.run("t", lambda: until_stopped(kernel, 4))
    kernel.run(0.01)
    start(kernel, "parker", lambda: call(kernel, "kthread_park", task.address))
    kernel.run(0.01)
    assert stop(kernel, task) == 4


def test_a_process_is_no_kernel_thread(kernel: Core) -> None:
    process = start(kernel, "sh", lambda: block(kernel, TASK_INTERRUPTIBLE))
    kernel.run(0.01)
    with pytest.raises(Fault):
        kernel.kthreads.of(process.address)
