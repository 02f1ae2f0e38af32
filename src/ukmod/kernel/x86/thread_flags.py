"""The bits of thread_info.flags that Python's half deals with: arch/x86/include/asm/thread_info.h.

They are macros, which no type information has. Since v6.18 they are those of all architectures,
include/asm-generic/thread_info_tif.h; which of the two a kernel has is read from its code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.types import Types


@record
class ThreadFlags:
    """Masks of thread_info.flags."""

    sigpending: int
    """TIF_SIGPENDING."""
    notify_signal: int
    """TIF_NOTIFY_SIGNAL, since v5.11."""
    need_fpu_load: int
    """TIF_NEED_FPU_LOAD."""


X86: Final = ThreadFlags(1 << 2, 1 << 17, 1 << 14)
GENERIC: Final = ThreadFlags(1 << 1, 1 << 2, 1 << 19)
_LOCK_AND: Final = re.compile(rb"\xf0\x80[\x20-\x23\x25-\x27](.)", re.DOTALL)
"""``lock andb $mask, (register)``: an atomic operation on the lowest byte of the flags."""


def of_image(image: KernelImage) -> ThreadFlags:
    """Return the bits of an image, in which flush_signals() clears TIF_SIGPENDING."""
    address = image.address("flush_signals")
    code = image.read(address, image.symbols.size_at(address)) if address is not None else b""
    cleared = {~mask[0] & 0xFF for mask in _LOCK_AND.findall(code)}
    return GENERIC if cleared == {GENERIC.sigpending} else X86


def of_types(types: Types) -> ThreadFlags:
    """Return the bits of a kernel of which only the types are known: a struct came with the other bits."""
    return GENERIC if types.has("rseq_data") else X86
