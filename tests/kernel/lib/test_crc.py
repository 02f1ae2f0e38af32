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
