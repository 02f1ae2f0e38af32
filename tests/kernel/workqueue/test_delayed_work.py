"""Delayed work, and work after an RCU grace period: struct delayed_work, struct rcu_work."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, start
from tests.kernel.workqueue.works import CPU, Works

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import list_add_tail


class TestDelay:
    def test_work_is_queued_when_its_delay_is_over(self, kernel: Core, works: Works) -> None:
        seen: list[int] = []
        dwork = works.delayed("a", lambda: seen.append(kernel.clock.jiffies))
        begin: list[int] = []

        def body() -> None:
            begin.append(kernel.clock.jiffies)
            assert works.delay(dwork, 7)
            assert works.pending(dwork), "INIT_DELAYED_WORK()'s work is its first member"
            assert not works.delay(dwork, 1), "it is pending"

        in_task(kernel, body)
        kernel.run(0.1)
        assert [now - begin[0] for now in seen] == [7]

    def test_modifying_the_delay_counts_from_now_and_tells_whether_it_was_pending(
        self, kernel: Core, works: Works
    ) -> None:
        seen: list[int] = []
        dwork = works.delayed("a", lambda: seen.append(kernel.clock.jiffies))
        begin: list[int] = []
        results: list[int] = []

        def body() -> None:
            begin.append(kernel.clock.jiffies)
            results.extend(
                works.call("mod_delayed_work_on", CPU, works.events, dwork, delay) for delay in (100, 3)
            )

        in_task(kernel, body)
        kernel.run(1)
        assert results == [0, 1]
        assert [now - begin[0] for now in seen] == [3]

    def test_a_delay_of_zero_queues_at_once(self, kernel: Core, works: Works) -> None:
        dwork = works.delayed("a")
        before = kernel.clock.jiffies
        in_task(kernel, lambda: (works.delay(dwork, 0), works.call("flush_work", dwork)))
        assert works.ran == ["a"]
        assert kernel.clock.jiffies == before

    def test_flushing_does_not_wait_for_the_delay(self, kernel: Core, works: Works) -> None:
        dwork, results = works.delayed("a", lambda: (works.sleep(5), works.ran.append("a ends"))), []
        before = kernel.clock.jiffies
        in_task(
            kernel,
            lambda: (
                works.delay(dwork, 1000),
                results.append(works.call("flush_delayed_work", dwork)),
                results.append(works.call("flush_delayed_work", dwork)),
            ),
        )
        assert works.ran == ["a", "a ends"]
        assert results == [1, 0]
        assert kernel.clock.jiffies < before + 1000


class TestCancelling:
    @pytest.mark.parametrize("name", ["cancel_delayed_work", "cancel_delayed_work_sync"])
    @pytest.mark.parametrize("delay", [0, 5])
    def test_cancelled_work_never_runs(self, kernel: Core, works: Works, name: str, delay: int) -> None:
        dwork, results = works.delayed("a"), []
        in_task(
            kernel,
            lambda: (
                results.append(works.call(name, dwork)),
                works.delay(dwork, delay),
                results.append(works.call(name, dwork)),
            ),
        )
        kernel.run(1)
        assert results == [0, 1]
        assert works.ran == []

    def test_cancelling_without_waiting_leaves_the_function_running(self, kernel: Core, works: Works) -> None:
        dwork = works.delayed("a", lambda: (works.sleep(10), works.ran.append("a ends")))

        def body() -> None:
            works.delay(dwork, 1)
            works.sleep(5)
            works.call("cancel_delayed_work", dwork)
            works.ran.append("cancelled")
            works.call("cancel_delayed_work_sync", dwork)
            works.ran.append("cancelled and over")

        in_task(kernel, body)
        assert works.ran == ["a", "cancelled", "a ends", "cancelled and over"]


class TestMisuse:
    """__queue_delayed_work() warns of what INIT_DELAYED_WORK() would have set up."""

    @pytest.mark.parametrize(
        ("fault", "line"), [("function", 1657), ("pending timer", 1658), ("on a list", 1659)]
    )
    def test_a_delayed_work_that_was_not_initialised_is_warned_of(
        self, kernel: Core, works: Works, fault: str, line: int
    ) -> None:
        dwork = works.delayed("a")
        timer = dwork + kernel.types.offset("delayed_work", "timer")
        if fault == "function":
            ignored = works.guest.python(lambda _: 0, 1)
            kernel.memory.set_u64(timer + kernel.types.offset("timer_list", "function"), ignored)
        if fault == "on a list":
            other = works.work("other") + kernel.workqueues.layout.entry
            list_add_tail(kernel.memory, dwork + kernel.workqueues.layout.entry, other)

        def body() -> None:
            if fault == "pending timer":
                call(kernel, "mod_timer", timer, kernel.clock.jiffies + 50)
            works.delay(dwork, 2)

        in_task(kernel, body)
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/workqueue.c", line)]


class TestRcuWork:
    """queue_rcu_work(): call_rcu(), and then a work item, which may sleep."""

    @pytest.fixture
    def rwork(self, guest: Guest, works: Works) -> int:
        """A struct rcu_work, as INIT_RCU_WORK() leaves it."""
        size = guest.kernel.types.sizeof("rcu_work")
        at = guest.put(bytes(size), size)
        return works.init(at + guest.kernel.types.offset("rcu_work", "work"), "a")

    def test_work_runs_after_the_readers_that_are_there(self, kernel: Core, works: Works, rwork: int) -> None:
        results: list[int] = []

        def reader() -> None:
            call(kernel, "__rcu_read_lock")
            results.extend(works.call("queue_rcu_work", works.events, rwork) for _ in range(2))
            works.sleep(50)
            works.ran.append("left")
            call(kernel, "__rcu_read_unlock")

        in_task(kernel, reader)
        kernel.run(1)
        assert results == [1, 0], "the second time it is pending"
        assert works.ran == ["left", "a"]

    def test_flushing_waits_for_the_grace_period_and_for_the_function(
        self, kernel: Core, works: Works, rwork: int
    ) -> None:
        results: list[int] = []

        def body() -> None:
            results.append(works.call("flush_rcu_work", rwork))
            works.call("queue_rcu_work", works.events, rwork)
            results.append(works.call("flush_rcu_work", rwork))
            works.ran.append("flushed")

        in_task(kernel, body)
        assert results == [0, 1]
        assert works.ran == ["a", "flushed"]
        assert not kernel.warnings

    def test_flushing_running_work_waits_for_it(self, kernel: Core, works: Works, rwork: int) -> None:
        work = rwork
        works.init(work, "slow", lambda: (works.sleep(10), works.ran.append("slow ends")))
        start(kernel, "t", lambda: works.call("queue_rcu_work", works.events, rwork))
        kernel.run(0.03)
        assert works.ran == ["slow"]
        in_task(kernel, lambda: works.ran.append(f"flushed {works.call('flush_rcu_work', rwork)}"))
        assert works.ran == ["slow", "slow ends", "flushed 1"]
