"""Physical frames: which are free, and how much of the RAM is spoken for."""

from __future__ import annotations

from errno import ENOMEM

from ukmod.errors import LimitError

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = ~(PAGE_SIZE - 1)
LOW_MEMORY = 1 << 20
"""Bytes at the start of RAM that are never allocated: on a PC they are for real mode, display and BIOS.

Physical address 0 is therefore never a valid result.
"""


def page_align(size: int) -> int:
    """``size`` rounded up to whole pages, in bytes."""
    return (size + PAGE_SIZE - 1) & PAGE_MASK


class Frames:
    """The frames of a RAM of ``size`` bytes. New ones are taken in order; freed ones are used again."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.end = LOW_MEMORY
        """The physical address after the last frame that was ever allocated."""
        self._free: dict[int, list[int]] = {}
        """Freed runs of frames, by their number of frames."""
        self._unused = 0
        """Bytes of the frames in ``_free``."""
        self.charged = 0
        """Bytes of RAM that stand for what the host keeps for the guest."""

    def alloc(self, count: int, align: int = PAGE_SIZE) -> int:
        """Take ``count`` contiguous frames; returns their physical address, a multiple of ``align``.

        Freed ones, which are below the former ``end``, have their old content. Raises LimitError if the RAM
        is exhausted.
        """
        size, free = count * PAGE_SIZE, self._free.get(count, [])
        for number in reversed(range(len(free))):
            if not free[number] % align:
                self._unused -= size
                return free.pop(number)
        frame = self.end + -self.end % align
        if frame + size > self.size or frame + size - self._unused + self.charged > self.size:
            raise self.exhausted()
        if frame > self.end:  # skipped frames serve smaller requests
            self._unused += frame - self.end
            self._free.setdefault(1, []).extend(range(self.end, frame, PAGE_SIZE))
        self.end = frame + size
        return frame

    def free(self, frame: int, count: int) -> None:
        """Free the result of ``alloc(count)``."""
        self._free.setdefault(count, []).append(frame)
        self._unused += count * PAGE_SIZE

    @property
    def allocated(self) -> int:
        """The end of the RAM that is in use, in bytes, less the freed frames below it."""
        return self.end - self._unused

    def left(self) -> int:
        """The number of frames never allocated, as far as there is RAM for them."""
        return (self.size - self.end - max(self.charged - self._unused, 0)) >> PAGE_SHIFT

    def charge(self, size: int, *, force: bool = False) -> None:
        """Take ``size`` bytes of RAM that no frames stand for; negative ones are given back.

        Raises LimitError if the RAM is exhausted, unless ``force``: the next allocation then does.
        """
        charged = self.charged + size
        if size > 0 and not force and self.allocated + charged > self.size:
            raise self.exhausted()
        self.charged = charged

    def exhausted(self) -> LimitError:
        """Make the exception for a request that the RAM has no room for."""
        return LimitError(f"the machine's memory of {self.size >> 20} MiB is exhausted", errno=ENOMEM)
