"""Work items: queueing, cancelling, flushing; kernel/workqueue.c, Documentation/core-api/workqueue.rst."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.machine_code import UD2, Code
from tests.kernel.tasks import in_task, start
from tests.kernel.workqueue.works import Works

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import PF_MEMALLOC
from ukmod.kernel.softirq import TIMER_SOFTIRQ
from ukmod.kernel.workqueue.api import WORK_BUSY_PENDING, WORK_BUSY_RUNNING
from ukmod.kernel.workqueue.workqueue import (
    WQ_LEGACY,
    WQ_MEM_RECLAIM,
    WQ_ORDERED,
    WQ_ORDERED_EXPLICIT,
    WQ_UNBOUND,
)

IDLE = 0


class TestQueueing:
    def test_queue_work_node_queues_what_is_not_pending(self, kernel: Core, works: Works) -> None:
        work, wq = works.work("a"), works.wq(flags=WQ_UNBOUND)
        results: list[int] = []

        def body() -> None:
            results.extend(works.call("queue_work_node", 0, wq, work) for _ in range(2))
            assert works.pending(work)
            works.call("flush_work", work)

        in_task(kernel, body)
        assert results == [1, 0]
        assert works.ran == ["a"]
        assert not kernel.warnings

    def test_queue_work_node_warns_once_of_a_queue_that_is_bound_to_a_cpu(
        self, kernel: Core, works: Works
    ) -> None:
        wq = works.wq()
        in_task(kernel, lambda: [works.call("queue_work_node", 0, wq, works.work(name)) for name in "ab"])
        kernel.run(0.1)
        assert works.ran == ["a", "b"]
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/workqueue.c", 1625)]

    def test_work_may_be_queued_from_an_interrupt(self, kernel: Core, works: Works) -> None:
        work = works.work("a")
        kernel.softirqs.raise_(TIMER_SOFTIRQ, lambda: works.queue(work))
        kernel.run(0.1)
        assert works.ran == ["a"]

    @pytest.mark.parametrize(
        "name", ["__init_work", "destroy_work_on_stack", "destroy_delayed_work_on_stack"]
    )
    def test_what_debug_objects_are_told_does_not_change_the_work(
        self, kernel: Core, guest: Guest, works: Works, name: str
    ) -> None:
        work = works.work("a")
        before = kernel.memory.read(work, kernel.types.sizeof("work_struct"))
        guest.call(name, work, 1)
        assert kernel.memory.read(work, len(before)) == before


class TestBusy:
    def test_work_is_pending_then_running_then_idle(self, kernel: Core, works: Works) -> None:
        seen: list[int] = []
        work = works.work("a", lambda: seen.append(works.call("work_busy", work)))

        def body() -> None:
            seen.append(works.call("work_busy", work))
            works.queue(work)
            seen.append(works.call("work_busy", work))
            works.call("flush_work", work)
            seen.append(works.call("work_busy", work))

        in_task(kernel, body)
        assert seen == [IDLE, WORK_BUSY_PENDING, WORK_BUSY_RUNNING, IDLE]

    def test_running_work_that_is_queued_again_is_both(self, kernel: Core, works: Works) -> None:
        seen: list[int] = []

        def again() -> None:
            if not seen:
                works.queue(work)
                seen.append(works.call("work_busy", work))

        work = works.work("a", again)
        in_task(kernel, lambda: (works.queue(work), works.sleep(2)))
        assert seen == [WORK_BUSY_PENDING | WORK_BUSY_RUNNING]
        assert works.ran == ["a", "a"]

    def test_current_work_is_the_one_that_runs(self, kernel: Core, works: Works) -> None:
        seen: list[int] = []

        def current() -> int:
            return kernel.cpu.call(kernel.symbols.address("current_work"))

        work = works.work("a", lambda: seen.append(current()))
        in_task(kernel, lambda: (works.queue(work), works.call("flush_work", work), seen.append(current())))
        assert seen == [work, 0], "NULL outside of a worker"

    def test_an_interrupt_that_comes_while_work_runs_has_no_current_work(
        self, kernel: Core, works: Works
    ) -> None:
        seen: list[int] = []

        def body() -> None:
            kernel.interrupt(lambda: seen.append(works.call("current_work")))

        in_task(kernel, lambda: (works.queue(work := works.work("a", body)), works.call("flush_work", work)))
        assert seen == [0]


class TestCancelling:
    """cancel_work() does not wait; cancel_work_sync() does."""

    @pytest.mark.parametrize("name", ["cancel_work", "cancel_work_sync"])
    def test_cancelled_work_does_not_run(self, kernel: Core, works: Works, name: str) -> None:
        work, results = works.work("a"), []

        def body() -> None:
            results.append(works.call(name, work))
            works.queue(work)
            results.append(works.call(name, work))
            results.append(works.pending(work))

        in_task(kernel, body)
        kernel.run(0.1)
        assert results == [0, 1, False], "it tells whether the work was pending"
        assert works.ran == []

    @pytest.mark.parametrize(
        ("name", "order"),
        [
            ("cancel_work", ["a", "cancelled", "a ends"]),
            ("cancel_work_sync", ["a", "a ends", "cancelled"]),
        ],
    )
    def test_only_the_synchronous_form_waits_for_a_running_function(
        self, kernel: Core, works: Works, name: str, order: list[str]
    ) -> None:
        work = works.sleeper("a")

        def body() -> None:
            works.queue(work)
            works.sleep(2)
            assert not works.call(name, work)
            works.ran.append("cancelled")
            works.sleep(20)

        in_task(kernel, body)
        assert works.ran == order

    def test_cancelled_work_can_be_queued_again(self, kernel: Core, works: Works) -> None:
        work = works.work("a")
        in_task(kernel, lambda: (works.queue(work), works.call("cancel_work", work), works.queue(work)))
        kernel.run(0.1)
        assert works.ran == ["a"]

    def test_cancelling_a_waiting_work_lets_the_one_behind_it_run(self, kernel: Core, works: Works) -> None:
        wq = works.wq(max_active=1)
        first, second, third = works.sleeper("first"), works.work("second"), works.work("third")

        def body() -> None:
            for work in (first, second, third):
                works.queue(work, wq)
            works.call("cancel_work", second)
            works.call("flush_workqueue", wq)

        in_task(kernel, body)
        assert works.ran == ["first", "first ends", "third"]


class TestFlushing:
    def test_flushing_waits_for_all_that_was_queued_and_for_nothing_later(
        self, kernel: Core, works: Works
    ) -> None:
        wq = works.wq()
        again = works.work("again")
        first = works.work("first", lambda: works.queue(again, wq))

        def body() -> None:
            works.queue(works.sleeper("sleeper", 5), wq)
            works.queue(first, wq)
            works.call("flush_workqueue", wq)
            works.ran.append("flushed")

        in_task(kernel, body)
        order = works.ran.index
        assert order("sleeper ends") < order("flushed")
        assert order("first") < order("flushed")

    def test_flushing_one_queue_does_not_wait_for_another(self, kernel: Core, works: Works) -> None:
        busy, idle = works.wq(b"busy"), works.wq(b"idle")
        in_task(
            kernel,
            lambda: (
                works.queue(works.sleeper("a"), busy),
                works.call("flush_workqueue", idle),
                works.ran.append("flushed"),
            ),
        )
        assert "a ends" not in works.ran[: works.ran.index("flushed")]

    def test_draining_also_waits_for_work_that_the_queues_own_work_queues(
        self, kernel: Core, works: Works
    ) -> None:
        wq, left = works.wq(), [3]

        def again() -> None:
            left[0] -= 1
            if left[0]:
                works.queue(work, wq)

        work = works.work("a", again)
        in_task(
            kernel,
            lambda: (works.queue(work, wq), works.call("drain_workqueue", wq), works.ran.append("drained")),
        )
        assert works.ran == ["a", "a", "a", "drained"]
        assert not kernel.warnings

    def test_work_from_elsewhere_is_refused_while_a_queue_is_drained_and_stays_pending(
        self, kernel: Core, works: Works
    ) -> None:
        wq, late, results = works.wq(), works.work("late"), []
        in_task(kernel, lambda: works.queue(works.sleeper("a"), wq))
        start(kernel, "drain", lambda: works.call("drain_workqueue", wq))
        start(kernel, "late", lambda: results.append(works.queue(late, wq)))
        kernel.run(1)
        assert works.ran == ["a", "a ends"]
        assert results == [1]
        assert works.pending(late)
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/workqueue.c", 1441)]
        in_task(kernel, lambda: results.append(works.queue(works.work("later"), wq)))
        kernel.run(0.1)
        assert works.ran[-1] == "later", "the queue works again"

    def test_a_drain_that_makes_no_progress_is_reported(self, kernel: Core, works: Works) -> None:
        wq = works.wq(b"endless")
        work = works.work("a", lambda: (works.sleep(1), works.queue(work, wq)))
        start(kernel, "drain", lambda: (works.queue(work, wq), works.call("drain_workqueue", wq)))
        kernel.run(1)
        lines = [line for line in kernel.log.lines if "isn't complete" in line]
        assert lines[:2] == [
            f"workqueue endless: drain_workqueue() isn't complete after {tries} tries" for tries in (10, 100)
        ]

    def test_work_that_flushes_itself_waits_for_ever(self, kernel: Core, works: Works) -> None:
        work = works.work("a", lambda: (works.call("flush_work", work), works.ran.append("flushed")))
        start(kernel, "t", lambda: works.queue(work))
        kernel.run(100)
        assert works.ran == ["a"]

    @pytest.mark.parametrize("name", ["__flush_workqueue", "flush_work"])
    def test_flushing_without_a_guarantee_of_progress_from_reclaim_is_warned_of(
        self, kernel: Core, works: Works, name: str
    ) -> None:
        """check_flush_dependency(): the flusher's queue has a rescuer, the other may wait for memory."""
        reclaim, plain = works.wq(b"reclaim", WQ_MEM_RECLAIM), works.wq(b"plain")
        other = works.sleeper("other", 3)
        target = plain if name == "__flush_workqueue" else other
        work = works.work("a", lambda: works.call(name, target))
        in_task(
            kernel,
            lambda: (works.queue(other, plain), works.queue(work, reclaim), works.call("flush_work", work)),
        )
        (warning,) = kernel.warnings
        assert warning.message.startswith("workqueue: WQ_MEM_RECLAIM reclaim:")
        assert "is flushing !WQ_MEM_RECLAIM plain:" in warning.message
        assert (warning.file, warning.line) == ("kernel/workqueue.c", 2635)

    @pytest.mark.parametrize(
        ("flusher", "flushed"),
        [
            (WQ_MEM_RECLAIM, WQ_MEM_RECLAIM),
            (WQ_MEM_RECLAIM | WQ_LEGACY, 0),
            (0, WQ_MEM_RECLAIM),
            (0, 0),
        ],
    )
    def test_flushing_from_other_queues_is_not(
        self, kernel: Core, works: Works, flusher: int, flushed: int
    ) -> None:
        source, target = works.wq(b"source", flusher), works.wq(b"target", flushed)
        work = works.work("a", lambda: works.call("__flush_workqueue", target))
        in_task(kernel, lambda: (works.queue(work, source), works.call("flush_work", work)))
        assert not kernel.warnings

    @pytest.mark.parametrize(
        ("flags", "expected"), [(WQ_MEM_RECLAIM, 1), (WQ_MEM_RECLAIM | WQ_LEGACY, 0), (0, 0)]
    )
    def test_a_worker_knows_whether_reclaim_relies_on_its_queue(
        self, kernel: Core, works: Works, flags: int, expected: int
    ) -> None:
        asked: list[int] = []

        def ask() -> None:
            asked.append(works.call("current_is_workqueue_mem_reclaim") & 0xFF)

        wq, work = works.wq(b"queue", flags), works.work("a", ask)
        in_task(kernel, lambda: (ask(), works.queue(work, wq), works.call("flush_work", work)))
        assert asked == [0, expected]

    def test_a_task_that_frees_memory_must_not_flush_such_a_queue(self, kernel: Core, works: Works) -> None:
        wq = works.wq(b"plain")

        def body() -> None:
            kernel.tasks.set_pf(kernel.sched.task(), PF_MEMALLOC)
            works.call("__flush_workqueue", wq)

        in_task(kernel, body)
        (warning,) = kernel.warnings
        assert "workqueue: PF_MEMALLOC task" in warning.message
        assert warning.message.endswith("(test) is flushing !WQ_MEM_RECLAIM plain:0x0")

    def test_cancelling_depends_on_nothing_that_is_queued(self, kernel: Core, works: Works) -> None:
        reclaim, other = works.wq(b"reclaim", WQ_MEM_RECLAIM), works.sleeper("other")
        work = works.work("a", lambda: works.call("cancel_work_sync", other))
        in_task(
            kernel,
            lambda: (
                works.queue(other),
                works.sleep(2),
                works.queue(work, reclaim),
                works.call("flush_work", work),
            ),
        )
        assert works.ran == ["other", "a", "other ends"]
        assert not kernel.warnings

    def test_flushing_a_system_workqueue_is_only_the_compilers_business(
        self, kernel: Core, guest: Guest
    ) -> None:
        """v6.1; the compiler warns: "Please avoid flushing system-wide workqueues."."""
        before = kernel.log.lines
        guest.call("__warn_flushing_systemwide_wq")
        assert kernel.log.lines == before


