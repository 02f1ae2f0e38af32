"""Relocations: the values of the psABI, and every way a file can lie about them."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError
from ukmod.machine import relocate
from ukmod.machine.relocate import R_32, R_32S, R_64, R_NONE, R_PC32, R_PC64, R_PLT32, RelocationOverflowError

BASE = 0xFFFF_FFFF_C000_0000
SYMBOL = 0xFFFF_FFFF_C000_2000


def rela(offset: int, kind: int, symbol: int = 1, addend: int = 0) -> bytes:
    return struct.pack("<QQq", offset, symbol << 32 | kind, addend)


def applied(entries: bytes, size: int = 16, value: int = SYMBOL) -> bytes:
    section = bytearray(size)
    relocate.apply(section, BASE, entries, [0, value], path="m.ko")
    return bytes(section)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (R_64, struct.pack("<Q", SYMBOL + 4)),
        (R_PC32, struct.pack("<i", 0x2000)),
        (R_PLT32, struct.pack("<i", 0x2000)),
        (R_PC64, struct.pack("<q", 0x2000)),
        (R_32S, struct.pack("<I", SYMBOL + 4 & 0xFFFF_FFFF)),
    ],
)
def test_what_is_stored(kind: int, expected: bytes) -> None:
    data = applied(rela(4, kind, addend=4))
    assert data == bytes(4) + expected + bytes(12 - len(expected))


def test_none_says_nothing_even_out_of_bounds() -> None:
    assert applied(rela(1 << 40, R_NONE, symbol=99)) == bytes(16)


def test_32_bits_without_sign() -> None:
    assert applied(rela(0, R_32), value=0xFFFF_FFFF)[:4] == b"\xff" * 4


@pytest.mark.parametrize(
    ("kind", "value"),
    [(R_32, SYMBOL), (R_32S, 0x8000_0000), (R_PC32, 1 << 40), (R_PLT32, BASE + (1 << 31)), (R_32, 1 << 32)],
)
def test_a_value_that_does_not_fit(kind: int, value: int) -> None:
    with pytest.raises(RelocationOverflowError, match=f"overflow in relocation type {kind} val") as caught:
        applied(rela(0, kind), value=value)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (rela(13, R_32S), "outside of its section"),
        (rela(9, R_64), "outside of its section"),
        (rela((1 << 64) - 4, R_32S), "outside of its section"),
        (rela(0, R_64, symbol=2), "symbol 2, which does not exist"),
        (rela(0, R_64, symbol=0xFFFF_FFFF), "does not exist"),
        (rela(0, 3), "unknown relocation type 3"),
        (rela(0, 0xFFFF_FFFF), "unknown relocation type"),
        (rela(0, R_64) * 2, "existing value is nonzero"),
    ],
)
def test_lies(entry: bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint) as caught:
        applied(entry)
    assert caught.value.path == "m.ko"
    assert caught.value.offset is not None


@given(st.binary(max_size=96), st.integers(0, 64))
def test_no_bytes_do_more_than_be_refused(data: bytes, size: int) -> None:
    section = bytearray(size)
    with contextlib.suppress(FormatError):
        relocate.apply(section, BASE, data[: len(data) // 24 * 24], [0, SYMBOL], path="m.ko")
    assert len(section) == size
