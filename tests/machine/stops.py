"""Stops the engine after so many blocks of guest code, as its watchdog does after some time of the host's."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from ukmod.machine import libunicorn as lib
from ukmod.machine.cpu import Cpu

_HOOK_BLOCK: Final = 8
_BLOCK: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


class Stops:
    """Stops a CPU before a block, and before each one that is ``every`` blocks after the last."""

    def __init__(self, cpu: Cpu, every: int, first: int = 0) -> None:
        self.places: list[int] = []
        """The addresses at which it has stopped."""
        self._engine: Any = cpu._engine
        self._every = every
        self._left = first
        self._callback = _BLOCK(self._begin)
        place = ctypes.byref(ctypes.c_size_t())
        lib.check(lib.uc_hook_add(self._engine.handle, place, _HOOK_BLOCK, self._callback, None, 1, 0))
        cpu.flush_code()  # what was translated before does not call it

    def _begin(self, _uc: int, address: int, _size: int, _data: int) -> None:
        if self._left:
            self._left -= 1
            return
        self._left = self._every - 1
        self.places.append(address)
        self._engine.stop()