class TestMaxActive:
    def test_a_queue_is_congested_while_work_waits_for_a_place(self, kernel: Core, works: Works) -> None:
        wq, seen = works.wq(max_active=1), []

        def congested() -> int:
            return works.call("workqueue_congested", 0, wq)

        def body() -> None:
            for name in "ab":
                seen.append(congested())
                works.queue(works.sleeper(name), wq)
            seen.append(congested())
            works.call("flush_workqueue", wq)
            seen.append(congested())

        in_task(kernel, body)
        assert seen == [0, 0, 1, 0]

    def test_raising_max_active_starts_what_waits(self, kernel: Core, works: Works) -> None:
        wq = works.wq(flags=WQ_UNBOUND, max_active=1)

        def body() -> None:
            for name in "abc":
                works.queue(works.sleeper(name), wq)
            works.sleep(2)
            assert works.ran == ["a"]
            works.call("workqueue_set_max_active", wq, 2)
            works.sleep(2)

        in_task(kernel, body)
        assert works.ran == ["a", "b"]

    def test_max_active_out_of_range_is_clamped(self, kernel: Core, guest: Guest, works: Works) -> None:
        wq = works.wq(b"big")
        guest.call("workqueue_set_max_active", wq, 513)
        assert kernel.workqueues.at(wq).max_active == 512
        line = "workqueue: max_active 513 requested for big is out of range, clamping between 1 and 512"
        assert line in kernel.log.lines

    def test_an_ordered_queue_stays_ordered(self, kernel: Core, guest: Guest, works: Works) -> None:
        """alloc_ordered_workqueue()."""
        wq = works.wq(b"ordered", WQ_UNBOUND | WQ_ORDERED | WQ_ORDERED_EXPLICIT, 1)
        guest.call("workqueue_set_max_active", wq, 8)
        assert kernel.workqueues.at(wq).max_active == 1
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/workqueue.c", 4517)]


