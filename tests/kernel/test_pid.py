"""struct pid: kernel/pid.c."""

from __future__ import annotations

from tests.kernel.conftest import Guest
from tests.kernel.tasks import in_task, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, Task, block


def sleeper(k: Core, ticks: int) -> Task:
    return start(k, "t", lambda: block(k, TASK_UNINTERRUPTIBLE, ticks))


def test_a_process_is_found_by_its_number(kernel: Core, guest: Guest) -> None:
    task = sleeper(kernel, 1000)
    pid = kernel.pids.of(task)
    assert kernel.symbols.find("find_vpid") is not None
    assert guest.call("find_vpid", task.pid) & (1 << 64) - 1 == pid
    assert guest.call("pid_task", pid, 0) & (1 << 64) - 1 == task.address
    assert guest.call("pid_vnr", pid) == task.pid
    assert guest.call("find_vpid", 30000) == 0
    assert guest.call("find_get_pid", 30000) == 0


def test_processes_are_enumerated_by_the_next_number(kernel: Core, guest: Guest) -> None:
    numbers = sorted(task.pid for task in (sleeper(kernel, 1000), sleeper(kernel, 1000)))
    pid = guest.pointer("find_ge_pid", numbers[0] + 1, 0)
    assert guest.call("pid_vnr", pid) == numbers[1]
    assert guest.call("find_ge_pid", 1 << 20, 0) == 0


def test_a_reference_outlives_the_process_and_then_names_no_task(kernel: Core, guest: Guest) -> None:
    task = sleeper(kernel, 10)
    pid = guest.call("find_get_pid", task.pid) & (1 << 64) - 1
    kernel.run(1)
    assert task.exited
    assert guest.call("pid_task", pid, 0) == 0
    assert guest.call("get_pid_task", pid, 0) == 0
    assert guest.call("pid_vnr", pid) == task.pid  # the number stays, though it may be another's by now
    assert kernel.slab.object_at(pid) is not None
    guest.call("put_pid", pid)
    assert kernel.slab.object_at(pid) is None


def test_without_a_reference_it_is_freed_with_the_process(kernel: Core) -> None:
    task = sleeper(kernel, 10)
    pid = kernel.pids.of(task)
    kernel.run(1)
    assert kernel.slab.object_at(pid) is None


def test_get_pid_task_takes_a_reference_on_the_task(kernel: Core, guest: Guest) -> None:
    task = sleeper(kernel, 10)
    address = guest.call("get_pid_task", kernel.pids.of(task), 0) & (1 << 64) - 1
    kernel.run(1)
    assert task.exited
    assert kernel.tasks.at(address) is task


def test_null_is_accepted_as_a_pid(guest: Guest) -> None:
    assert guest.call("pid_task", 0, 0) == 0
    assert guest.call("pid_vnr", 0) == 0
    guest.call("put_pid", 0)


def test_task_pid_names_every_task_as_long_as_it_lives(kernel: Core) -> None:
    """It is inlined: ``task->thread_pid``."""
    task = kernel.kthreads.run("t", lambda: block(kernel, TASK_UNINTERRUPTIBLE, 10) * 0)
    kernel.tasks.get(task)
    thread_pid = task.address + kernel.types.offset("task_struct", "thread_pid")
    assert kernel.memory.u64(thread_pid) == kernel.pids.of(task)
    kernel.run(1)
    assert task.exited
    assert kernel.memory.u64(thread_pid) == 0


def test_every_way_to_find_a_process_by_number_knows_the_initial_namespace(
    kernel: Core, guest: Guest
) -> None:
    task = sleeper(kernel, 1000)
    pid = kernel.pids.of(task)
    assert guest.call("find_pid_ns", task.pid, 0) & (1 << 64) - 1 == pid
    assert guest.call("find_pid_ns", 30000, 0) == 0
    assert guest.call("pid_nr_ns", pid, 0) == task.pid
    assert guest.call("pid_nr_ns", 0, 0) == 0


def test_get_task_pid_takes_a_reference(kernel: Core, guest: Guest) -> None:
    task = sleeper(kernel, 10)
    pid = guest.call("get_task_pid", task.address, 0) & (1 << 64) - 1
    assert pid == kernel.pids.of(task)
    kernel.run(1)
    assert task.exited
    assert kernel.slab.object_at(pid) is not None
    guest.call("put_pid", pid)
    assert kernel.slab.object_at(pid) is None


def test_a_task_has_a_number_in_the_initial_namespace(kernel: Core, guest: Guest) -> None:
    task = sleeper(kernel, 1000)
    assert guest.call("__task_pid_nr_ns", task.address, 0, 0) == task.pid
    own: list[tuple[int, int]] = []
    in_task(kernel, lambda: own.append((guest.call("__task_pid_nr_ns", 0, 0, 0), kernel.sched.task().pid)))
    assert own[0][0] == own[0][1], "NULL is the current task"
