"""Which bits of thread_info.flags a kernel has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ukmod.kernel.x86.thread_flags import GENERIC, X86, ThreadFlags, of_image

PUSH, RET = b"\x53", b"\xc3"


def image(code: bytes | None) -> Any:
    """An image with this code of flush_signals()."""
    symbols = SimpleNamespace(size_at=lambda _: len(code or b""))
    address = None if code is None else 0x1000
    return SimpleNamespace(
        address=lambda _: address, symbols=symbols, read=lambda _, size: code and code[:size]
    )


@pytest.mark.parametrize(
    ("clears", "expected"),
    [
        (b"\xf0\x80\x23\xfb", X86),  # lock andb $~4, (%rbx)
        (b"\xf0\x80\x27\xfb", X86),  # lock andb $~4, (%rdi)
        (b"\xf0\x80\x23\xfd", GENERIC),  # lock andb $~2, (%rbx)
        (b"\xf0\x80\x0b\x02", X86),  # lock orb: it sets a bit
        (b"", X86),
    ],
)
def test_the_bit_that_flush_signals_clears_tells(clears: bytes, expected: ThreadFlags) -> None:
    assert of_image(image(PUSH + clears + RET)) == expected


def test_an_image_without_that_function_has_the_older_bits() -> None:
    assert of_image(image(None)) == X86
