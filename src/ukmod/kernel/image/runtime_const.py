"""Constants that a kernel since v6.12 writes into its own code as it starts: asm/runtime-const.h."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ukmod.kernel.mm.uaccess import USER_END

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_UNSET: Final = struct.pack("<Q", 0x0123_4567_89AB_CDEF)
"""The number in the code that was not written yet."""
_MOST_BYTES: Final = 1 << 16
"""The most bytes that a table of places may have; that of Debian's 6.12 has 500."""


def limit_user_pointers(k: Core, image: MappedImage) -> None:
    """Set USER_PTR_MAX as arch_cpu_finalize_init() does: access_ok() compares with it.

    The image's code has the number itself, modules read the variable.
    """
    image.set("USER_PTR_MAX", USER_END)
    start = image.get("__start_runtime_ptr_USER_PTR_MAX") or 0
    end = image.get("__stop_runtime_ptr_USER_PTR_MAX") or 0
    for at in range(start, min(end, start + _MOST_BYTES), 4):
        place = at + k.memory.s32(at)
        if k.memory.read(place, len(_UNSET)) == _UNSET:
            k.memory.write(place, struct.pack("<Q", USER_END), force=True)
