"""Whether a file of the host is a program that needs nothing but a kernel."""

from __future__ import annotations

import os
import struct
from typing import Final

_PT_INTERP: Final = 3
_EHDR: Final = struct.Struct("<32xQ14xHH")
"""e_phoff, e_phentsize and e_phnum of an ELF header of 64 bits."""


def is_static(path: str) -> bool:
    """True for an ELF file that needs no program interpreter."""
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:4] != b"\x7fELF":
            return False
        offset, size, count = _EHDR.unpack_from(header)
        kinds = (os.pread(file.fileno(), 4, offset + n * size) for n in range(count))
        return all(int.from_bytes(kind, "little") != _PT_INTERP for kind in kinds)
