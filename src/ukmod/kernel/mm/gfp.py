"""Flags of allocations (include/linux/gfp_types.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.vsprintf_flags import gfp_names

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

GFP_HIGHMEM: Final = 0x2
GFP_DMA32: Final = 0x4
GFP_ZERO: Final = 0x100
GFP_DIRECT_RECLAIM: Final = 0x400
GFP_NOWARN: Final = 0x2000
GFP_COMP: Final = 0x4_0000
GFP_HARDWALL: Final = 0x10_0000
"""The names without GFP_KERNEL's kind are the kernel's __GFP_ ones."""
GFP_ATOMIC: Final = 0xA20
GFP_KERNEL: Final = 0xCC0
GFP_USER: Final = GFP_KERNEL | GFP_HARDWALL


def described(k: Core, gfp: int) -> str:
    """The flags as messages of the allocators have them: "%#x(%pGg)"."""
    return f"{gfp:#x}({gfp_names(k, gfp)})"


def may_sleep(gfp: int) -> bool:
    """gfpflags_allow_blocking()."""
    return bool(gfp & GFP_DIRECT_RECLAIM)
