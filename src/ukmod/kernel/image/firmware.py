"""The firmware of the empty machine: ACPI tables of a PC without devices, and its name in SMBIOS.

The machine is "hardware-reduced" (ACPI 6.5, 4.1): no fixed registers need to be emulated, and the namespace
contains only what the specification predefines. Thus the image's own interpreter runs, drivers can register
on the ACPI bus, and no device is found.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ukmod.machine.memory import PAGE_SIZE, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

BIOS: Final = 0xF_0000
"""The physical address of the area in which a PC's BIOS leaves its tables."""
BIOS_DATE: Final = "04/01/2014"
"""The date of QEMU's BIOS: recent enough that kernels apply no workarounds for old firmware."""
_OEM: Final = b"UKMOD "
_OEM_TABLE: Final = b"EMPTY PC"
_HEADER: Final = struct.Struct("<4sIBB6s8sI4sI")
_RSDP: Final = struct.Struct("<8sB6sBIIQB3x")
_FADT_SIZE: Final = 276
_FADT_FLAGS, _FADT_X_DSDT = 112, 140
_HW_REDUCED_ACPI: Final = 1 << 20
_LOCAL_APIC: Final = struct.pack("<IIBBBBI", 0xFEE0_0000, 0, 0, 8, 0, 0, 1)
"""The body of the MADT: the address of local APICs, and the entry of the only CPU."""


def _checksum(data: bytes | bytearray) -> int:
    """The byte that makes the sum of all bytes 0."""
    return -sum(data) & 0xFF


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A system description table (ACPI 6.5, 5.2.6)."""
    length = _HEADER.size + len(body)

    def header(checksum: int) -> bytes:
        return _HEADER.pack(signature, length, revision, checksum, _OEM, _OEM_TABLE, 1, b"UKMO", 1)

    return header(_checksum(header(0) + body)) + body


def _fadt(dsdt: int) -> bytes:
    """The fixed description table (5.2.9), revision 6."""
    body = bytearray(_FADT_SIZE - _HEADER.size)
    struct.pack_into("<I", body, _FADT_FLAGS - _HEADER.size, _HW_REDUCED_ACPI)
    struct.pack_into("<Q", body, _FADT_X_DSDT - _HEADER.size, dsdt)
    return _table(b"FACP", 6, bytes(body))


def _rsdp(xsdt: int) -> bytes:
    """The root pointer (5.2.5.3): its first 20 bytes have a checksum of their own."""

    def pointer(first: int, whole: int) -> bytes:
        return _RSDP.pack(b"RSD PTR ", first, _OEM, 2, 0, _RSDP.size, xsdt, whole)

    first = _checksum(pointer(0, 0)[:20])
    return pointer(first, _checksum(pointer(first, 0)))


def acpi_tables(physical: int) -> bytes:
    """All tables as placed at this physical address; the root pointer comes first."""
    data = bytearray(64)
    places = {}
    for name, table in (("dsdt", _table(b"DSDT", 2, b"")), ("madt", _table(b"APIC", 4, _LOCAL_APIC))):
        places[name] = physical + len(data)
        data += table
    places["fadt"] = physical + len(data)
    data += _fadt(places["dsdt"])
    xsdt = physical + len(data)
    data += _table(b"XSDT", 1, struct.pack("<2Q", places["fadt"], places["madt"]))
    root = _rsdp(xsdt)
    data[: len(root)] = root
    return bytes(data)


def _structure(kind: int, handle: int, body: bytes, *strings: str) -> bytes:
    """An SMBIOS structure (DSP0134 3.7, 6.1): a formatted part, and strings that it refers to by number."""
    text = b"".join(string.encode() + b"\0" for string in strings) or b"\0"
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + text + b"\0"


def smbios(physical: int) -> bytes:
    """The entry point (5.2.1), which a BIOS leaves at 0xf0000, followed directly by the tables."""
    structures = [
        _structure(0, 0, struct.pack("<BBHBBQ2s4B", 1, 2, 0xF000, 3, 0, 1 << 3, b"\0\0", 1, 0, 255, 255),
                   "ukmod", "1.0", BIOS_DATE),
        _structure(1, 1, struct.pack("<4B16sB", 1, 2, 3, 0, bytes(16), 6), "ukmod", "emulated PC", "1"),
        _structure(3, 2, struct.pack("<9B", 1, 1, 0, 0, 0, 3, 3, 3, 2), "ukmod"),
        _structure(127, 3, b""),
    ]  # fmt: skip
    table = b"".join(structures)
    largest = max(map(len, structures))
    inner = bytearray(struct.pack("<5sBHIHB", b"_DMI_", 0, len(table), physical + 32, len(structures), 0x28))
    inner[5] = _checksum(inner)
    entry = bytearray(struct.pack("<4sBBBBHB5s", b"_SM_", 0, 31, 2, 8, largest, 0, bytes(5)) + inner)
    entry[4] = _checksum(entry)
    return bytes(entry).ljust(32, b"\0") + table


def install(k: Core, image: MappedImage) -> range:
    """Put the tables into RAM and pass them to the image; returns their physical addresses."""
    size = page_align(len(acpi_tables(0)))
    physical = k.memory.alloc_frames(size // PAGE_SIZE, PAGE_SIZE)
    tables = acpi_tables(physical)
    k.memory.view[physical : physical + len(tables)] = tables
    k.memory.map_direct(physical, size)
    bios = smbios(BIOS)
    k.memory.view[BIOS : BIOS + len(bios)] = bios
    params = image.get("boot_params")
    if params is not None and k.types.has("boot_params", "acpi_rsdp_addr"):
        at = params + k.types.offset("boot_params", "acpi_rsdp_addr")
        k.memory.write(at, physical.to_bytes(8, "little"), force=True)
    return range(physical, physical + size)
