"""Functions of an image that were left out for long: each touches what Python keeps."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel
from ukmod.kernel.irq_work import LAZY, _flags
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, Task
from ukmod.kernel.time.clock import NSEC_PER_SEC

pytestmark = pytest.mark.real

MS = 10**6
CLOCK_MONOTONIC, MODE_REL = 1, 1


def run(k: Kernel, name: str, *arguments: int) -> int:
    """Call the image's function through its entry, as its own code does, in the current task."""
    image = k.core.image
    assert image is not None
    return k.core.cpu.call(image.address(name), *arguments)


def finish(k: Kernel, task: Task) -> None:
    k.core.sched.run(lambda: task.exited, k.core.clock.now + NSEC_PER_SEC)
    assert task.exited


def test_a_sleeper_wakes_its_task_at_its_time(booted: Kernel) -> None:
    """hrtimer_init_sleeper() and hrtimer_sleeper_start_expires(), as the futex code calls them."""

    def sleep() -> int:
        core = booted.core
        sleeper = core.slab.kernel_object(core.types.sizeof("hrtimer_sleeper"))
        slept: list[int] = []

        def body() -> int:
            begin = core.clock.now
            run(booted, "hrtimer_init_sleeper", sleeper, CLOCK_MONOTONIC, MODE_REL)
            core.hrtimers.set_expires(sleeper, 5 * MS)
            core.tasks.set_state(core.sched.task(), TASK_UNINTERRUPTIBLE)
            run(booted, "hrtimer_sleeper_start_expires", sleeper, MODE_REL)
            core.sched.schedule()
            slept.append((core.clock.now - begin) // MS)
            return 0

        finish(booted, core.start("sleeper", body))
        return slept[0]

    assert in_a_copy(booted, sleep) == 5


def test_irq_work_is_waited_for(booted: Kernel) -> None:
    def wait() -> list[object]:
        core, guest, seen = booted.core, Guest(booted.core), list[object]()
        work = core.slab.kernel_object(core.types.sizeof("irq_work"))
        function = guest.python(lambda _: seen.append("runs") or 0, 1)
        core.memory.set_u64(work + core.types.offset("irq_work", "func"), function)

        def body() -> int:
            core.memory.set_u32(_flags(core, work), LAZY)
            seen.extend(run(booted, "irq_work_queue", work) & 1 for _ in range(2))
            run(booted, "irq_work_sync", work)
            seen.append("waited")
            seen.append(run(booted, "irq_work_queue", work) & 1)
            return 0

        finish(booted, core.start("waiter", body))
        return seen

    assert in_a_copy(booted, wait)[:5] == [1, 0, "runs", "waited", 1]


def test_a_snapshot_of_the_clocks_is_of_one_moment(booted: Kernel) -> None:
    def snap() -> list[int]:
        core = booted.core
        at = core.slab.kernel_object(core.types.sizeof("system_time_snapshot"))
        booted.call("ktime_get_snapshot", at)
        real, raw = (
            core.memory.u64(at + core.types.offset("system_time_snapshot", clock))
            for clock in ("real", "raw")
        )
        return [real - raw, core.timekeeping.real_offset]

    difference, offset = in_a_copy(booted, snap)
    assert difference == offset


def test_a_part_of_a_function_leads_where_the_function_does(booted: Kernel) -> None:
    """put_pid.part.0(), which pidfd_get_task() calls."""
    memory, image = booted.core.memory, booted.core.image
    assert image is not None
    at = image.address("put_pid.part.0")
    assert memory.u8(at) == 0xE9
    assert at + 5 + memory.s32(at + 1) == booted.core.symbols.address("put_pid")
