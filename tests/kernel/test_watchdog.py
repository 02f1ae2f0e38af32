"""Code that does not give up the CPU: time slices and the soft lockup detector (kernel/watchdog.c)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.attacks import attempt
from tests.kernel.conftest import layouts
from tests.kernel.tasks import call, start
from tests.machine.btfwriter import small_kernel
from tests.machine.imagewriter import many_symbols, vmlinux

from ukmod.errors import KernelPanic, PatienceError, UkmodError
from ukmod.kernel import watchdog
from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import SLICE_CALLS, SLICE_NS, Task, cond_resched, sched_yield
from ukmod.kernel.time.clock import NSEC_PER_SEC


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

    def test_no_interrupt_comes_while_they_are_disabled(self, kernel: Core) -> None:
        fired: list[int] = []
        seen: list[bool] = []

        def body() -> None:
            kernel.clock.at(kernel.clock.now, lambda: fired.append(1))
            with kernel.cpu.interrupts_off():
                watchdog.used_up(kernel, None)
                seen.append(bool(fired))
            watchdog.used_up(kernel, None)
            seen.append(bool(fired))

        start(kernel, "hog", body)
        kernel.run(1)
        assert seen == [False, True]


def used_up(k: Core, slices: int) -> Task:
    """A task that uses up so many slices at once."""
    task = start(k, "hog", lambda: watchdog.used_up(k, None, slices))
    k.run(100)
    return task


def resched_after(k: Core, slices: int, *, times: int) -> Task:
    """A task that uses up so many slices, so many times, and calls cond_resched() each time."""

    def body() -> None:
        for _ in range(times):
            watchdog.used_up(k, None, slices)
            cond_resched(k)

    task = start(k, "hog", body)
    k.run(10_000)
    return task


class TestSoftLockup:
    """watchdog_timer_fn(): after 2 * watchdog_thresh seconds, 20, and the timer that comes next, 22."""

    def test_a_task_that_runs_for_22_seconds_is_reported_and_continues(self, kernel: Core) -> None:
        task = used_up(kernel, watchdog.LOCKUP_SLICES)
        log = kernel.log.dmesg()
        assert f"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [hog:{task.pid}]" in log
        assert (task.exited, task.exit_code) == (True, 0)
        assert kernel.taint.has("L")
        assert [w.message for w in kernel.warnings] == ["soft lockup in hog"]

    def test_a_long_computation_is_reported_every_22_seconds(self, kernel: Core) -> None:
        task = start(kernel, "hog", lambda: [watchdog.used_up(kernel, None, 10) for _ in range(240)])
        kernel.run(100)
        assert task.exited
        assert re.findall("stuck for ([0-9]+s)", kernel.log.dmesg()) == ["22s", "44s"]

    def test_a_task_that_calls_cond_resched_is_not_locked_up(self, kernel: Core) -> None:
        """There the watchdog's own thread gets its turn: test_bpf runs for a minute so."""
        task = resched_after(kernel, watchdog.LOCKUP_SLICES - 1, times=100)
        assert task.exited
        assert not kernel.warnings

    def test_the_report_is_dated_after_those_seconds(self, kernel: Core) -> None:
        used_up(kernel, watchdog.LOCKUP_SLICES)
        (line,) = (line for line in kernel.log.dmesg().splitlines() if "soft lockup" in line)
        assert 21.9 <= float(line[1 : line.index("]")]) <= 22.1

    def test_a_moment_less_is_nothing(self, kernel: Core) -> None:
        used_up(kernel, watchdog.LOCKUP_SLICES - 1)
        assert not kernel.warnings

    def test_a_computation_that_takes_long_on_the_host_is_none(self, kernel: Core) -> None:
        """Calls that do much: ten thousand of them are a slice, and last for minutes on the host."""

        def body() -> None:
            for _ in range(3):
                kernel.cpu.watchdog.spent += 20
                kernel.cpu.watchdog.attention = True
                watchdog.used_up(kernel, None)

        task = start(kernel, "hog", body)
        kernel.run(1)
        assert not kernel.warnings
        log = kernel.log.dmesg()
        assert log.count(f"[hog:{task.pid}]") == 3
        assert f"watchdog: lockup suspected - 40 s of CPU time for 0.1 s [hog:{task.pid}]" in log

    def test_the_machine_stops_on_time_although_a_task_does_not_sleep(self, kernel: Core) -> None:
        task = start(kernel, "hog", lambda: [watchdog.used_up(kernel, None) for _ in range(400)])
        kernel.run(5)
        assert 5 <= kernel.clock.now / NSEC_PER_SEC < 5.2
        assert not task.exited
        kernel.run(6)
        assert task.exited

    def test_an_interrupt_of_ten_seconds_is_the_end_of_the_machine(self, kernel: Core) -> None:
        """Nothing can interrupt that but the NMI watchdog: a hard lockup."""
        slices = watchdog.HARD_LOCKUP_SLICES
        kernel.clock.at(kernel.clock.now + 1, lambda: watchdog.used_up(kernel, None, slices - 1))
        kernel.run(20)
        kernel.clock.at(kernel.clock.now + 1, lambda: watchdog.used_up(kernel, None, slices))
        with pytest.raises(KernelPanic, match="Hard LOCKUP"):
            kernel.run(20)

    def test_a_wait_that_cannot_end_is_reported_and_ends_the_task(self, kernel: Core) -> None:
        task = start(kernel, "waiter", lambda: watchdog.deadlock(kernel))
        ran: list[int] = []
        start(kernel, "other", lambda: ran.append(1))
        kernel.run(1)
        assert (task.exited, task.exit_code, ran) == (True, 9, [1])
        assert [w.message for w in kernel.warnings] == ["soft lockup in waiter"]


