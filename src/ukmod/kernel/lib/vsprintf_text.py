"""Strings that vsnprintf() prints by pointer, and what it prints for a pointer that cannot be followed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.printf_spec import SMALL, SPECIAL, ZEROPAD, Kind, Spec, cut, number

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel

PAGE_SIZE: Final = 4096
MAX_ERRNO: Final = 4095
_CSTRING_LIMIT = 1 << 20


def is_err(pointer: int) -> bool:
    """IS_ERR(): whether the pointer is an error number in disguise."""
    return pointer >= (1 << 64) - MAX_ERRNO


def error_string(message: bytes, spec: Spec) -> bytes:
    """A message in place of a value, at most 16 characters of it: error_string()."""
    return cut(message, replace(spec, precision=16) if spec.precision == -1 else spec)


def bad_pointer(pointer: int, spec: Spec) -> bytes | None:
    """What to print for a pointer that is certainly wrong, or None: check_pointer().

    Any other that points nowhere is a fault, here as in the kernel.
    """
    if not pointer:
        return error_string(b"(null)", spec)
    return error_string(b"(efault)", spec) if pointer < PAGE_SIZE or is_err(pointer) else None


def string(k: Kernel, pointer: int, spec: Spec) -> bytes:
    """``%s``. Reads no further than the precision allows, so that unterminated arrays can be printed."""
    if (bad := bad_pointer(pointer, spec)) is not None:
        return bad
    return cut(k.memory.cstring(pointer, spec.precision if spec.precision >= 0 else _CSTRING_LIMIT), spec)


def special_hex(value: int, size: int) -> bytes:
    """A number of ``size`` bytes as 0x and all its digits: special_hex_number()."""
    return number(value, Spec(Kind.NUMBER, SPECIAL | SMALL | ZEROPAD, width=2 + 2 * size, base=16))
