"""Work items that are disabled: they cannot be queued until they are enabled as often (v6.10)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import in_task
from tests.kernel.workqueue.works import CPU, Works

from ukmod.kernel.core import Core
from ukmod.kernel.workqueue.work import DisableBits
from ukmod.kernel.workqueue.workqueue import WORK_OFFQ_POOL_NONE

SHIFT, WIDTH = 5, 16
"""WORK_OFFQ_DISABLE_SHIFT and WORK_OFFQ_DISABLE_BITS of v6.12."""
COUNT, MOST = 1 << SHIFT, (1 << WIDTH) - 1
OLD_NO_POOL = WORK_OFFQ_POOL_NONE << SHIFT
"""``work->data`` as INIT_WORK() leaves it before v6.10: the pool's number lies in the same bits."""


@pytest.fixture
def kernel(kernel: Core) -> Core:
    """A kernel whose work items can be disabled."""
    kernel.workqueues.disable_bits = DisableBits(SHIFT, WIDTH)
    kernel.workqueues.no_pool = WORK_OFFQ_POOL_NONE << SHIFT + WIDTH
    return kernel


def disabled(kernel: Core, work: int) -> int:
    """The disable count, as the bits lie in ``work->data``."""
    return kernel.memory.u64(work + kernel.workqueues.layout.data) // COUNT & MOST


def test_disabled_work_is_not_queued(kernel: Core, works: Works) -> None:
    work, results = works.work("a"), []

    def body() -> None:
        results.append(works.call("disable_work", work))
        results.append(works.queue(work))
        results.append(works.pending(work))
        results.append(works.call("enable_work", work))
        results.append(works.queue(work))

    in_task(kernel, body)
    kernel.run(0.1)
    assert results == [0, 0, False, 1, 1]
    assert works.ran == ["a"]


def test_each_disabling_needs_an_enabling(kernel: Core, works: Works) -> None:
    work, seen = works.work("a"), list[tuple[int, int]]()

    def body() -> None:
        calls = ("disable_work", "disable_work_sync", "enable_work", "enable_work")
        seen.extend((works.call(function, work), disabled(kernel, work)) for function in calls)

    in_task(kernel, body)
    assert seen == [(0, 1), (0, 2), (0, 1), (1, 0)]


@pytest.mark.parametrize("function", ["disable_work", "disable_work_sync"])
def test_disabling_cancels_and_tells_whether_it_was_pending(
    kernel: Core, works: Works, function: str
) -> None:
    work, results = works.work("a"), []
    in_task(kernel, lambda: (works.queue(work), results.append(works.call(function, work))))
    kernel.run(0.1)
    assert results == [1]
    assert works.ran == []


@pytest.mark.parametrize(
    ("function", "order"),
    [
        ("disable_work", ["a", "disabled", "a ends"]),
        ("disable_work_sync", ["a", "a ends", "disabled"]),
    ],
)
def test_only_the_synchronous_form_waits_for_a_running_function(
    kernel: Core, works: Works, function: str, order: list[str]
) -> None:
    work = works.sleeper("a")

    def body() -> None:
        works.queue(work)
        works.sleep(2)
        assert not works.call(function, work)
        works.ran.append("disabled")
        works.sleep(20)

    in_task(kernel, body)
    assert works.ran == order


def test_work_that_queues_itself_stops_once_it_is_disabled(kernel: Core, works: Works) -> None:
    work = works.work("a", lambda: works.queue(work))

    def body() -> None:
        works.queue(work)
        works.sleep(1)
        works.call("disable_work_sync", work)
        works.ran.clear()
        works.sleep(5)

    in_task(kernel, body)
    assert works.ran == []


class TestDelayed:
    def test_disabled_delayed_work_is_neither_queued_nor_modified(self, kernel: Core, works: Works) -> None:
        dwork, results = works.delayed("a"), []

        def body() -> None:
            works.delay(dwork, 3)
            results.append(works.call("disable_delayed_work_sync", dwork))
            results.append(works.delay(dwork, 3))
            results.append(works.call("mod_delayed_work_on", CPU, works.events, dwork, 3))
            results.append(works.pending(dwork))
            works.sleep(10)
            results.append(works.call("enable_delayed_work", dwork))

        in_task(kernel, body)
        assert results == [1, 0, 0, False, 1]
        assert works.ran == []

    def test_delayed_work_runs_again_after_it_is_enabled(self, kernel: Core, works: Works) -> None:
        dwork = works.delayed("a")

        def body() -> None:
            works.call("disable_delayed_work", dwork)
            works.call("enable_delayed_work", dwork)
            works.delay(dwork, 3)

        in_task(kernel, body)
        kernel.run(0.1)
        assert works.ran == ["a"]


def test_enabling_work_that_is_enabled_is_warned_of(kernel: Core, works: Works) -> None:
    work = works.work("a")
    in_task(kernel, lambda: works.call("enable_work", work))
    assert ["work disable count underflowed" in str(warning) for warning in kernel.warnings] == [True]
    kernel.warnings.clear()


def test_the_count_does_not_overflow(kernel: Core, guest: Guest, works: Works) -> None:
    work = works.work("a")
    data = work + kernel.workqueues.layout.data
    kernel.memory.set_u64(data, kernel.memory.u64(data) | MOST * COUNT)
    guest.call("disable_work", work)
    assert disabled(kernel, work) == MOST
    assert ["work disable count overflowed" in str(warning) for warning in kernel.warnings] == [True]
    kernel.warnings.clear()


def test_no_bit_of_an_old_work_item_disables_it(kernel: Core, works: Works) -> None:
    kernel.workqueues.disable_bits = DisableBits()
    work = works.work("a")
    kernel.memory.set_u64(work + kernel.workqueues.layout.data, OLD_NO_POOL)
    in_task(kernel, lambda: (works.queue(work), works.call("flush_work", work)))
    assert works.ran == ["a"]
