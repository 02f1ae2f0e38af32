"""UUIDs and GUIDs, which differ in the byte order of their first three groups: lib/uuid.c."""

from __future__ import annotations

import re
from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.machine.abi import Bool, CStr, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_TEXT = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
UUID_LENGTH: Final = 16


def parse(text: bytes) -> bytes | None:
    """The 16 bytes of the UUID at the start of ``text``, or None."""
    found = _TEXT.match(text)
    return bytes.fromhex(found.group().replace(b"-", b"").decode()) if found else None


def swap(uuid: bytes) -> bytes:
    """Convert a UUID's bytes to a GUID's, or back."""
    return uuid[3::-1] + uuid[5:3:-1] + uuid[7:5:-1] + uuid[8:]


def stamp(random: bytes) -> bytes:
    """Random bytes marked as a version 4 UUID of variant DCE 1.1."""
    data = bytearray(random)
    data[6] = data[6] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    return bytes(data)


@export("generate_random_uuid", "uuid_gen", native=True)
def uuid_gen(k: Core, uuid: Ptr) -> None:
    """``void uuid_gen(uuid_t *bu)``."""
    k.memory.write(uuid, stamp(k.entropy.bytes(UUID_LENGTH)))


@export("generate_random_guid", "guid_gen", native=True)
def guid_gen(k: Core, guid: Ptr) -> None:
    """``void guid_gen(guid_t *lu)``."""
    k.memory.write(guid, swap(stamp(k.entropy.bytes(UUID_LENGTH))))


@export(native=True)
def uuid_is_valid(k: Core, text: CStr) -> Bool:
    """``bool uuid_is_valid(const char *uuid)``."""
    del k
    return parse(text) is not None


@export(native=True)
def uuid_parse(k: Core, text: CStr, uuid: Ptr) -> Int:
    """``int uuid_parse(const char *uuid, uuid_t *u)``: 0 or -EINVAL."""
    if (data := parse(text)) is None:
        return -EINVAL
    k.memory.write(uuid, data)
    return 0


@export(native=True)
def guid_parse(k: Core, text: CStr, guid: Ptr) -> Int:
    """``int guid_parse(const char *uuid, guid_t *u)``: 0 or -EINVAL."""
    if (data := parse(text)) is None:
        return -EINVAL
    k.memory.write(guid, swap(data))
    return 0


def export_nulls(k: Core) -> None:
    """Export ``uuid_null`` and ``guid_null``."""
    for name in ("uuid_null", "guid_null"):
        k.symbols.add_variable(name, UUID_LENGTH)
