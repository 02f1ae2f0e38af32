"""Code that does not give up the CPU: time slices and the soft lockup detector (kernel/watchdog.c)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.tasks import call, start

from ukmod.errors import KernelPanic
from ukmod.kernel import watchdog
from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import SLICE_CALLS, SLICE_NS, Task, cond_resched


def poll(k: Core, done: Callable[[], bool], *, calls: int = 1000 * SLICE_CALLS) -> int:
    """A loop that waits for something, calls the kernel all the while, and does not sleep; how many calls."""
    count = 0
    while not done() and count < calls:
        call(k, "rcu_is_watching")
        count += 1
    return count


class TestSlices:
    def test_a_loop_that_polls_lets_time_pass(self, kernel: Core) -> None:
        fired: list[int] = []
        kernel.clock.at(kernel.clock.now + SLICE_NS // 2, lambda: fired.append(1))
        counts: list[int] = []
        start(kernel, "t", lambda: counts.append(poll(kernel, lambda: bool(fired))))
        kernel.run(1)
        assert fired
        assert counts[0] <= SLICE_CALLS + 1

    def test_slices_of_other_tasks_run_in_between(self, kernel: Core) -> None:
        """Preemption: the loop ends because another task does what it waits for."""
        done: list[int] = []
        start(kernel, "poller", lambda: poll(kernel, lambda: bool(done)))
        start(kernel, "other", lambda: done.append(1))
        kernel.run(1)
        assert done
        assert not kernel.warnings

    def test_no_other_task_runs_while_preemption_is_disabled(self, kernel: Core) -> None:
        done: list[int] = []
        seen: list[bool] = []

        def body() -> None:
            kernel.percpu.add_preempt(1)
            poll(kernel, lambda: bool(done), calls=3 * SLICE_CALLS)
            seen.append(bool(done))
            kernel.percpu.add_preempt(-1)

        start(kernel, "poller", body)
        start(kernel, "other", lambda: done.append(1))
        kernel.run(1)
        assert (seen, done) == ([False], [1])


def used_up(k: Core, slices: int) -> Task:
    """A task that uses up so many slices at once."""
    task = start(k, "hog", lambda: watchdog.used_up(k, None, slices))
    k.run(0.1)
    return task


def resched_after(k: Core, slices: int, *, times: int) -> Task:
    """A task that uses up so many slices, so many times, and calls cond_resched() each time."""

    def body() -> None:
        for _ in range(times):
            watchdog.used_up(k, None, slices)
            cond_resched(k)

    task = start(k, "hog", body)
    k.run(1000)
    return task


class TestSoftLockup:
    """watchdog_timer_fn(): after 2 * watchdog_thresh seconds, 20, and the timer that comes next, 22."""

    def test_a_task_that_runs_for_22_seconds_is_reported_and_ended(self, kernel: Core) -> None:
        task = used_up(kernel, watchdog.LOCKUP_SLICES)
        log = kernel.log.dmesg()
        assert f"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [hog:{task.pid}]" in log
        assert (task.exited, task.exit_code) == (True, 9)
        assert kernel.taint.has("L")
        assert [w.message for w in kernel.warnings] == ["soft lockup in hog"]

    def test_a_task_that_calls_cond_resched_is_not_locked_up(self, kernel: Core) -> None:
        """There the watchdog's own thread gets its turn: test_bpf runs for a minute so."""
        task = resched_after(kernel, watchdog.LOCKUP_SLICES - 1, times=3)
        assert task.exited
        assert not kernel.warnings

    def test_cond_resched_does_not_save_a_task_for_ever(self, kernel: Core) -> None:
        """The kernel would wait; here nobody can press a key."""
        resched_after(kernel, watchdog.LOCKUP_SLICES - 1, times=100)
        assert [w.message for w in kernel.warnings] == ["soft lockup in hog"]

    def test_the_report_is_dated_after_those_seconds(self, kernel: Core) -> None:
        used_up(kernel, watchdog.LOCKUP_SLICES)
        (line,) = (line for line in kernel.log.dmesg().splitlines() if "soft lockup" in line)
        assert 21.9 <= float(line[1 : line.index("]")]) <= 22.1

    def test_a_moment_less_is_nothing(self, kernel: Core) -> None:
        task = used_up(kernel, watchdog.LOCKUP_SLICES - 1)
        assert (task.exited, task.exit_code) == (True, 0)
        assert not kernel.warnings

    def test_the_others_go_on(self, kernel: Core) -> None:
        used_up(kernel, watchdog.LOCKUP_SLICES)
        ran: list[int] = []
        start(kernel, "other", lambda: ran.append(1))
        kernel.run(1)
        assert ran
        assert kernel.percpu.preempt_count() == 0

    def test_in_an_interrupt_it_is_the_end_of_the_machine(self, kernel: Core) -> None:
        """Nothing can interrupt that but the NMI watchdog: a hard lockup."""
        kernel.clock.at(kernel.clock.now + 1, lambda: watchdog.used_up(kernel, None))
        with pytest.raises(KernelPanic, match="Hard LOCKUP"):
            kernel.run(1)
