"""Kthread workers: the second half of kernel/kthread.c."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, start

from ukmod.kernel.core import Core
from ukmod.kernel.kthread_worker import KTW_FREEZABLE
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.sched.core import (
    PF_NO_SETAFFINITY,
    PF_NOFREEZE,
    TASK_INTERRUPTIBLE,
    TASK_UNINTERRUPTIBLE,
    Task,
    block,
)


class Worker:
    """A kthread worker that a module has made itself, and works that are Python's."""

    def __init__(self, guest: Guest) -> None:
        self.k = kernel = guest.kernel
        size = kernel.types.sizeof("kthread_worker")
        self.address = guest.put(b"\xff" * size)
        guest.call("__kthread_init_worker", self.address, b"worker", 0)
        function = kernel.symbols.address("kthread_worker_fn")
        self.task = kernel.kthreads.create_guest(function, self.address, "w")
        kernel.sched.wake(self.task)
        kernel.run(0.01)

    def work(self, function: Callable[[], object]) -> int:
        k, layout = self.k, self.k.kthread_workers.work

        def handler(_: memoryview) -> int:
            function()
            return 0

        address = k.slab.kmalloc(k.types.sizeof("kthread_work"))
        init_list_head(k.memory, address + layout.node)
        k.memory.set_u64(address + layout.func, k.cpu.stubs.add_function(handler))
        return address

    def queue(self, work: int) -> int:
        return call(self.k, "kthread_queue_work", self.address, work) & 0xFF


@pytest.fixture
def worker(guest: Guest) -> Worker:
    return Worker(guest)


def test_works_are_done_in_turn_each_queued_once(kernel: Core, worker: Worker) -> None:
    seen: list[int] = []
    works = [worker.work(lambda n=n: seen.append(n)) for n in range(3)]
    queued: list[int] = []
    in_task(kernel, lambda: queued.extend(worker.queue(work) for work in (*works, works[0])))
    kernel.run(0.1)
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
    kernel.run(1)
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


class TestWorkers:
    """kthread_create_worker() to kthread_destroy_worker()."""

    @pytest.fixture
    def created(self, guest: Guest) -> int:
        """A new worker, "tx/3"."""
        return guest.call("kthread_create_worker", KTW_FREEZABLE, b"tx/%d", 3) & (1 << 64) - 1

    def task(self, k: Core, created: int) -> Task:
        return k.tasks.at(k.memory.u64(created + k.kthread_workers.worker.task))

    def test_a_worker_has_a_thread_of_the_given_name_that_runs_kthread_worker_fn(
        self, kernel: Core, guest: Guest, created: int
    ) -> None:
        task = self.task(kernel, created)
        assert kernel.tasks.comm(task) == "tx/3"
        function = kernel.symbols.address("kthread_worker_fn")
        assert guest.call("kthread_func", task.address) & (1 << 64) - 1 == function
        assert guest.call("kthread_data", task.address) & (1 << 64) - 1 == created
        kernel.run(0.01)
        assert kernel.tasks.state(task) == TASK_INTERRUPTIBLE, "it waits for work"

    def test_a_freezable_worker_can_be_frozen(self, kernel: Core, guest: Guest, created: int) -> None:
        other = guest.call("kthread_create_worker", 0, b"rx") & (1 << 64) - 1
        kernel.run(0.01)
        flags = [kernel.tasks.pf(self.task(kernel, at)) & PF_NOFREEZE for at in (created, other)]
        assert flags == [0, PF_NOFREEZE]

    @pytest.mark.parametrize(("cpu", "bound"), [(0, True), (-1, False)])
    def test_a_worker_on_a_cpu_is_bound_to_it(
        self, kernel: Core, guest: Guest, cpu: int, bound: bool
    ) -> None:
        at = guest.call("kthread_create_worker_on_cpu", cpu, 0, b"w/%u", 9) & (1 << 64) - 1
        task = self.task(kernel, at)
        assert kernel.tasks.comm(task) == "w/9"
        assert bool(kernel.tasks.pf(task) & PF_NO_SETAFFINITY) == bound

    def test_a_worker_on_a_node_may_run_anywhere(self, kernel: Core, guest: Guest) -> None:
        at = guest.pointer("kthread_create_worker_on_node", 0, -1, b"w/%s", guest.put(b"x"))
        task = self.task(kernel, at)
        assert kernel.tasks.comm(task) == "w/x"
        assert not kernel.tasks.pf(task) & PF_NO_SETAFFINITY

    def test_destroying_a_worker_does_its_work_and_frees_it(
        self, kernel: Core, guest: Guest, worker: Worker, created: int
    ) -> None:
        seen: list[int] = []
        task = self.task(kernel, created)
        for n in range(2):
            work = worker.work(lambda n=n: (block(kernel, TASK_UNINTERRUPTIBLE, 5), seen.append(n)))
            assert guest.call_int("kthread_queue_work", created, work) == 1
        guest.call("kthread_destroy_worker", created)
        assert seen == [0, 1]
        assert task.exited
        assert kernel.slab.object_at(created) is None
        assert not kernel.warnings

    def test_a_worker_without_a_thread_cannot_be_destroyed(self, kernel: Core, guest: Guest) -> None:
        at = guest.put(b"", kernel.types.sizeof("kthread_worker"))
        guest.call("__kthread_init_worker", at, b"worker", 0)
        guest.call("kthread_destroy_worker", at)
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/kthread.c", 1401)]
        assert kernel.slab.object_at(at) is not None

    def test_a_stopped_thread_leaves_its_worker_to_another(self, kernel: Core, worker: Worker) -> None:
        """kthread_worker_fn() returns, and clears ``worker->task``."""
        in_task(kernel, lambda: call(kernel, "kthread_stop", worker.task.address))
        assert kernel.memory.u64(worker.address + kernel.kthread_workers.worker.task) == 0

    def test_two_threads_for_a_worker_are_warned_of(self, kernel: Core, worker: Worker) -> None:
        function = kernel.symbols.address("kthread_worker_fn")
        kernel.sched.wake(kernel.kthreads.create_guest(function, worker.address, "second"))
        kernel.run(0.01)
        assert [(w.file, w.line) for w in kernel.warnings] == [("kernel/kthread.c", 794)]


