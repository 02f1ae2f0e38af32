"""A ww_mutex is taken by the image's own functions, and by mutex_lock(), which is Python's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block

pytestmark = pytest.mark.real

WW, PLAIN = ("ww_mutex_lock", "ww_mutex_unlock"), ("mutex_lock", "mutex_unlock")


@pytest.mark.parametrize("kinds", [(WW, WW, WW), (PLAIN, WW, PLAIN), (WW, PLAIN, WW), (WW, PLAIN, PLAIN)])
def test_each_waiter_gets_it(booted: Kernel, kinds: tuple[tuple[str, str], ...]) -> None:
    """dma_resv_lock() with a context calls the one, without a context the other."""

    def contend() -> list[str]:
        core, order = booted.core, []
        lock = core.slab.kernel_object(core.types.sizeof("ww_mutex"))
        init_list_head(core.memory, lock + core.types.offset("mutex", "wait_list"))

        def hold(name: str, kind: tuple[str, str]) -> Callable[[], int]:
            def body() -> int:
                image = core.image
                assert image is not None
                core.cpu.call(image.address(kind[0]), lock, 0)
                order.append(f"{name} has it")
                block(core, TASK_UNINTERRUPTIBLE, 2)
                order.append(f"{name} leaves")
                core.cpu.call(image.address(kind[1]), lock)
                return 0

            return body

        tasks = [core.start(str(number), hold(str(number), kind)) for number, kind in enumerate(kinds)]
        core.sched.run(lambda: all(task.exited for task in tasks), core.clock.now + 10**9)
        assert core.memory.u64(lock + core.types.offset("mutex", "owner")) == 0
        return order

    order = in_a_copy(booted, contend)
    assert order == [f"{entry[0]} {what}" for entry in order[::2] for what in ("has it", "leaves")]
    assert sorted(entry[0] for entry in order[::2]) == ["0", "1", "2"]
