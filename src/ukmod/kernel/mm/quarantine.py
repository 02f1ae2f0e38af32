"""Structs of the kernel that were freed and whose memory is not reused yet: a use of one is a page fault."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ukmod.machine.memory import PAGE_OFFSET, PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.machine.memory import Memory


class Quarantine:
    """The latest ``limit`` freed structs of one kind, each of ``pages`` pages in the direct map."""

    def __init__(self, memory: Memory, limit: int, pages: int = 1) -> None:
        self._memory = memory
        self.limit = limit
        self._pages = pages
        self._freed: deque[int] = deque()
        """Their addresses, oldest first."""

    def add(self, address: int) -> None:
        """Unmap a struct; the frames of the oldest are free again if there are too many."""
        self._memory.unmap(address, self._pages * PAGE_SIZE)
        self._freed.append(address)
        if len(self._freed) > self.limit:
            self._memory.free_frames(self._freed.popleft() - PAGE_OFFSET, self._pages)