def test_flushing_a_worker_waits_for_all_its_work(kernel: Core, worker: Worker) -> None:
    seen: list[object] = []
    works = [
        worker.work(lambda n=n: (block(kernel, TASK_UNINTERRUPTIBLE, 3), seen.append(n))) for n in range(2)
    ]

    def body() -> None:
        for work in works:
            worker.queue(work)
        call(kernel, "kthread_flush_worker", worker.address)
        seen.append("flushed")

    in_task(kernel, body)
    assert seen == [0, 1, "flushed"]


class TestMisuse:
    """A work belongs to one worker: kthread_insert_work_sanity_check() and others."""

    def sites(self, k: Core) -> list[tuple[str, int]]:
        return [(w.file, w.line) for w in k.warnings]

    def test_a_work_that_was_another_workers_is_warned_of(
        self, kernel: Core, guest: Guest, worker: Worker
    ) -> None:
        other, work = Worker(guest), worker.work(bool)
        in_task(kernel, lambda: (worker.queue(work), call(kernel, "kthread_flush_work", work)))
        in_task(kernel, lambda: other.queue(work))
        assert self.sites(kernel) == [("kernel/kthread.c", 975)]

    def test_a_timer_of_another_function_is_warned_of(self, kernel: Core, worker: Worker) -> None:
        dwork = delayed(worker, bool)
        function = (
            dwork + kernel.kthread_workers.delayed.timer + kernel.types.offset("timer_list", "function")
        )
        kernel.memory.set_u64(function, kernel.symbols.address("delayed_work_timer_fn"))
        in_task(kernel, lambda: call(kernel, "kthread_queue_delayed_work", worker.address, dwork, 0))
        assert self.sites(kernel) == [("kernel/kthread.c", 1064)]

    def test_a_pending_work_that_is_initialised_again_is_warned_of(
        self, kernel: Core, worker: Worker
    ) -> None:
        dwork = delayed(worker, bool)
        in_task(kernel, lambda: call(kernel, "kthread_queue_delayed_work", worker.address, dwork, 5))
        owner = dwork + kernel.kthread_workers.delayed.work + kernel.kthread_workers.work.worker
        kernel.memory.set_u64(owner, 0)
        kernel.run(0.1)
        assert self.sites(kernel) == [("kernel/kthread.c", 1040)]
