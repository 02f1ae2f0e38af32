"""The per-CPU area: mm/percpu.c."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.kernel.conftest import Guest

from ukmod.errors import LimitError
from ukmod.kernel.core import Core
from ukmod.kernel.mm.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOWARN
from ukmod.kernel.mm.percpu import (
    AREA_SIZE,
    CANARY,
    MIN_UNIT_SIZE,
    PerCpu,
    PerCpuSection,
)
from ukmod.kernel.preempt_count import PREEMPT_NEED_RESCHED
from ukmod.machine.memory import PAGE_SIZE, READ_WRITE, Memory

IMAGE = 0xFFFF_FFFF_8180_0000


@pytest.mark.parametrize("align", [1, 8, 64, 4096])
def test_variables_are_zero_aligned_and_apart(kernel: Core, guest: Guest, align: int) -> None:
    first, second = (guest.call("__alloc_percpu", 24, align) for _ in range(2))
    assert first
    assert first % align == second % align == 0
    assert abs(first - second) >= 24
    assert kernel.memory.read(kernel.percpu.base + first, 24) == bytes(24)


ALLOCATORS = pytest.mark.parametrize(
    ("function", "rest"),
    [("__alloc_percpu", ()), ("__alloc_percpu_gfp", (GFP_KERNEL,)), ("pcpu_alloc_noprof", (0, GFP_KERNEL))],
)


@ALLOCATORS
@pytest.mark.parametrize(
    ("size", "align", "seen"),
    [(0, 8, 0), (8, 12, 8), (8, 8192, 8), (MIN_UNIT_SIZE + 1, 8, MIN_UNIT_SIZE + 4), (-1, 8, 0)],
)
def test_what_cannot_be_is_warned_of(
    kernel: Core, guest: Guest, function: str, rest: tuple[int, ...], size: int, align: int, seen: int
) -> None:
    assert guest.call(function, size, align, *rest) == 0
    (warning,) = kernel.warnings
    assert warning.message == f"illegal size ({seen}) or align ({align}) for percpu allocation"


@pytest.mark.parametrize(("function", "rest"), [("__alloc_percpu_gfp", ()), ("pcpu_alloc_noprof", (0,))])
def test_a_caller_may_ask_for_silence(
    kernel: Core, guest: Guest, function: str, rest: tuple[int, ...]
) -> None:
    assert guest.call(function, 0, 8, *rest, GFP_KERNEL | GFP_NOWARN) == 0
    assert not kernel.warnings


@ALLOCATORS
def test_the_largest_allocation_and_an_alignment_too_small(
    kernel: Core, guest: Guest, function: str, rest: tuple[int, ...]
) -> None:
    assert guest.call(function, MIN_UNIT_SIZE, PAGE_SIZE, *rest) % PAGE_SIZE == 0
    assert guest.call(function, 1, 3, *rest) % 4 == 0
    assert not kernel.warnings


def test_an_area_that_is_full_is_reported_ten_times(kernel: Core, guest: Guest) -> None:
    while guest.call("__alloc_percpu_gfp", MIN_UNIT_SIZE, 8, GFP_KERNEL | GFP_NOWARN):
        pass
    assert guest.call("__alloc_percpu_gfp", MIN_UNIT_SIZE, 8, GFP_ATOMIC) == 0
    assert kernel.log.lines == []
    for _ in range(11):
        assert guest.call("__alloc_percpu", MIN_UNIT_SIZE, 8) == 0
    failed = "percpu: allocation failed, size=32768 align=8 atomic=0, failed to allocate new chunk"
    assert kernel.log.lines.count(failed) == 10
    assert kernel.log.lines[-1] == "percpu: limit reached, disable warning"


def test_what_was_freed_is_given_again_and_zeroed(kernel: Core, guest: Guest) -> None:
    first = guest.call("__alloc_percpu", 40, 8)
    kernel.memory.write(kernel.percpu.base + first, b"x" * 40)
    guest.call("free_percpu", first)
    guest.call("free_percpu", 0)
    assert guest.call("__alloc_percpu", 40, 8) == first
    assert kernel.memory.read(kernel.percpu.base + first, 40) == bytes(40)


def test_freeing_twice_gives_the_room_once(kernel: Core, guest: Guest) -> None:
    first = guest.call("__alloc_percpu", 40, 8)
    guest.call("free_percpu", first)
    guest.call("free_percpu", first)
    assert [report.kind for report in kernel.reports] == ["invalid-free"]
    assert guest.call("__alloc_percpu", 40, 8) != guest.call("__alloc_percpu", 40, 8)


def test_the_area_has_an_end(kernel: Core) -> None:
    with pytest.raises(LimitError, match="exhausted"):
        kernel.percpu.reserve(AREA_SIZE, 8)
    assert kernel.percpu.reserve(4096, 8)


def test_the_preempt_count_carries_the_inverted_need_resched_bit(kernel: Core) -> None:
    percpu = kernel.percpu
    at = percpu.base + percpu.preempt_offset
    before = percpu.preempt_count()
    percpu.add_preempt(1)
    assert percpu.preempt_count() == before + 1
    assert kernel.memory.u32(at) & PREEMPT_NEED_RESCHED
    percpu.set_preempt(0)
    assert kernel.memory.u32(at) == PREEMPT_NEED_RESCHED


@pytest.mark.parametrize(
    ("others", "vermagic", "count"),
    [
        ((), "", PREEMPT_NEED_RESCHED),
        (("local_interrupt_disable_state",), "7.3.4 mod_unload", PREEMPT_NEED_RESCHED),
        (("local_interrupt_disable_state",), "7.3.4 preempt mod_unload", 1 << 63),
    ],
)
def test_the_variables_of_an_image_for_one_processor_are_ordinary_ones(
    kernel: Core, others: tuple[str, ...], vermagic: str, count: int
) -> None:
    memory = Memory(32 << 20)
    memory.map(IMAGE, memory.alloc_frames(1), PAGE_SIZE, READ_WRITE)
    variables = {"fixed_percpu_data": IMAGE, "current_task": IMAGE + 0x40, "__preempt_count": IMAGE + 0x48}
    variables |= dict.fromkeys(others, IMAGE + 0x80)
    segment: list[int] = []
    machine: Any = SimpleNamespace(
        memory=memory,
        types=kernel.types,
        cpu=SimpleNamespace(set_gs=segment.append),
        vermagic=vermagic,
        image=SimpleNamespace(percpu_section=lambda: PerCpuSection(0, b""), get=variables.get),
    )
    percpu = PerCpu(machine)
    assert segment == [percpu.gs] == [IMAGE]
    assert memory.u64(IMAGE + 0x28) == CANARY
    percpu.set_current(0x1234)
    percpu.set_preempt(3)
    assert memory.u64(IMAGE + 0x40) == 0x1234
    assert memory.u64(IMAGE + 0x48) == count | 3
    percpu.add_preempt(percpu.count.hardirq_offset)
    assert percpu.preempt_count() == 3 + (0x100_0000 if others else 0x1_0000)
    assert percpu.preempt_count() & percpu.count.interrupt_mask
    assert percpu.prefix == b""
    assert memory.read(percpu.reserve(24, 8), 24) == bytes(24)  # its offset is its address
    memory.close()
