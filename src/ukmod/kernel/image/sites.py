"""The instructions of an image that the kernel itself patches, as its tables list them.

Such an instruction must stay as it is: the kernel checks the bytes that it replaces, and BUG()s if they are
others. Two tables do not count. .altinstructions is applied by alternative_instructions(), and the calls that
__mcount_loc lists are patched by ftrace_init(): neither runs.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Final

from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage

SITE_SIZE: Final = 5
"""The size of a patched instruction in bytes: a call, a jump, or a no-op; some jumps have only 2."""
_TABLES: Final = (
    # name of the table in linker scripts, format of an entry, which begins with a relative address
    ("__jump_table", struct.Struct("<i12x")),
    ("static_call_sites", struct.Struct("<i4x")),
)


def patched_sites(image: KernelImage) -> dict[int, str]:
    """The name of the table that lists an instruction, by the instruction's address."""
    return {address: name for name, entry in _TABLES for address in _addresses(image, name, entry)}


def _addresses(image: KernelImage, name: str, entry: struct.Struct) -> Iterator[int]:
    start = image.symbols.get(f"__start_{name}") or image.symbols.get(f"__start__{name}")
    stop = image.symbols.get(f"__stop_{name}") or image.symbols.get(f"__stop__{name}")
    if not start or not stop or stop <= start:
        return
    table = image.read(start, (stop - start) // entry.size * entry.size)
    for at, (offset,) in zip(range(start, stop, entry.size), entry.iter_unpack(table), strict=False):
        yield at + offset & MASK64


def free_place(sites: Container[int], function: int, size: int, wanted: int) -> int | None:
    """The first offset into a function of ``wanted`` bytes that no site overlaps; None if there is none."""
    for offset in range(size - wanted + 1):
        first = function + offset - SITE_SIZE + 1
        if not any(address in sites for address in range(first, function + offset + wanted)):
            return offset
    return None
