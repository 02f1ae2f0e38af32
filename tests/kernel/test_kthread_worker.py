"""Kthread workers: the second half of kernel/kthread.c."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block


class Worker:
    """A kthread worker, and works that are Python's."""

    def __init__(self, kernel: Core) -> None:
        self.k = kernel
        self.address = kernel.slab.kmalloc(kernel.types.sizeof("kthread_worker"))
        kernel.kthread_workers.init(self.address)
        self.task = kernel.kthreads.run("w", lambda: kernel.kthread_workers.run(self.address))
        kernel.run(0.01)

    def work(self, function: Callable[[], object]) -> int:
        k, layout = self.k, self.k.kthread_workers.work

        def handler(_: memoryview) -> int:
            function()
            return 0

        address = k.slab.kmalloc(k.types.sizeof("kthread_work"))
        init_list_head(k.memory, address + layout.node)
        k.memory.set_u64(address + layout.func, k.cpu.add_function(handler))
        return address

    def queue(self, work: int) -> int:
        return call(self.k, "kthread_queue_work", self.address, work) & 0xFF


@pytest.fixture
def worker(kernel: Core) -> Worker:
    return Worker(kernel)


def in_task(k: Core, body: Callable[[], object]) -> None:
    task = start(k, "test", body)
    k.run(1)
    assert task.exited


def test_works_are_done_in_turn_each_queued_once(kernel: Core, worker: Worker) -> None:
    seen: list[int] = []
    works = [worker.work(lambda n=n: seen.append(n)) for n in range(3)]
    queued: list[int] = []
    in_task(kernel, lambda: queued.extend(worker.queue(work) for work in (*works, works[0])))
    assert queued == [1, 1, 1, 0]
    assert seen == [0, 1, 2]


def test_flushing_waits_for_the_function_to_return(kernel: Core, worker: Worker) -> None:
    seen: list[str] = []
    work = worker.work(lambda: (block(kernel, TASK_UNINTERRUPTIBLE, 5), seen.append("done")))
    in_task(
        kernel, lambda: (worker.queue(work), call(kernel, "kthread_flush_work", work), seen.append("flushed"))
    )
    assert seen == ["done", "flushed"]


def test_cancelling_tells_whether_it_was_queued(kernel: Core, worker: Worker) -> None:
    seen: list[int] = []
    work = worker.work(lambda: seen.append(1))
    results: list[int] = []

    def body() -> None:
        results.append(call(kernel, "kthread_cancel_work_sync", work) & 0xFF)
        worker.queue(work)
        results.append(call(kernel, "kthread_cancel_work_sync", work) & 0xFF)
        results.append(call(kernel, "kthread_cancel_work_sync", work) & 0xFF)

    in_task(kernel, body)
    assert results == [0, 1, 0]
    assert not seen


def test_work_that_is_being_cancelled_cannot_be_queued(kernel: Core, worker: Worker) -> None:
    work = worker.work(lambda: block(kernel, TASK_UNINTERRUPTIBLE, 50))
    results: list[int] = []
    in_task(kernel, lambda: worker.queue(work))
    start(kernel, "q", lambda: worker.queue(work))
    kernel.run(0.01)
    start(kernel, "c", lambda: call(kernel, "kthread_cancel_work_sync", work))
    kernel.run(0.01)
    start(kernel, "q", lambda: results.append(worker.queue(work)))
    kernel.run(0.01)
    assert results == [0]
    kernel.run(1)
    start(kernel, "q", lambda: results.append(worker.queue(work)))
    kernel.run(0.01)
    assert results == [0, 1]


def delayed(worker: Worker, function: Callable[[], object]) -> int:
    """A struct kthread_delayed_work: KTHREAD_DELAYED_WORK_INIT()."""
    k, layout = worker.k, worker.k.kthread_workers
    work = worker.work(function)
    dwork = k.slab.kmalloc(k.types.sizeof("kthread_delayed_work"))
    k.memory.write(dwork, bytes(k.types.sizeof("kthread_delayed_work")))
    init_list_head(k.memory, dwork + layout.delayed.work + layout.work.node)
    func = k.memory.u64(work + layout.work.func)
    k.memory.set_u64(dwork + layout.delayed.work + layout.work.func, func)
    expired = k.symbols.address("kthread_delayed_work_timer_fn")
    k.memory.set_u64(dwork + layout.delayed.timer + k.types.offset("timer_list", "function"), expired)
    return dwork


def modify(worker: Worker, dwork: int, delay: int) -> bool:
    return bool(call(worker.k, "kthread_mod_delayed_work", worker.address, dwork, delay) & 0xFF)


def test_modifying_a_delayed_work_tells_whether_it_was_queued_and_counts_from_now(
    kernel: Core, worker: Worker
) -> None:
    seen: list[int] = []
    dwork = delayed(worker, lambda: seen.append(kernel.clock.jiffies))
    results: list[bool] = []
    before: list[int] = []

    def body() -> None:
        results.append(modify(worker, dwork, 100))
        before.append(kernel.clock.jiffies)
        results.append(modify(worker, dwork, 5))

    in_task(kernel, body)
    assert results == [False, True]
    assert [now - before[0] for now in seen] == [5], "once, and not after 100 jiffies"


def test_modifying_a_work_that_is_being_cancelled_leaves_it_so(kernel: Core, worker: Worker) -> None:
    seen: list[int] = []
    dwork = delayed(worker, lambda: (seen.append(1), block(kernel, TASK_UNINTERRUPTIBLE, 50)))
    in_task(kernel, lambda: call(kernel, "kthread_queue_delayed_work", worker.address, dwork, 0))
    seen.clear()
    start(kernel, "q", lambda: call(kernel, "kthread_queue_delayed_work", worker.address, dwork, 0))
    kernel.run(0.01)
    start(kernel, "c", lambda: call(kernel, "kthread_cancel_delayed_work_sync", dwork))
    kernel.run(0.01)
    results: list[bool] = []
    start(kernel, "m", lambda: results.append(modify(worker, dwork, 1)))
    kernel.run(1)
    assert results == [True]
    assert seen == [1], "it is not queued again"
