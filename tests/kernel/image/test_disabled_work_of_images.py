"""disable_work() and its kin through the entries of images that have them, v6.10 and later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.tasks import in_task
from tests.kernel.workqueue.works import Works
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree

pytestmark = pytest.mark.real

KERNELS = ["backport", *(pytest.param(name, marks=pytest.mark.kernels) for name in ("trixie-rt", "sid"))]


@pytest.fixture(scope="module", params=KERNELS)
def newer(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel of 6.12 or later, up."""
    package = debian.require_other(request.param)
    with Kernel(tree=open_tree(package.modules), image=package.vmlinuz) as k:
        k.boot()
        yield k


def run(k: Kernel, name: str, *arguments: int) -> int:
    image = k.core.image
    assert image is not None
    return k.core.cpu.call(image.address(name), *arguments) & 1


def test_disabled_work_is_not_queued_by_the_images_code(newer: Kernel) -> None:
    def use() -> list[object]:
        works, results = Works(Guest(newer.core)), list[object]()
        work = works.work("a")

        def body() -> None:
            results.append(run(newer, "disable_work_sync", work))
            results.append(run(newer, "queue_work_on", 0, works.events, work))
            results.append(run(newer, "enable_work", work))
            results.append(run(newer, "queue_work_on", 0, works.events, work))
            results.append(run(newer, "cancel_work_sync", work))
            results.append(run(newer, "queue_work_on", 0, works.events, work))
            run(newer, "flush_work", work)

        in_task(newer.core, body)
        return [*results, *works.ran, *map(str, newer.warnings)]

    assert in_a_copy(newer, use) == [0, 0, 1, 1, 1, 1, "a"]


def test_cancelling_stops_work_that_queues_itself(newer: Kernel) -> None:
    """While it is cancelled it is disabled, so that its own function cannot queue it."""

    def use() -> list[str]:
        works = Works(Guest(newer.core))

        def again() -> None:
            works.sleep(3)
            run(newer, "queue_work_on", 0, works.events, work)

        work = works.work("a", again)

        def body() -> None:
            works.queue(work)
            works.sleep(1)
            run(newer, "cancel_work_sync", work)
            works.sleep(20)

        in_task(newer.core, body)
        return works.ran

    assert in_a_copy(newer, use) == ["a"]
