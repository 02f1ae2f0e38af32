"""Kernel threads: kernel/kthread.c; tests/golden has what modules see of them (threads)."""

from __future__ import annotations

from errno import EBUSY, EINTR, ENOSYS

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core
from ukmod.kernel.kthread import STOP, TASK_PARKED, Kthread
from ukmod.kernel.sched.core import (
    PF_NO_SETAFFINITY,
    PF_NOFREEZE,
    TASK_INTERRUPTIBLE,
    TASK_UNINTERRUPTIBLE,
    Task,
    block,
)
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
        kernel.kthreads.of(process.address, STOP)


class TestFlags:
    """What task->flags say of a thread: include/linux/sched.h."""

    def test_a_thread_is_not_frozen_until_it_asks_to_be(self, kernel: Core) -> None:
        flags: list[int] = []

        def body() -> int:
            flags.append(kernel.tasks.pf(kernel.sched.task()) & PF_NOFREEZE)
            assert not call(kernel, "set_freezable"), "it has not been frozen"
            flags.append(kernel.tasks.pf(kernel.sched.task()) & PF_NOFREEZE)
            return 0

        kernel.kthreads.run("t", body)
        kernel.run(0.01)
        assert flags == [PF_NOFREEZE, 0]

    @pytest.mark.parametrize("function", ["kthread_bind", "kthread_bind_mask"])
    def test_a_bound_thread_cannot_be_moved(self, kernel: Core, guest: Guest, function: str) -> None:
        task = kernel.kthreads.create("t", lambda: 0)
        guest.call(function, task.address, 0)
        assert kernel.tasks.pf(task) & PF_NO_SETAFFINITY
        assert not kernel.warnings

    def test_a_thread_that_has_run_is_bound_no_more(self, kernel: Core, guest: Guest) -> None:
        task = kernel.kthreads.run("t", lambda: until_stopped(kernel, 0))
        kernel.run(0.01)
        guest.call("kthread_bind", task.address, 0)
        assert not kernel.tasks.pf(task) & PF_NO_SETAFFINITY
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/kthread.c", 524)]

    def test_workers_are_marked(self, kernel: Core) -> None:
        """As in /proc/PID/stat: 69238880."""
        flags: list[int] = []
        queues = kernel.workqueues
        queues.queue(queues.events, lambda: flags.append(kernel.tasks.pf(kernel.sched.task())))
        kernel.run(0.01)
        assert flags == [69238880]


class TestCreation:
    def test_a_thread_for_a_cpu_has_its_number_in_the_name(self, kernel: Core, guest: Guest) -> None:
        seen: list[int] = []
        function = guest.python(lambda data: seen.append(data) or 0, 1)
        address = guest.call("kthread_create_on_cpu", function, 0x77, 0, b"cpu/%u") & (1 << 64) - 1
        task = kernel.tasks.at(address)
        assert kernel.tasks.comm(task) == "cpu/0"
        assert kernel.tasks.pf(task) & PF_NO_SETAFFINITY
        assert kernel.tasks.state(task) == TASK_UNINTERRUPTIBLE, "it waits to be woken"
        kernel.sched.wake(task)
        kernel.run(0.01)
        assert seen == [0x77]

    def test_the_function_and_data_of_a_thread_can_be_asked_for(self, kernel: Core, guest: Guest) -> None:
        function = guest.python(lambda _: 0, 1)
        task = kernel.kthreads.create_guest(function, 0x1234, "t")
        assert guest.call("kthread_func", task.address) & (1 << 64) - 1 == function
        assert guest.call("kthread_data", task.address) == 0x1234

    def test_a_process_has_no_thread_function_and_asking_for_its_data_oopses(
        self, kernel: Core, guest: Guest
    ) -> None:
        process = start(kernel, "sh", lambda: block(kernel, TASK_INTERRUPTIBLE))
        kernel.run(0.01)
        assert guest.call("kthread_func", process.address) == 0
        in_task_that_dies(kernel, "kthread_data", process.address)
        assert len(kernel.oopses) == 1


def in_task_that_dies(k: Core, function: str, *arguments: int) -> None:
    """Call a function that ends the caller."""
    task = k.run_task("t", lambda: call(k, function, *arguments))
    assert task.exited


