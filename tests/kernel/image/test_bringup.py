"""A real image mapped and brought up: what it is then, and what a module of it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.real.debian import Debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.image.bringup import How, initcalls
from ukmod.machine.memory import Fault

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def k(kernel_package: Debian) -> Iterator[Kernel]:
    with Kernel(image=kernel_package.vmlinuz) as kernel:
        kernel.boot()
        yield kernel


def test_every_step_of_initialisation_returns(k: Kernel) -> None:
    boot, image = k.core.boot, k.core.image
    assert boot is not None
    assert image is not None
    assert [f"{step.name}: {step.outcome}" for step in boot.failed] == []
    assert len(boot.done) > len(list(initcalls(image))) - 30


def test_initialisation_leaves_no_trace_in_what_modules_are_judged_by(kernel_package: Debian) -> None:
    with Kernel(image=kernel_package.vmlinuz) as fresh:
        fresh.boot()
        assert fresh.dmesg() == ""
        assert not fresh.oopses
        assert not fresh.warnings
        assert not fresh.requests
        assert not fresh.core.slab.leaks()
        assert fresh.core.clock.now == 0


def test_functions_of_the_image_run(k: Kernel) -> None:
    assert k.call("glob_match", "snd*hda", "snd-intel-hda") & 0xFF == 1
    assert k.call("glob_match", "snd*hda", "snd-intel-hdb") & 0xFF == 0


def test_code_of_the_image_allocates_from_this_kernel(k: Kernel) -> None:
    assert k.core.image is not None
    copied = k.call(k.core.image.address("kmemdup"), "text", 5, 0xCC0, returns="void *")
    assert k.core.slab.object_at(copied) is not None


def test_current_is_the_images_own_per_cpu_variable(k: Kernel) -> None:
    core = k.core
    assert core.image is not None
    assert core.percpu.current_offset == core.image.address("current_task")
    assert core.percpu.preempt_offset == core.image.address("__preempt_count")
    assert core.idle.address == core.image.address("init_task")


def test_an_exported_symbol_has_its_crc_and_licence(k: Kernel) -> None:
    symbol = k.core.symbols.find("kobject_init")
    assert symbol is not None
    assert symbol.crc is not None
    assert k.core.symbols.find("driver_register").gpl  # type: ignore[union-attr]


def test_constants_cannot_be_written_once_initialisation_is_over(k: Kernel) -> None:
    core = k.core
    assert core.image is not None
    with pytest.raises(Fault):
        core.memory.set_u8(core.image.address("linux_banner"), 0)


def test_every_step_that_is_not_run_says_why() -> None:
    from ukmod.kernel.image.bringup import LEFT_OUT_INITCALLS, STEPS

    assert all(step.reason for step in STEPS if step.how is not How.RUN)
    assert all(LEFT_OUT_INITCALLS.values())


def test_what_modules_trace_is_read_from_tracefs(kernel_package: Debian) -> None:
    """trace_printk() of a text is __trace_puts()."""
    with Kernel(image=kernel_package.vmlinuz) as traced:
        traced.run(1.5)
        assert traced.core.image is not None
        caller = traced.core.image.address("schedule")
        assert traced.call("__trace_puts", caller, "a tick\n", 7) == 7
        *_, line = traced.read("/sys/kernel/tracing/trace").splitlines()
        assert re.search(r" 1\.5\d+: schedule: a tick$", line)
