"""Memory that a process has mapped, used like a bytearray of fixed size."""

from __future__ import annotations

import os
from errno import EFAULT
from typing import TYPE_CHECKING, Self, overload

from ukmod.machine.memory import Fault

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess


class Mapping:
    """``size`` bytes at an address of a process. They are read and written by the process itself.

    Its pages come in by page faults, as for a program. Where a program would get SIGBUS or SIGSEGV, OSError
    with EFAULT is raised.
    """

    def __init__(self, process: UserProcess, address: int, size: int) -> None:
        self._process = process
        self._size = size
        self.address = address
        """The address in its process."""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, where: int) -> int: ...

    @overload
    def __getitem__(self, where: slice) -> bytes: ...

    def __getitem__(self, where: int | slice) -> int | bytes:
        if isinstance(where, int):
            return self[self._slice(where)][0]
        start, size = self._range(where)
        memory = self._process.core.memory

        def load() -> bytes:
            try:
                return memory.read(start, size)
            except Fault as fault:
                raise OSError(EFAULT, os.strerror(EFAULT)) from fault

        return self._process.run(load)

    @overload
    def __setitem__(self, where: int, data: int) -> None: ...

    @overload
    def __setitem__(self, where: slice, data: bytes) -> None: ...

    def __setitem__(self, where: int | slice, data: int | bytes) -> None:
        if isinstance(where, int):
            where = self._slice(where)
        if isinstance(data, int):
            data = bytes((data,))
        start, size = self._range(where)
        if len(data) != size:
            raise ValueError(f"{size} bytes cannot hold {len(data)}")
        memory = self._process.core.memory

        def store() -> None:
            try:
                memory.write(start, data)
            except Fault as fault:
                raise OSError(EFAULT, os.strerror(EFAULT)) from fault

        self._process.run(store)

    def _slice(self, index: int) -> slice:
        """The one byte at an index. Raises IndexError if there is none."""
        at = range(self._size)[index]
        return slice(at, at + 1)

    def _range(self, where: slice) -> tuple[int, int]:
        """The address and the number of bytes of a slice. Raises ValueError for a step, or once closed."""
        if not self._size:
            raise ValueError("the mapping is closed")
        start, stop, step = where.indices(self._size)
        if step != 1:
            raise ValueError("a mapping has no slices with a step")
        return self.address + start, max(stop - start, 0)

    def close(self) -> None:
        """munmap(2)."""
        if self._size:
            self._process.syscall("munmap", self.address, self._size)
            self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
