"""What the newest kernels and PREEMPT_RT have otherwise, where ``make kernels`` has fetched them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.kernel.image.conftest import in_a_copy
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.lib.vsprintf_flags import gfp_names
from ukmod.kernel.oops import task_line
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, block
from ukmod.kernel.trees import open_tree

pytestmark = [pytest.mark.real, pytest.mark.kernels, pytest.mark.slow]

MODULES = (
    "ext4",
    "overlay",
    "loop",
    "dm_mod",
    "dummy",
    "veth",
    "nf_conntrack",
    "vxlan",
    "scsi_debug",
    "macvtap",
    "cxl_mem",
)
TASK_RTLOCK_WAIT = 0x1000


def up(name: str) -> Iterator[Kernel]:
    package = debian.require_other(name)
    with Kernel(tree=open_tree(package.modules), image=package.vmlinuz) as k:
        k.boot()
        yield k


@pytest.fixture(scope="module", params=["testing", "sid", "trixie-rt"])
def newer(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    yield from up(request.param)


@pytest.fixture(scope="module")
def rt() -> Iterator[Kernel]:
    yield from up("trixie-rt")


def test_every_step_returns_without_a_warning(newer: Kernel) -> None:
    boot = newer.core.boot
    assert boot is not None
    assert len(boot.done) > 500
    assert boot.failed == ()
    assert [record.text for record in boot.log if re.search(r"cut here|BUG|Firmware Bug", record.text)] == []


def test_the_cpu_is_apic_0(newer: Kernel) -> None:
    """The variable is a u16 until v6.7, and a u32 since. All its bits are set until setup_arch() runs."""
    k = newer.core
    assert k.image is not None
    assert k.types.variable("x86_cpu_to_apicid") == k.types.find("u32")
    assert k.memory.u32(k.percpu.base + k.image.address("x86_cpu_to_apicid")) == 0


@pytest.mark.parametrize("newer", ["testing", "sid"], indirect=True)
def test_there_is_a_page_of_zeros(newer: Kernel) -> None:
    """ZERO_PAGE() of modules, and what memory that was not written is mapped to; an initcall's until v7."""
    k = newer.core
    assert k.image is not None
    page, number = (k.memory.u64(k.image.address(name)) for name in ("__zero_page", "zero_page_pfn"))
    assert k.pages.pfn(page) == number
    assert k.memory.translate(k.image.address("empty_zero_page")) == number << 12


def test_flags_are_named_as_this_kernel_names_them(newer: Kernel) -> None:
    """GFP_ATOMIC lost a bit in v6.3."""
    assert gfp_names(newer.core, 0x821) == "GFP_ATOMIC|GFP_DMA"


@pytest.mark.parametrize("newer", ["testing", "sid"], indirect=True)
def test_reports_name_the_preemption_model(newer: Kernel) -> None:
    """As those kernels do under QEMU after ``echo c > /proc/sysrq-trigger``."""
    assert task_line(newer.core).splitlines()[0].endswith(" #1 PREEMPT(lazy)")


@pytest.mark.parametrize("name", MODULES)
def test_modules_load_and_unload(newer: Kernel, name: str) -> None:
    def load() -> list[str]:
        assert newer.modprobe(name).status == 0
        assert newer.modprobe("-r", name).status == 0
        newer.run(1)
        return [*map(str, newer.oopses), *map(str, newer.warnings)]

    assert in_a_copy(newer, load) == []


def test_a_contended_sleeping_lock_is_handed_over(rt: Kernel) -> None:
    """A mutex is an rt_mutex of the image: its waiter sleeps in schedule(), and unlocking wakes it."""

    def contend() -> list[str]:
        core, order = rt.core, []
        image = core.image
        assert image is not None
        lock = core.slab.kernel_object(core.types.sizeof("mutex"))
        rt.call("__mutex_rt_init", lock, 0, 0)

        def take(name: str) -> int:
            core.cpu.call(image.address("mutex_lock"), lock)
            order.append(f"{name} has it")
            block(core, TASK_UNINTERRUPTIBLE, 2)
            order.append(f"{name} leaves")
            core.cpu.call(image.address("mutex_unlock"), lock)
            return 0

        tasks = [core.start(name, lambda name=name: take(name)) for name in ("first", "second")]
        core.sched.run(lambda: all(task.exited for task in tasks), core.clock.now + 10**9)
        return order

    assert in_a_copy(rt, contend) == ["first has it", "first leaves", "second has it", "second leaves"]


def test_a_wake_up_while_a_task_waits_for_a_spinlock_is_not_lost(rt: Kernel) -> None:
    def wake() -> list[int]:
        core = rt.core
        task = core.start("waiter", lambda: 0)
        saved = task.address + core.types.offset("task_struct", "saved_state")
        core.memory.set_u32(saved, TASK_INTERRUPTIBLE)
        core.tasks.set_state(task, TASK_RTLOCK_WAIT)
        woken = core.sched.wake(task)
        return [int(woken), core.memory.u32(saved), core.tasks.state(task)]

    assert in_a_copy(rt, wake) == [0, 0, TASK_RTLOCK_WAIT]
