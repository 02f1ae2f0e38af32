"""Policies and priorities: sched_set_fifo() and its kin, set_user_nice(); kernel/sched/core.c."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, Task, block
from ukmod.kernel.sched.prio import SCHED_FIFO, SCHED_NORMAL, set_nice


def sleeper(k: Core) -> Task:
    """A kernel thread that sleeps for ever."""
    task = k.kthreads.run("t", lambda: block(k, TASK_UNINTERRUPTIBLE))
    k.run(0.01)
    return task


def seen(k: Core, task: Task, *members: str) -> list[int]:
    """Members of its task_struct."""
    return [k.memory.u32(task.address + k.types.offset("task_struct", name)) for name in members]


ALL = ("policy", "rt_priority", "static_prio", "normal_prio", "prio")


class TestMembers:
    def test_a_new_task_is_normal_and_not_nice(self, kernel: Core) -> None:
        assert seen(kernel, sleeper(kernel), *ALL) == [SCHED_NORMAL, 0, 120, 120, 120]

    @pytest.mark.parametrize(
        ("function", "rt", "prio"), [("sched_set_fifo", 50, 49), ("sched_set_fifo_low", 1, 98)]
    )
    def test_a_fifo_thread_has_a_real_time_priority(
        self, kernel: Core, guest: Guest, function: str, rt: int, prio: int
    ) -> None:
        task = sleeper(kernel)
        guest.call(function, task.address)
        assert seen(kernel, task, *ALL) == [SCHED_FIFO, rt, 120, prio, prio]

    def test_sched_set_normal_takes_it_back_with_a_nice_value(self, kernel: Core, guest: Guest) -> None:
        task = sleeper(kernel)
        guest.call("sched_set_fifo", task.address)
        guest.call("sched_set_normal", task.address, 7)
        assert seen(kernel, task, *ALL) == [SCHED_NORMAL, 0, 127, 127, 127]

    @pytest.mark.parametrize(("nice", "prio"), [(-20, 100), (19, 139), (-21, 120), (20, 120)])
    def test_set_user_nice_ignores_what_is_out_of_range(
        self, kernel: Core, guest: Guest, nice: int, prio: int
    ) -> None:
        task = sleeper(kernel)
        guest.call("set_user_nice", task.address, nice)
        assert seen(kernel, task, *ALL) == [SCHED_NORMAL, 0, prio, prio, prio]

    @pytest.mark.parametrize("function", ["set_user_nice", "set_user_nice.part.0"])
    def test_the_nice_value_of_a_fifo_thread_has_to_wait(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        """The second is what a compiler may have split off, for an image's own callers."""
        task = sleeper(kernel)
        guest.call("sched_set_fifo", task.address)
        guest.call(function, task.address, 5)
        assert seen(kernel, task, *ALL) == [SCHED_FIFO, 50, 125, 49, 49]

    @pytest.mark.parametrize(("name", "prio"), [("system_wq", 120), ("system_highpri_wq", 100)])
    def test_high_priority_workers_are_the_least_nice(self, kernel: Core, name: str, prio: int) -> None:
        prios: list[list[int]] = []
        queues = kernel.workqueues
        queues.queue(
            queues.system(name), lambda: prios.append(seen(kernel, kernel.sched.task(), "static_prio"))
        )
        kernel.run(0.01)
        assert prios == [[prio]]


class TestOrder:
    """What runs first of what is woken at the same time."""

    def order(self, kernel: Core, **functions: str | int) -> str:
        """Wake threads by name, each prepared by a function or with a nice value; the order they run in."""
        ran: list[str] = []
        threads = []
        for name, how in functions.items():
            task = kernel.kthreads.create(name, lambda name=name: ran.append(name) or 0)
            if isinstance(how, int):
                set_nice(kernel, task, how)
            else:
                start(kernel, "t", lambda task=task, how=how: call(kernel, how, task.address))
            threads.append(task)
        kernel.run(0.01)
        for task in threads:
            kernel.sched.wake(task)
        kernel.run(0.01)
        return "".join(ran)

    def test_real_time_comes_first_and_the_nicest_last(self, kernel: Core) -> None:
        assert (
            self.order(kernel, n=0, l="sched_set_fifo_low", m=10, h="sched_set_fifo", i=-10, k=-10)
            == "hliknm"
        )

    @pytest.mark.parametrize(
        ("function", "arguments", "order"),
        [
            ("sched_set_fifo", (), ["thread", "thread", "normal"]),
            ("set_user_nice", (-20,), ["normal", "thread", "thread"]),
        ],
    )
    def test_only_a_real_time_thread_that_yields_keeps_the_cpu_from_normal_tasks(
        self, kernel: Core, guest: Guest, function: str, arguments: tuple[int, ...], order: list[str]
    ) -> None:
        ran: list[str] = []

        def thread() -> int:
            guest.call(function, kernel.sched.task().address, *arguments)
            start(kernel, "normal", lambda: ran.append("normal"))
            for _ in range(2):
                guest.call("yield")
                ran.append("thread")
            return 0

        kernel.kthreads.run("thread", thread)
        kernel.run(0.01)
        assert ran == order

    def test_a_runnable_task_moves_when_its_priority_changes(self, kernel: Core) -> None:
        ran: list[str] = []

        def body() -> None:
            tasks = [start(kernel, name, lambda name=name: ran.append(name)) for name in "ab"]
            call(kernel, "sched_set_fifo_low", tasks[1].address)

        start(kernel, "t", body)
        kernel.run(0.01)
        assert ran == ["b", "a"]

    def test_a_fifo_thread_that_polls_lets_time_pass(self, kernel: Core) -> None:
        """It waits for a timer while a normal task is runnable."""
        done: list[bool] = []

        def fifo() -> int:
            call(kernel, "sched_set_fifo", kernel.sched.task().address)
            start(kernel, "normal", lambda: None)
            end = kernel.clock.jiffies + 250
            while kernel.clock.jiffies < end:
                call(kernel, "yield")
            done.append(True)
            return 0

        kernel.kthreads.run("fifo", fifo)
        kernel.run(2)
        assert done
