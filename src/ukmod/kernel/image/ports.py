"""I/O ports: the device that decodes each port, and reads from ports that no device decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

UNDECODED: Final = 0xFFFF_FFFF
"""The result of reading a port that no device decodes, as many bits as requested."""


class Device(Protocol):
    """A device that answers at some ports."""

    @property
    def ports(self) -> Sequence[int]:
        """The ports it decodes."""

    def load(self, port: int, size: int) -> int:
        """The result of IN of ``size`` bytes."""

    def store(self, port: int, size: int, value: int) -> None:
        """Handle OUT."""


class InterruptMask:
    """The interrupt mask register of an 8259A; its other functions are missing, as no device interrupts.

    A kernel that cannot read back the mask concludes that the controller, and all ISA interrupts, are absent.
    """

    __slots__ = ("mask", "ports")

    def __init__(self, port: int) -> None:
        self.ports = range(port, port + 1)
        self.mask = 0xFF

    def load(self, port: int, size: int) -> int:
        """The mask."""
        del port, size
        return self.mask

    def store(self, port: int, size: int, value: int) -> None:
        """Set the mask."""
        del port, size
        self.mask = value & 0xFF


class Ports:
    """All ports of the machine."""

    __slots__ = ("_devices",)

    def __init__(self, *devices: Device) -> None:
        self._devices = {port: device for device in devices for port in device.ports}

    def load(self, port: int, size: int) -> int:
        """IN: the device's answer, or all ones."""
        device = self._devices.get(port)
        return UNDECODED >> (32 - 8 * size) if device is None else device.load(port, size)

    def store(self, port: int, size: int, value: int) -> None:
        """OUT: ignored if no device decodes the port."""
        if (device := self._devices.get(port)) is not None:
            device.store(port, size, value)
