"""The limits of C types (include/linux/limits.h)."""

from __future__ import annotations

from typing import Final

INT_MAX: Final = (1 << 31) - 1
SIZE_MAX: Final = (1 << 64) - 1
