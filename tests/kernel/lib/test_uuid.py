"""UUIDs and GUIDs: lib/uuid.c, RFC 4122."""

from __future__ import annotations

import uuid
from errno import EINVAL

import pytest
from tests.kernel.conftest import Guest

TEXT = b"00112233-4455-6677-8899-aabbccddeeff"


@pytest.mark.parametrize("function", ["uuid_gen", "generate_random_uuid"])
def test_a_random_uuid_is_of_version_4(guest: Guest, function: str) -> None:
    found = {made(guest, function) for _ in range(20)}
    assert len(found) == 20
    for data in found:
        one = uuid.UUID(bytes=data)
        assert (one.version, one.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize("function", ["guid_gen", "generate_random_guid"])
def test_a_random_guid_is_of_version_4_in_microsofts_byte_order(guest: Guest, function: str) -> None:
    found = {made(guest, function) for _ in range(20)}
    assert len(found) == 20
    for data in found:
        one = uuid.UUID(bytes_le=data)
        assert (one.version, one.variant) == (4, uuid.RFC_4122)


def test_uuids_and_guids_differ_in_byte_order(guest: Guest) -> None:
    parsed = uuid.UUID(TEXT.decode())
    buffer = guest.put(b"", room=16)
    assert guest.call_int("uuid_parse", TEXT, buffer) == 0
    assert guest.kernel.memory.read(buffer, 16) == parsed.bytes
    assert guest.call_int("guid_parse", TEXT, buffer) == 0
    assert guest.kernel.memory.read(buffer, 16) == parsed.bytes_le


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (TEXT, True),
        (TEXT.upper(), True),
        (TEXT + b" and more", True),
        (TEXT[:-1], False),
        (TEXT.replace(b"-", b""), False),
        (TEXT.replace(b"a", b"g"), False),
        (b"{" + TEXT + b"}", False),
        (b"", False),
    ],
)
def test_validity_is_decided_by_the_first_36_characters(guest: Guest, text: bytes, valid: bool) -> None:
    buffer = guest.put(b"q" * 16)
    assert guest.call_int("uuid_is_valid", text) == valid
    assert guest.call_int("uuid_parse", text, buffer) == (0 if valid else -EINVAL)
    assert (guest.kernel.memory.read(buffer, 16) == b"q" * 16) != valid, "a refused text stores nothing"


def made(guest: Guest, function: str) -> bytes:
    """The 16 bytes that a generator stores."""
    buffer = guest.put(b"", room=16)
    guest.call(function, buffer)
    return guest.kernel.memory.read(buffer, 16)
