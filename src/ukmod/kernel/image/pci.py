"""A PCI bus with only the host bridge, reached by configuration mechanism #1.

PCI Local Bus Specification 3.0, 3.2.2.3.2: an address is written to port 0xcf8, and 0xcfc is a window to the
four bytes there. A function that does not exist reads as all ones, which tells a kernel that the bus is
empty.
"""

from __future__ import annotations

import struct
from typing import Final

CONFIG_ADDRESS: Final = 0xCF8
CONFIG_DATA: Final = 0xCFC
_ENABLE: Final = 1 << 31
_FUNCTION: Final = _ENABLE | 0xFF_FF00
"""The bus, device and function bits of an address; all are 0 for the host bridge."""
_NO_DEVICE: Final = 0xFFFF_FFFF

_HOST_BRIDGE: Final = struct.pack("<HHHHBBBB", 0x8086, 0x1237, 0, 0, 2, 0, 0, 6).ljust(256, b"\0")
"""Intel's 82441FX, as in QEMU's PC: vendor, device, command, status, revision, class."""


class PciConfig:
    """The two I/O port registers of a PCI host bridge."""

    __slots__ = ("address",)
    ports: Final = range(CONFIG_ADDRESS, CONFIG_DATA + 4)

    def __init__(self) -> None:
        self.address = 0

    def load(self, port: int, size: int) -> int:
        """The result of IN of ``size`` bytes."""
        if port < CONFIG_DATA:
            return self._part(self.address, port - CONFIG_ADDRESS, size)
        return self._part(self._register(), port - CONFIG_DATA, size)

    def store(self, port: int, size: int, value: int) -> None:
        """OUT: the address register takes only four bytes at a time; the host bridge is read-only."""
        if port == CONFIG_ADDRESS and size == 4:
            self.address = value

    def _register(self) -> int:
        """The four bytes that the address register selects."""
        if self.address & _FUNCTION != _ENABLE:
            return _NO_DEVICE
        offset = self.address & 0xFC
        return int.from_bytes(_HOST_BRIDGE[offset : offset + 4], "little")

    @staticmethod
    def _part(value: int, offset: int, size: int) -> int:
        return value >> 8 * offset & (1 << 8 * size) - 1
