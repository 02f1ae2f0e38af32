"""Relocations: the values of the psABI, and every way a file can lie about them."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError
from ukmod.machine import relocate
from ukmod.machine.registers import MASK64
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
    entries = rela(1 << 40, R_NONE, symbol=99) + rela(0, R_32S, addend=1)
    assert applied(entries, value=0) == b"\1" + bytes(15), "and the entries after it count"


@pytest.mark.parametrize(("kind", "width"), [(R_64, 8), (R_PC64, 8), (R_32, 4), (R_32S, 4), (R_PC32, 4)])
def test_the_last_place_of_a_section_is_inside_it(kind: int, width: int) -> None:
    place = 16 - width
    value = 7 + (BASE + place if kind in (R_PC32, R_PC64) else 0)
    assert applied(rela(place, kind), value=value)[place:] == b"\7" + bytes(width - 1)


@pytest.mark.parametrize("kind", [R_64, R_32, R_32S, R_PC32])
def test_an_addend_may_be_negative(kind: int) -> None:
    value = 0x100 + (BASE if kind == R_PC32 else 0)
    assert applied(rela(0, kind, addend=-1), value=value)[:4] == b"\xff\0\0\0"


@pytest.mark.parametrize("kind", [R_64, R_PC64])
def test_any_value_fits_into_64_bits(kind: int) -> None:
    value = 0x0123_4567_89AB_CDEF
    base = 0 if kind == R_64 else BASE
    assert applied(rela(0, kind), value=base + value & MASK64)[:8] == value.to_bytes(8, "little")


@pytest.mark.parametrize("kind", [R_32S, R_PC32, R_PLT32])
@pytest.mark.parametrize("value", [-(1 << 31), -1, (1 << 31) - 1])
def test_32_bits_with_a_sign(kind: int, value: int) -> None:
    base = 0 if kind == R_32S else BASE
    data = applied(rela(0, kind), value=(base + value) & MASK64)
    assert struct.unpack_from("<i", data) == (value,)


def test_32_bits_without_sign() -> None:
    assert applied(rela(0, R_32), value=0xFFFF_FFFF)[:4] == b"\xff" * 4


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (R_32, SYMBOL),
        (R_32, 1 << 32),
        (R_32S, 1 << 31),
        (R_32S, MASK64 - (1 << 31)),
        (R_PC32, 1 << 40),
        (R_PC32, BASE - (1 << 31) - 1),
        (R_PLT32, BASE + (1 << 31)),
    ],
)
def test_a_value_that_does_not_fit(kind: int, value: int) -> None:
    with pytest.raises(RelocationOverflowError, match=f"overflow in relocation type {kind} val") as caught:
        applied(rela(0, kind), value=value)
    relative = kind in (R_PC32, R_PLT32)
    assert (caught.value.kind, caught.value.offset, caught.value.path) == (kind, 0, "m.ko")
    assert caught.value.value == (value - BASE * relative) & MASK64


@pytest.mark.parametrize(
    ("entry", "offset", "complaint"),
    [
        (rela(13, R_32S), 13, "relocation outside of its section of 0x10 bytes"),
        (rela(9, R_64), 9, "outside of its section"),
        (rela((1 << 64) - 4, R_32S), (1 << 64) - 4, "outside of its section"),
        (rela(1, R_64, symbol=2), 1, "symbol 2, which does not exist"),
        (rela(0, R_64, symbol=0xFFFF_FFFF), 0, "does not exist"),
        (rela(2, 3), 2, "unknown relocation type 3"),
        (rela(0, 0xFFFF_FFFF), 0, "unknown relocation type"),
        (rela(8, R_64) * 2, 8, f"invalid relocation target, .* nonzero for type 1, val {SYMBOL:x}"),
    ],
)
def test_lies(entry: bytes, offset: int, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint) as caught:
        applied(entry)
    assert (caught.value.path, caught.value.offset) == ("m.ko", offset)


@given(st.binary(max_size=96), st.integers(0, 64))
def test_no_bytes_do_more_than_be_refused(data: bytes, size: int) -> None:
    section = bytearray(size)
    with contextlib.suppress(FormatError):
        relocate.apply(section, BASE, data[: len(data) // 24 * 24], [0, SYMBOL], path="m.ko")
    assert len(section) == size
