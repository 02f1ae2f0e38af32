"""Ring buffers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kernel.conftest import Guest

LAYOUT = {"in": 0, "out": 4, "mask": 8, "esize": 12, "data": 16}
"""struct __kfifo of v6.1, which the kernel's own profile need not know: modules that use it do."""


class Types:
    """The kernel's types, and struct __kfifo."""

    def __init__(self, types: Any) -> None:
        self._types = types

    def __getattr__(self, name: str) -> Any:
        return getattr(self._types, name)

    def offset(self, struct: str, member: str) -> int:
        return LAYOUT[member] if struct == "__kfifo" else self._types.offset(struct, member)


@pytest.fixture
def fifo(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(guest.kernel, "types", Types(guest.kernel.types))
    return guest.put(b"", room=24)


def test_what_goes_in_comes_out_in_order(guest: Guest, fifo: int) -> None:
    target = guest.put(b"", room=64)
    assert guest.call_int("__kfifo_alloc", fifo, 6, 1, 0xCC0) == 0
    assert guest.call_int("__kfifo_in", fifo, b"abcdefghij", 10) == 8
    assert guest.call_int("__kfifo_out", fifo, target, 5) == 5
    assert guest.call_int("__kfifo_in", fifo, b"XYZ", 3) == 3
    assert guest.call_int("__kfifo_out", fifo, target, 64) == 6
    assert guest.kernel.memory.read(target, 6) == b"fghXYZ"
    assert guest.kernel.memory.u32(fifo) == guest.kernel.memory.u32(fifo + 4) == 11
