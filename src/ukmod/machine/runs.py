"""The content of RAM in a snapshot: runs of frames that are not all zeros, mapped from the file again."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from io import BufferedReader

from ukmod.machine.frames import PAGE_SHIFT, PAGE_SIZE
from ukmod.record import record

PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
)
"""On hosts with fork(2), a child gets its own copy of the machine."""
_GAP = 16 << PAGE_SHIFT
"""Runs of zeros up to this size do not justify a separate mapping: the host's read-ahead covers them."""
_MAP_FIXED = 0x10
"""For mmap(2), missing in Python's mmap; the same value on Linux, the BSDs and macOS."""


@record
class Run:
    """A contiguous piece of RAM: the physical address of its first frame, and its size in bytes."""

    frame: int
    size: int

    @property
    def end(self) -> int:
        """The first physical address after it."""
        return self.frame + self.size


def runs_of(ram: memoryview) -> list[Run]:
    """The pieces of RAM that are not all zeros, in order."""
    runs: list[Run] = []
    nothing = bytes(PAGE_SIZE)
    for frame in range(0, len(ram), PAGE_SIZE):
        if ram[frame : frame + PAGE_SIZE] == nothing:
            continue
        if runs and frame - runs[-1].end < _GAP:
            runs[-1] = Run(runs[-1].frame, frame + PAGE_SIZE - runs[-1].frame)
        else:
            runs.append(Run(frame, PAGE_SIZE))
    return runs


def restore_runs(
    ram: mmap.mmap, view: memoryview, runs: Iterable[Run], file: BufferedReader, offset: int
) -> None:
    """Fill zeroed RAM, of which ``view`` is a view, with runs stored consecutively at ``offset`` in a file.

    Raises OSError, and ValueError for runs outside RAM.
    """
    for run in runs:
        if not (0 <= run.frame < run.end <= len(view)) or run.frame % PAGE_SIZE:
            raise ValueError("a run outside RAM")
        if not _map_over(ram, run, file.fileno(), offset):
            file.seek(offset)
            if file.readinto(view[run.frame : run.end]) != run.size:
                raise ValueError("the file is too short")
        offset += run.size


def _map_over(ram: mmap.mmap, run: Run, descriptor: int, offset: int) -> bool:
    """Map a piece of a file over a piece of ``ram``, copy-on-write; False if the host cannot."""
    granule = mmap.ALLOCATIONGRANULARITY
    if not PRIVATE or run.frame % granule or offset % granule:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t
    )  # fmt: skip
    at = ctypes.addressof(ctypes.c_char.from_buffer(ram)) + run.frame
    prot, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
    return bool(libc.mmap(at, run.size, prot, flags, descriptor, offset) == at)
