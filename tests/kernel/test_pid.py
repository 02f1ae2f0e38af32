"""struct pid: kernel/pid.c."""

from __future__ import annotations

from tests.kernel.conftest import Guest
from tests.kernel.tasks import start

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