class TestProgress:
    @pytest.mark.parametrize(("seconds", "what"), [(1, "lockup suspected"), (10, "still running")])
    def test_a_long_call_says_which_task_ran_last(
        self, kernel: Core, monkeypatch: pytest.MonkeyPatch, seconds: int, what: str
    ) -> None:
        task = start(kernel, "busy", lambda: None)
        kernel.run(seconds)
        monkeypatch.setattr(kernel.cpu.watchdog, "spent", 20.0)
        watchdog.progress(kernel)
        line = f"watchdog: {what} - 20 s of CPU time for {seconds}.0 s [{kernel.tasks.comm(task)}:{task.pid}]"
        assert kernel.log.dmesg().rstrip().endswith(line)

    def test_a_task_that_waits_in_a_modules_code_is_named_with_the_function(self) -> None:
        """Workers and helpers run meanwhile, and know nothing of the module that keeps them busy."""
        with Kernel(types=layouts()) as k:
            k.insmod(attempt.DIRECTORY / "floods.ko")
            k.patience = 1  # more than a loaded machine needs until the module runs
            with pytest.raises(PatienceError, match=r"was in requests_not_waited_for\+0x.* \[floods\]"):
                k.call(k.address("floods:requests_not_waited_for"), "", None)


class TestPatience:
    def test_a_kernel_function_that_never_returns_ends_with_the_callers_patience(self, kernel: Core) -> None:
        kernel.patience = 0.1

        def forever() -> None:
            while True:
                pass

        start(kernel, "stuck", forever)
        with pytest.raises(PatienceError, match=r"stuck:\d+ was in"):
            kernel.run(1)
        assert "watchdog: BUG: lockup suspected" in kernel.log.dmesg()
        with pytest.raises(PatienceError):
            kernel.run(1)

    def test_tasks_that_only_wake_each_other_end_with_the_callers_patience(self, kernel: Core) -> None:
        kernel.patience = 0.1
        for _ in range(2):
            start(kernel, "yields", lambda: [sched_yield(kernel) for _ in range(1 << 40)])
        with pytest.raises(PatienceError, match="yields"):
            kernel.sched.run(lambda: False)

    def test_each_call_of_the_machine_has_it_anew(self, kernel: Core) -> None:
        kernel.patience = 0.5
        for _ in range(3):
            start(kernel, "busy", lambda: [poll(kernel, lambda: False, calls=1000) for _ in range(50)])
            kernel.run(1)

    def test_nested_in_one_limit_they_share_it(self, kernel: Core) -> None:
        def busy() -> None:
            for _ in range(1000):
                start(kernel, "busy", lambda: poll(kernel, lambda: False, calls=1000))
                kernel.run(1)

        with kernel.cpu.watchdog.at_most(0.2), pytest.raises(PatienceError):
            busy()


def test_a_machine_that_cannot_be_made_leaves_no_thread(tmp_path: Path) -> None:
    """The thread would keep the machine, and the gigabytes of address space that its engine reserves."""
    path = tmp_path / "vmlinux"
    path.write_bytes(vmlinux(btf=small_kernel().data(), symbols=many_symbols(1100)))
    before = threading.active_count()
    with Kernel(image=path) as k, pytest.raises(UkmodError):
        k.boot()
    assert threading.active_count() == before
