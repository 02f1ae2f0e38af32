"""The lists of processes and of children, as guest code walks them."""

from __future__ import annotations

from tests.kernel.tasks import start

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import list_entries
from ukmod.kernel.sched.core import Task


def walked(kernel: Core, task: Task, head: str, link: str) -> list[int]:
    """The pids on a list that a task heads."""
    link_offset = kernel.types.offset("task_struct", link)
    pid_offset = kernel.types.offset("task_struct", "pid")
    entries = list_entries(kernel.memory, task.address + kernel.types.offset("task_struct", head))
    return [kernel.memory.u32(entry - link_offset + pid_offset) for entry in entries]


def real_parent(kernel: Core, task: Task) -> int:
    return kernel.memory.u64(task.address + kernel.types.offset("task_struct", "real_parent"))


def test_init_and_kthreadd_are_the_idle_tasks_children(kernel: Core) -> None:
    assert walked(kernel, kernel.idle, "children", "sibling") == [1, 2]
    assert [kernel.tasks.comm(task) for task in kernel.tasks.all()] == ["swapper/0", "init", "kthreadd"]
    assert real_parent(kernel, kernel.idle) == kernel.idle.address


def test_each_process_is_on_the_list_from_its_fork_until_it_is_reaped(kernel: Core) -> None:
    task = start(kernel, "one", lambda: None)
    thread = kernel.kthreads.run("two", int)
    assert walked(kernel, kernel.idle, "tasks", "tasks") == [1, 2, task.pid, thread.pid]
    assert real_parent(kernel, thread) == kernel.tasks.kthreadd.address
    kernel.run(0.1)
    assert walked(kernel, kernel.idle, "tasks", "tasks") == [1, 2]


def test_children_of_a_task_that_ends_become_inits(kernel: Core) -> None:
    children: list[Task] = []

    def body() -> None:
        children.append(kernel.tasks.create("child", int))

    parent = start(kernel, "parent", body)
    kernel.run(0.1)
    init = kernel.tasks.by_pid(1)
    assert init is not None
    assert parent.exited
    assert children[0].parent is init
    assert real_parent(kernel, children[0]) == init.address
    assert walked(kernel, init, "children", "sibling") == [children[0].pid]


def test_lists_that_the_guest_has_destroyed_do_no_harm(kernel: Core) -> None:
    task = start(kernel, "victim", lambda: None)
    kernel.memory.set_u64(task.address + kernel.types.offset("task_struct", "tasks"), 8)
    kernel.run(0.1)
    assert task.exited


def test_init_cannot_be_killed_and_kthreadd_ignores_signals(kernel: Core) -> None:
    for pid in (1, 2):
        task = kernel.tasks.by_pid(pid)
        assert task is not None
        kernel.signals.send(task, 9)
        kernel.sched.wake(task)
    kernel.run(1)
    assert [kernel.tasks.by_pid(pid) is None for pid in (1, 2)] == [False, False]