def reported(k: Core) -> str:
    """The only line "Workqueue: ..." of the log."""
    (line,) = (line for line in k.log.lines if line.startswith("Workqueue: "))
    return line


class TestReports:
    """print_worker_info(): what a worker was doing when it crashed."""

    def crash(self, kernel: Core, works: Works, *, describe: bytes = b"") -> tuple[str, str]:
        """The line "Workqueue: ..." of an oops in a work function, and the function's name."""
        code, text = Code(kernel), works.guest.put(describe)

        def body() -> None:
            if describe:
                works.call("set_worker_desc", text, 7)
            kernel.cpu.call(code.put(UD2))

        wq, work = works.wq(b"busy"), works.work("a", body)
        in_task(kernel, lambda: works.queue(work, wq))
        kernel.run(0.1)
        assert len(kernel.oopses) == 1
        return reported(kernel), works.function_name(work)

    def test_a_report_names_the_queue_and_the_function(self, kernel: Core, works: Works) -> None:
        line, function = self.crash(kernel, works)
        assert line == f"Workqueue: busy {function}"

    def test_a_description_is_added_in_parentheses(self, kernel: Core, works: Works) -> None:
        line, function = self.crash(kernel, works, describe=b"flush-8:%d")
        assert line == f"Workqueue: busy {function} (flush-8:7)"

    def test_a_description_is_the_next_works_no_more(self, kernel: Core, works: Works) -> None:
        text = works.guest.put(b"old")
        first = works.work("a", lambda: works.call("set_worker_desc", text))
        second = works.work("b", lambda: works.call("dump_stack"))
        in_task(kernel, lambda: (works.queue(first), works.queue(second)))
        kernel.run(0.1)
        assert reported(kernel) == f"Workqueue: events {works.function_name(second)}"

    def test_a_process_has_no_such_line(self, kernel: Core, guest: Guest) -> None:
        guest.call("set_worker_desc", b"not a worker")
        guest.call("dump_stack")
        assert not [line for line in kernel.log.lines if "Workqueue" in line]


