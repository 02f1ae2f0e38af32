"""Pointers that are error numbers: include/linux/err.h."""

from __future__ import annotations

from typing import Final

MAX_ERRNO: Final = 4095


def is_err(pointer: int) -> bool:
    """IS_ERR(): True if the pointer is an encoded error number."""
    return pointer >= (1 << 64) - MAX_ERRNO
