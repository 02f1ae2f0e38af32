"""CRCs by the check values of the catalogue of parametrised CRC algorithms: each of ``123456789``."""

from __future__ import annotations

import zlib

import pytest
from tests.kernel.conftest import Guest

CHECK = b"123456789"


@pytest.mark.parametrize(
    ("name", "arguments", "check"),
    [
        ("crc16", (0,), 0xBB3D),
        ("crc_ccitt", (0,), 0x2189),
        ("crc_ccitt_false", (0xFFFF,), 0x29B1),
        ("crc_itu_t", (0,), 0x31C3),
        ("crc_t10dif", (), 0xD0DB),
        ("crc7_be", (0,), 0x75 << 1),
        ("crc32_be", (0xFFFFFFFF,), 0x0376E6E7),
        ("__crc32c_le", (0xFFFFFFFF,), 0xE3069283 ^ 0xFFFFFFFF),
        ("crc64_be", (0,), 0x6C40DF5F0B497347),
        ("crc64_rocksoft_generic", (0,), 0xAE8B14860A799888),
    ],
)
def test_check_value(guest: Guest, name: str, arguments: tuple[int, ...], check: int) -> None:
    assert guest.call(name, *arguments, CHECK, len(CHECK)) & (1 << 64) - 1 == check


def test_crc32_is_that_of_ethernet(guest: Guest) -> None:
    assert guest.call("crc32_le", 0xFFFFFFFF, CHECK, len(CHECK)) ^ 0xFFFFFFFF == zlib.crc32(CHECK)


def test_crc8_goes_by_the_modules_own_table(guest: Guest) -> None:
    table = guest.put(b"", room=256)
    guest.call("crc8_populate_msb", table, 0x07)
    assert guest.call("crc8", table, CHECK, len(CHECK), 0) == 0xF4


@pytest.mark.parametrize(("name", "start"), [("__crc32c_le", 0xFFFFFFFF), ("crc32c", 0xFFFFFFFF)])
def test_crc32c_has_two_names(guest: Guest, name: str, start: int) -> None:
    assert guest.call(name, start, CHECK, len(CHECK)) == 0xE3069283 ^ 0xFFFFFFFF


def test_crc8_with_the_lowest_bit_first(guest: Guest) -> None:
    """CRC-8/MAXIM-DOW, the 1-Wire bus's; its polynomial is given in reverse."""
    table = guest.put(b"", room=256)
    guest.call("crc8_populate_lsb", table, 0x8C)
    assert guest.call("crc8", table, CHECK, len(CHECK), 0) == 0xA1


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("crc16", 0x1234),
        ("crc_ccitt", 0xFFFF),
        ("crc_ccitt_false", 0x1D0F),
        ("crc_itu_t", 7),
        ("crc_t10dif_update", 0xABCD),
        ("crc7_be", 2),
        ("crc32_le", 1),
        ("crc32_be", 2),
        ("crc32c", 3),
        ("crc64_be", 4),
    ],
)
def test_a_checksum_of_parts_is_that_of_the_whole(guest: Guest, name: str, start: int) -> None:
    first = guest.call(name, start, CHECK, 4) & (1 << 64) - 1
    assert guest.call(name, first, CHECK[4:], 5) == guest.call(name, start, CHECK, 9)


def test_the_update_of_t10dif_begins_where_the_other_begins(guest: Guest) -> None:
    assert guest.call("crc_t10dif_update", 0, CHECK, 9) == guest.call("crc_t10dif", CHECK, 9) == 0xD0DB


@pytest.mark.parametrize(
    ("shift", "update"), [("crc32_le_shift", "crc32_le"), ("__crc32c_le_shift", "__crc32c_le")]
)
@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_a_shift_appends_zero_bytes(guest: Guest, shift: str, update: str, count: int) -> None:
    assert guest.call(shift, 0x12345678, count) == guest.call(update, 0x12345678, bytes(count), count)
