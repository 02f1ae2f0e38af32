"""Log levels (include/linux/kern_levels.h)."""

from __future__ import annotations

from typing import Final

KERN_ERR: Final = 3
KERN_WARNING: Final = 4
KERN_NOTICE: Final = 5
KERN_INFO: Final = 6
