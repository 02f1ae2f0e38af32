"""A bare machine: memory, page tables and a CPU, and no kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ukmod.machine.cpu import Cpu
from ukmod.machine.memory import Memory


@pytest.fixture
def memory() -> Iterator[Memory]:
    """16 MiB of RAM."""
    ram = Memory(16 << 20)
    yield ram
    ram.close()


@pytest.fixture
def cpu() -> Iterator[Cpu]:
    """A CPU with memory of its own, and a stack to run on."""
    ram = Memory(16 << 20)
    one = Cpu(ram)
    one.sp = ram.map_direct(ram.alloc_frames(4), 4 << 12) + (4 << 12)
    yield one
    one.close()
    ram.close()
