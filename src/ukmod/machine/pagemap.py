"""The pages of a private mapping that this process, or one that it was forked from, has written to.

Linux says so in /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst). A page that was only read is
still the file's, or is not there at all.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Final

_ENTRY: Final = 8
"""The size in bytes of the entry of a page."""
_PRESENT, _SWAPPED, _FILE = 0x80, 0x40, 0x20
"""Bits of an entry's last byte."""
_WRITTEN: Final = bytes(bool(last & (_PRESENT | _SWAPPED)) and not last & _FILE for last in range(256))


def written(memory: mmap.mmap, count: int) -> bytes:
    """A byte for each of the first ``count`` pages of the host: 1 if it was written to, or may have been.

    ``memory`` is a private mapping. Where the host does not tell, each page may have been written to.
    """
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            entries = os.pread(pagemap.fileno(), _ENTRY * count, address // mmap.PAGESIZE * _ENTRY)
    except OSError:
        entries = b""
    if len(entries) != _ENTRY * count:
        return b"\1" * count
    return entries[_ENTRY - 1 :: _ENTRY].translate(_WRITTEN)
