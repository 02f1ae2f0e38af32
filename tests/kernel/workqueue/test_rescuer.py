"""The rescuers of workqueues with WQ_MEM_RECLAIM; tests/golden has what modules see of them (rescuer)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block
from ukmod.kernel.workqueue.work import Work
from ukmod.kernel.workqueue.workqueue import WQ_MEM_RECLAIM


def allow_no_more_tasks(k: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k.tasks, "max_threads", 0)


def test_work_of_memory_reclaim_advances_when_no_worker_can_be_created(
    kernel: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    k, queues, ran = kernel, kernel.workqueues, list[tuple[str, str]]()

    def work(name: str) -> Work:
        return Work(lambda: ran.append((name, k.tasks.comm(k.sched.task()))))

    def body() -> None:
        plain, reclaim = queues.alloc("plain", 0), queues.alloc("reclaim", WQ_MEM_RECLAIM)
        queues.call(plain, bool)  # now there are two workers
        allow_no_more_tasks(k, monkeypatch)
        first, second, third = work("first"), work("second"), work("plain")
        for _ in range(2):
            queues.queue(plain, lambda: queues.flush(second))
        for wq, item in ((plain, third), (reclaim, first), (reclaim, second)):
            queues.queue(wq, item)
        for item in (first, second, third):
            queues.flush(item)
        queues.destroy(reclaim)
        queues.destroy(plain)

    in_task(k, body)
    assert ran[:2] == [("first", "reclaim"), ("second", "reclaim")]
    assert [name for name, comm in ran[2:] if comm.startswith("kworker/0:")] == ["plain"]


def test_work_queued_while_all_workers_sleep_is_rescued(
    kernel: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    k, queues, ran = kernel, kernel.workqueues, list[str]()

    def body() -> None:
        plain, reclaim = queues.alloc("plain", 0), queues.alloc("reclaim", WQ_MEM_RECLAIM)
        queues.call(plain, bool)
        allow_no_more_tasks(k, monkeypatch)
        for _ in range(2):
            queues.queue(plain, lambda: block(k, TASK_UNINTERRUPTIBLE, 1000))
        block(k, TASK_UNINTERRUPTIBLE, 10)
        queues.call(reclaim, lambda: ran.append(k.tasks.comm(k.sched.task())))
        assert len(plain.in_flight) == 2, "both workers still sleep"
        queues.destroy(reclaim)
        queues.destroy(plain)

    in_task(k, body)
    assert ran == ["reclaim"]


def test_without_memory_for_a_rescuer_there_is_no_workqueue(
    kernel: Core, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = guest.put(b"reclaim\0")
    made: list[int] = []

    def body() -> None:
        allow_no_more_tasks(kernel, monkeypatch)
        made.extend(call(kernel, "alloc_workqueue", name, flags, 0) for flags in (0, WQ_MEM_RECLAIM))

    in_task(kernel, body)
    assert made[0]
    assert made[1] == 0
