"""I/O ports: whose a port is, and what one reads that is nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

NOBODY: Final = 0xFFFF_FFFF
"""What a load from a port gives that no device decodes, in as many bits as are asked for."""


class Device(Protocol):
    """What answers at some ports."""

    @property
    def ports(self) -> Sequence[int]:
        """The ports that it decodes."""

    def load(self, port: int, size: int) -> int:
        """What IN of ``size`` bytes gives."""

    def store(self, port: int, size: int, value: int) -> None:
        """Take what OUT gives."""


class InterruptMask:
    """One byte of an 8259A: which interrupts are masked. No device interrupts, so the rest is nobody's; but a
    kernel that cannot read back what it wrote here takes the controller, and all ISA interrupts, for absent.
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
        """IN: what the device there says, or all ones."""
        device = self._devices.get(port)
        return NOBODY >> (32 - 8 * size) if device is None else device.load(port, size)

    def store(self, port: int, size: int, value: int) -> None:
        """OUT: what no device decodes is lost."""
        if (device := self._devices.get(port)) is not None:
            device.store(port, size, value)
