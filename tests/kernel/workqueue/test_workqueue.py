"""Workqueues for kernel code in Python; tests/golden has what modules see of them (work_*)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kernel.conftest import Guest, layouts
from tests.kernel.tasks import call, in_task

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.preempt_count import SOFTIRQ_OFFSET
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block
from ukmod.kernel.workqueue.work import GuestWork, Work
from ukmod.kernel.workqueue.workqueue import WQ_FREEZABLE, WQ_HIGHPRI, WQ_NAME_LEN, WQ_UNBOUND
from ukmod.machine.memory import Fault


def guest_work(k: Core, function: Callable[[], object]) -> GuestWork:
    """A struct work_struct as INIT_WORK() leaves it."""
    address = k.slab.kmalloc(k.types.sizeof("work_struct"))
    layout = k.workqueues.layout

    def handler(_: memoryview) -> int:
        function()
        return 0

    k.memory.set_u64(address + layout.data, 0xFFFF_FFFE_0000_0000)
    init_list_head(k.memory, address + layout.entry)
    k.memory.set_u64(address + layout.func, k.cpu.stubs.add_function(handler))
    return GuestWork(k, address)


def comm(k: Core) -> str:
    return k.tasks.comm(k.sched.task())


def test_one_worker_does_all_that_does_not_sleep(kernel: Core) -> None:
    seen: list[tuple[int, str]] = []
    queues = kernel.workqueues
    events = queues.events

    def body() -> None:
        for n in range(3):
            queues.queue(events, lambda n=n: seen.append((n, comm(kernel))))
        queues.flush_all(events)

    in_task(kernel, body)
    assert seen == [(n, "kworker/0:0") for n in range(3)]


def test_another_worker_goes_on_when_one_sleeps(kernel: Core) -> None:
    seen: list[str] = []
    queues = kernel.workqueues
    events = queues.events

    def body() -> None:
        for n in range(3):

            def job(n: int = n) -> None:
                seen.append(f"{n} {comm(kernel)}")
                block(kernel, TASK_UNINTERRUPTIBLE, 10 - n)
                seen.append(f"{n} ends")

            queues.queue(events, job)
        queues.flush_all(events)

    in_task(kernel, body)
    assert seen == [
        "0 kworker/0:0", "1 kworker/0:1", "2 kworker/0:2", "2 ends", "1 ends", "0 ends",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "name"),
    [(0, "kworker/0:0"), (WQ_UNBOUND, "kworker/u2:0"), (1 << 4, "kworker/0:0H")],
)
def test_workers_have_the_kernels_names(kernel: Core, flags: int, name: str) -> None:
    seen: list[str] = []
    queues = kernel.workqueues
    wq = queues.alloc("q", flags, 1)
    in_task(kernel, lambda: (queues.queue(wq, lambda: seen.append(comm(kernel))), queues.destroy(wq)))
    assert seen == [name]


def test_pending_work_is_not_queued_again_but_running_work_is(kernel: Core) -> None:
    queues, results = kernel.workqueues, []
    wq = queues.events
    work = guest_work(kernel, lambda: None)

    def body() -> None:
        results.append(call(kernel, "queue_work_on", 0, wq.address, work.address))
        results.append(work.pending)
        results.append(call(kernel, "queue_work_on", 0, wq.address, work.address))
        queues.flush(work)
        results.append(work.pending)

    in_task(kernel, body)
    assert results == [1, True, 0, False]


def test_work_that_queues_itself_is_not_run_twice_at_once(kernel: Core) -> None:
    queues, events = kernel.workqueues, []
    wq = queues.alloc("many", WQ_UNBOUND, 8)

    def run() -> None:
        events.append("begins")
        if events.count("begins") < 3:
            assert queues.queue(wq, work)
        block(kernel, TASK_UNINTERRUPTIBLE, 2)
        events.append("ends")

    work = Work(run)
    in_task(kernel, lambda: (queues.queue(wq, work), queues.destroy(wq)))
    assert events == ["begins", "ends"] * 3


def test_cancel_sync_stops_work_that_queues_itself(kernel: Core) -> None:
    queues, count = kernel.workqueues, [0]
    wq = queues.alloc("loop", 0, 1)

    def run() -> None:
        count[0] += 1
        block(kernel, TASK_UNINTERRUPTIBLE, 2)
        queues.queue(wq, work)

    work = Work(run)

    def body() -> None:
        queues.queue(wq, work)
        block(kernel, TASK_UNINTERRUPTIBLE, 7)
        queues.cancel_sync(work)

    in_task(kernel, body)
    ran = count[0]
    kernel.run(1)
    assert ran > 1
    assert count[0] == ran
    assert not work.pending


def test_a_destroyed_queue_is_gone(kernel: Core) -> None:
    wq = kernel.workqueues.alloc("gone", 0, 0)
    in_task(kernel, lambda: kernel.workqueues.destroy(wq))
    with pytest.raises(Fault):
        kernel.workqueues.at(wq.address)
    with pytest.raises(Fault):
        kernel.memory.u64(wq.address)


def test_max_active_out_of_range_is_clamped(kernel: Core) -> None:
    assert kernel.workqueues.alloc("big", 0, 5000).max_active == 512
    line = "workqueue: max_active 5000 requested for big is out of range, clamping between 1 and 512"
    assert line in kernel.log.lines


def test_work_that_leaves_a_lock_held_is_reported(kernel: Core) -> None:
    queues = kernel.workqueues
    wq = queues.events

    def leak() -> None:
        kernel.percpu.add_preempt(1)

    in_task(kernel, lambda: (queues.queue(wq, Work(leak, "leak")), block(kernel, TASK_UNINTERRUPTIBLE, 5)))
    text = "\n".join(kernel.log.lines)
    assert "BUG: workqueue leaked lock or atomic: kworker/0:0/0x00000001/" in text
    assert "     last function: leak" in text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    jobs=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    max_active=st.integers(1, 4),
    seed=st.none() | st.integers(0, 9),
)
def test_never_more_than_max_active_and_all_are_done(
    jobs: list[int], max_active: int, seed: int | None
) -> None:
    active, most, begun = 0, 0, []
    with Core(layouts(), seed=seed, memory=1 << 26) as k:
        wq = k.workqueues.alloc("q", WQ_UNBOUND, max_active)

        def body() -> None:
            for n, ticks in enumerate(jobs):

                def job(n: int = n, ticks: int = ticks) -> None:
                    nonlocal active, most
                    active += 1
                    most = max(most, active)
                    begun.append(n)
                    if ticks:
                        block(k, TASK_UNINTERRUPTIBLE, ticks)
                    active -= 1

                k.workqueues.queue(wq, job)
            k.workqueues.destroy(wq)

        in_task(k, body)
    assert most <= max_active
    assert begun == list(range(len(jobs))), "work begins in the order it was queued"
    assert active == 0


@pytest.mark.parametrize("function", ["alloc_workqueue", "alloc_workqueue_noprof", "__alloc_workqueue"])
def test_a_workqueue_has_a_formatted_name_that_is_cut_where_it_is_too_long(
    kernel: Core, guest: Guest, function: str
) -> None:
    """__alloc_workqueue(), since v6.11, has the arguments of the format in a va_list."""
    for text, name in ((b"disk", "disk-7"), (b"x" * 40, "x" * (WQ_NAME_LEN - 1))):
        words = (guest.put(text), 7)
        arguments = (guest.va_list(*words),) if function == "__alloc_workqueue" else words
        at = guest.pointer(function, b"%s-%d", WQ_UNBOUND, 3, *arguments)
        queue = kernel.workqueues.at(at)
        assert (queue.name, queue.flags & WQ_UNBOUND, queue.max_active) == (name, WQ_UNBOUND, 3)


def test_a_freezable_queue_starts_no_work_while_it_is_frozen(kernel: Core) -> None:
    queues, seen = kernel.workqueues, []
    freezable, plain = queues.alloc("freezable", WQ_FREEZABLE), queues.alloc("plain", 0)

    def long() -> None:
        block(kernel, TASK_UNINTERRUPTIBLE, 10)
        seen.append("begun before")

    def body() -> None:
        queues.queue(freezable, long)
        block(kernel, TASK_UNINTERRUPTIBLE, 1)
        queues.freeze_begin()
        for wq in (freezable, plain):
            queues.queue(wq, lambda wq=wq: seen.append(wq.name))
        queues.flush_all(plain)
        assert queues.freeze_busy(), "what has begun is not stopped"
        block(kernel, TASK_UNINTERRUPTIBLE, 20)
        assert not queues.freeze_busy()
        assert seen == ["plain", "begun before"]
        queues.thaw()
        queues.flush_all(freezable)

    in_task(kernel, body)
    assert seen == ["plain", "begun before", "freezable"]


def test_freezing_twice_or_asking_without_is_warned_about(kernel: Core) -> None:
    def body() -> None:
        kernel.workqueues.freeze_busy()
        kernel.workqueues.freeze_begin()
        kernel.workqueues.freeze_begin()
        kernel.workqueues.thaw()
        kernel.workqueues.thaw()

    in_task(kernel, body)
    assert [warning.line for warning in kernel.warnings] == [
        5295,
        5261,
    ]


@pytest.fixture
def bh(kernel: Core) -> Core:
    """A kernel that has WQ_BH, as those since v6.9."""
    kernel.workqueues._bh_flag = 1
    return kernel


@pytest.mark.parametrize("flags", [1, 1 | WQ_HIGHPRI])
def test_a_bh_queue_runs_any_number_of_works_in_softirq_context(bh: Core, flags: int) -> None:
    queues, seen = bh.workqueues, []
    wq = queues.alloc("bh", flags)

    def work(n: int) -> None:
        seen.append((n, comm(bh), bool(bh.percpu.preempt_count() & SOFTIRQ_OFFSET)))

    def body() -> None:
        works = [Work(partial(work, n)) for n in range(25)]
        for one in works:
            queues.queue(wq, one)
        assert queues.cancel(works[3])
        queues.flush_all(wq)
        queues.destroy(wq)

    in_task(bh, body)
    assert seen == [(n, "ksoftirqd/0", True) for n in range(25) if n != 3]


def test_work_of_a_bh_queue_is_running_while_it_runs(bh: Core) -> None:
    queues, found = bh.workqueues, []
    wq = queues.alloc("bh", 1)
    work = Work(lambda: found.append(queues.running(work)))
    in_task(bh, lambda: (queues.queue(wq, work), queues.flush(work)))
    assert [one is not None and one.work is work for one in found] == [True]
    assert queues.running(work) is None


@pytest.mark.parametrize(
    ("flags", "max_active", "line"), [(1 | WQ_UNBOUND, 0, 5718), (1, 1, 5720), (1 | WQ_HIGHPRI, 0, None)]
)
def test_a_bh_queue_has_no_other_flags_and_no_limit(
    bh: Core, guest: Guest, flags: int, max_active: int, line: int | None
) -> None:
    made = guest.call("alloc_workqueue", b"bh", flags, max_active)
    assert (made == 0) is (line is not None)
    assert [warning.line for warning in bh.warnings] == [line] * (line is not None)