class TestProcessContext:
    """execute_in_process_context(), and work_on_cpu() for what has to run elsewhere."""

    def test_in_a_process_the_function_is_called_at_once(
        self, kernel: Core, guest: Guest, works: Works
    ) -> None:
        at = guest.put(b"", 64)
        function = guest.python(lambda work: works.ran.append(hex(work)) or 0, 1)
        assert guest.call_int("execute_in_process_context", function, at) == 0
        assert works.ran == [hex(at)]

    def test_in_an_interrupt_a_worker_calls_it(self, kernel: Core, guest: Guest, works: Works) -> None:
        at, results = guest.put(b"\xff" * 64), []

        def note(work: int) -> int:
            assert work == at
            works.ran.append(kernel.tasks.comm(kernel.sched.task()))
            return 0

        function = guest.python(note, 1)
        kernel.clock.at(0, lambda: results.append(works.call("execute_in_process_context", function, at)))
        kernel.run(0.1)
        assert results == [1]
        assert works.ran == ["kworker/0:0"]

    @pytest.mark.parametrize(
        "name", ["work_on_cpu", "work_on_cpu_key", "work_on_cpu_safe", "work_on_cpu_safe_key"]
    )
    def test_work_on_cpu_returns_what_the_function_did_in_a_worker(
        self, kernel: Core, guest: Guest, name: str
    ) -> None:
        seen: list[tuple[int, str]] = []

        def function(argument: int) -> int:
            seen.append((argument, kernel.tasks.comm(kernel.sched.task())))
            return -5 & (1 << 64) - 1

        assert guest.call(name, 0, guest.python(function, 1), 0x1234, 0) == -5
        assert seen == [(0x1234, "kworker/0:0")]
