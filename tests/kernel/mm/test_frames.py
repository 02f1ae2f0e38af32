"""What loading and unloading leave of the machine's memory, and who is blamed for what they leave."""

from __future__ import annotations

import struct

import pytest
from tests.golden import modules

from ukmod.kernel.api import Kernel
from ukmod.kernel.x86.unwind import StackTrace
from ukmod.machine.memory import PAGE_SHIFT, Memory

SETTLED = 150
"""Cycles until the quarantine is full: freed objects and tasks stay there, so that misuse is seen."""


def frames_in_use(memory: Memory) -> int:
    given_back = sum(count * len(frames) for count, frames in memory._free.items())
    return (memory.size >> PAGE_SHIFT) - memory.frames_left() - given_back


@pytest.mark.parametrize(
    ("name", "params", "cycles"), [("work", "part=order", 500), ("slab", "part=good", 250)]
)
def test_loads_and_unloads_cost_no_frame(name: str, params: str, cycles: int) -> None:
    used: set[int] = set()
    with Kernel() as k:
        for n in range(cycles):
            k.insmod(modules()[name], params)
            if n == 0:
                k.core.slab.fence.quarantine = 32
            k.rmmod(name)
            if n >= SETTLED:
                used.add(frames_in_use(k.core.memory))
    assert len(used) == 1


def test_a_module_is_not_blamed_for_what_one_before_it_at_its_address_left() -> None:
    with Kernel() as k:
        k.insmod(modules()["exporter"])
        first = k.modules["exporter"]
        place = first.layout.core
        code = struct.pack("<Q", first.layout.symbol_starts[0] + 1)
        trace = StackTrace(1, "t", 0, k.core.idle.sp, 0, code)
        k.core.slab.alloc(64, 8, "kmalloc-64", trace=trace)
        k.rmmod("exporter")
        assert [leak.track.module for leak in k.leaks()] == ["exporter"]
        k.insmod(modules()["ok_dep"])
        assert k.modules["ok_dep"].layout.core == place
        k.rmmod("ok_dep")
        assert [leak.track.module for leak in k.leaks()] == ["exporter"]