class TestAsking:
    def test_should_park_can_be_asked_of_another_thread(self, kernel: Core, guest: Guest) -> None:
        task = kernel.kthreads.run("t", lambda: until_stopped(kernel, 0))
        kernel.run(0.01)
        assert guest.call("__kthread_should_park", task.address) == 0
        guest.call("kthread_park", task.address)
        assert guest.call("__kthread_should_park", task.address) == 1
        guest.call("kthread_unpark", task.address)
        assert guest.call("__kthread_should_park", task.address) == 0

    def test_a_freezable_thread_is_told_to_stop_and_that_it_was_not_frozen(
        self, kernel: Core, guest: Guest
    ) -> None:
        frozen = guest.put(b"\xff")
        seen: list[int] = []

        def body() -> int:
            for pointer in (0, frozen):
                seen.append(call(kernel, "kthread_freezable_should_stop", pointer))
                block(kernel, TASK_INTERRUPTIBLE, 10)
            seen.append(call(kernel, "kthread_freezable_should_stop", frozen))
            return 3

        task = kernel.kthreads.run("t", body)
        kernel.run(0.1)
        assert seen == [0, 0, 0]
        assert kernel.memory.u8(frozen) == 0

        task = kernel.kthreads.run("t", lambda: until_freezable_stop(kernel))
        kernel.run(0.01)
        assert stop(kernel, task) == 5

    def test_the_name_is_copied_with_zeros_behind_it(self, kernel: Core, guest: Guest) -> None:
        task = kernel.kthreads.create("0123456789abcdefgh", lambda: 0)
        buffer = guest.put(b"\xff" * 32)
        assert guest.call("__get_task_comm", buffer, 20, task.address) & (1 << 64) - 1 == buffer
        assert kernel.memory.read(buffer, 21) == b"0123456789abcde" + bytes(5) + b"\xff"
        guest.call("__get_task_comm", buffer, 4, task.address)
        assert kernel.memory.read(buffer, 5) == b"012\0" + b"4"


def until_freezable_stop(k: Core) -> int:
    while not call(k, "kthread_freezable_should_stop", 0):
        block(k, TASK_INTERRUPTIBLE)
    return 5


class TestEnds:
    def test_do_exit_ends_a_thread_with_its_code(self, kernel: Core) -> None:
        """Where modules may call it, kthread_stop() returns the exit code (before v5.17)."""
        task = kernel.kthreads.create("t", lambda: call(kernel, "do_exit", 6) + 1)
        kernel.tasks.get(task)
        kernel.sched.wake(task)
        kernel.run(0.01)
        assert task.exited
        assert task.exit_code == 6
        assert stop(kernel, task) == 6

    def test_do_exit_ends_a_process(self, kernel: Core) -> None:
        task = kernel.run_task("sh", lambda: call(kernel, "do_exit", 0x200))
        assert task.exit_code == 0x200

    def test_a_thread_that_oopsed_has_no_result(self, kernel: Core) -> None:
        task = kernel.kthreads.create("t", lambda: kernel.cpu.call(0))
        kernel.tasks.get(task)
        kernel.sched.wake(task)
        kernel.run(0.01)
        assert kernel.oopses
        assert stop(kernel, task) == 0

    def test_a_thread_parked_before_it_is_woken_runs_once_it_is_unparked(
        self, kernel: Core, guest: Guest
    ) -> None:
        ran: list[int] = []
        task = kernel.kthreads.create("t", lambda: ran.append(1) or 0)
        assert guest.call_int("kthread_park", task.address) == 0
        kernel.run(0.1)
        assert ran == []
        assert kernel.tasks.state(task) == TASK_PARKED
        guest.call("kthread_unpark", task.address)
        kernel.run(0.1)
        assert ran == [1]


@pytest.mark.parametrize("function", ["kthread_complete_and_exit", "complete_and_exit"])
@pytest.mark.parametrize("waited", [True, False])
def test_a_thread_may_complete_something_as_its_last_act(
    kernel: Core, guest: Guest, function: str, waited: bool
) -> None:
    """complete_and_exit(), the name before v5.17: without a completion, it is kthread_exit()."""
    done = guest.put(bytes(kernel.types.sizeof("completion")))
    seen: list[str] = []
    start(kernel, "waiter", lambda: (call(kernel, "wait_for_completion", done), seen.append("complete")))

    def body() -> int:
        call(kernel, function, done if waited else 0, -3)
        raise AssertionError("it does not return")

    task = kernel.kthreads.create("t", body)
    kernel.tasks.get(task)
    kernel.sched.wake(task)
    kernel.run(0.01)
    assert task.exited
    assert thread_of(task).result == -3
    assert seen == ["complete"] * waited


def test_kthread_stop_put_drops_the_callers_reference(kernel: Core) -> None:
    task = kernel.kthreads.run("t", lambda: until_stopped(kernel, 7))
    kernel.tasks.get(task)
    kernel.run(0.01)
    results: list[int] = []
    start(kernel, "stopper", lambda: results.append(call(kernel, "kthread_stop_put", task.address)))
    kernel.run(0.1)
    assert results == [7]
    with pytest.raises(Fault):
        kernel.tasks.at(task.address)
