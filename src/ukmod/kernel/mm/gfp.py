"""Flags of allocations (include/linux/gfp_types.h)."""

from __future__ import annotations

from typing import Final

GFP_NOWARN: Final = 0x2000
GFP_ATOMIC: Final = 0xA20
GFP_KERNEL: Final = 0xCC0
