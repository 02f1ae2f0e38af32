"""Strings that vsnprintf() prints by pointer, and the text it prints for an invalid pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.err import is_err
from ukmod.kernel.lib.printf_spec import SMALL, SPECIAL, ZEROPAD, FormatType, Spec, cut, number
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

PAGE_SIZE: Final = 4096
_CSTRING_LIMIT = 1 << 20


def error_string(message: bytes, spec: Spec) -> bytes:
    """A message of at most 16 characters printed in place of a value: error_string()."""
    return cut(message, replace(spec, precision=16) if spec.precision == -1 else spec)


def bad_pointer(pointer: int, spec: Spec) -> bytes | None:
    """The text for a pointer that is certainly invalid, or None: check_pointer().

    Any other invalid pointer faults, here as in the kernel.
    """
    if not pointer:
        return error_string(b"(null)", spec)
    return error_string(b"(efault)", spec) if pointer < PAGE_SIZE or is_err(pointer) else None


def string(k: Core, pointer: int, spec: Spec) -> bytes:
    """``%s``. Reads at most as many bytes as the precision allows, so unterminated arrays can be printed."""
    if (bad := bad_pointer(pointer, spec)) is not None:
        return bad
    return cut(k.memory.cstring(pointer, spec.precision if spec.precision >= 0 else _CSTRING_LIMIT), spec)


def special_hex(value: int, size: int) -> bytes:
    """A number of ``size`` bytes as 0x and all its digits: special_hex_number()."""
    return number(value, Spec(FormatType.NUMBER, SPECIAL | SMALL | ZEROPAD, width=2 + 2 * size, base=16))
