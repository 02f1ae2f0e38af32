"""The area of the stubs: which of Python's functions is behind which stub, and native code beside them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from ukmod.errors import MachineError
from ukmod.machine import stubs
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC, Memory

Handler = Callable[[memoryview], int]
"""A kernel function behind a stub: given the trap frame in 8-byte words, it returns RAX (any sign)."""


class StubArea:
    """Machine code with which guest code calls the functions of Python, from STUB_BASE upwards."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.handlers: list[Handler] = [_no_handler] * stubs.ID_FIRST
        """By the number of a stub: its function."""
        self._addresses = [0] * stubs.ID_FIRST
        """Parallel to ``handlers``."""
        self._next = stubs.STUB_BASE + stubs.CODE_SIZE
        self._end = stubs.STUB_BASE
        self._grow()
        memory.write(stubs.STUB_BASE, stubs.shared_code(), force=True)

    def __getstate__(self) -> dict[str, Any]:
        """The area for a snapshot, without the functions; the owner restores those with ``set_function``."""
        return {**vars(self), "handlers": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.handlers = [_no_handler] * len(self._addresses)

    def _grow(self) -> None:
        size = 16 * PAGE_SIZE
        self._memory.map(self._end, self._memory.alloc_frames(16), size, READ_EXEC)
        self._end += size

    def _room(self, size: int) -> int:
        address = self._next
        self._next = address + ((size + 15) & ~15)
        while self._next > self._end:
            self._grow()
        return address

    def add_function(self, handler: Handler) -> int:
        """Give ``handler`` an address that guest code can call; returns the address."""
        address = self._room(stubs.STUB_SIZE)
        self._memory.write(address, stubs.stub(address, len(self.handlers)), force=True)
        self.handlers.append(handler)
        self._addresses.append(address)
        return address

    def set_function(self, address: int, handler: Handler) -> None:
        """Make the stub at an address returned by ``add_function`` call ``handler``."""
        self.handlers[bisect_left(self._addresses, address)] = handler

    def add_native(self, code: bytes) -> int:
        """Write machine code to where guest code can call it; returns the address."""
        address = self._room(len(code))
        self._memory.write(address, code, force=True)
        return address

    def address(self, number: int) -> int:
        """The address of the stub with this number, for reports."""
        return self._addresses[number]


def _no_handler(frame: memoryview) -> int:
    raise MachineError(f"trap {frame[0]} has no function")
