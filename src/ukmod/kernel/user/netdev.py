"""A network device, from the wire's side: frames that it receives, and those that it sends."""

from __future__ import annotations

import os
from errno import EIO, ENETDOWN, ENOBUFS
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError, UsageError
from ukmod.kernel.mm.gfp import GFP_ATOMIC
from ukmod.kernel.uapi import (
    AF_PACKET,
    ETH_HLEN,
    ETH_P_ALL,
    IFF_UP,
    MSG_DONTWAIT,
    PACKET_OUTGOING,
    SIOCGIFFLAGS,
    SIOCSIFFLAGS,
    SOCK_RAW,
)
from ukmod.kernel.user.socket import IFREQ

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

_LARGEST: Final = 65_550
"""Bytes of a frame."""


class UserNetDevice:
    """A network device of the machine. Raises OSError: ENODEV if there is none of that name.

    Frames that it sends are kept from the moment on at which this object is made.
    """

    def __init__(self, process: UserProcess, name: str) -> None:
        self._process = process
        self._socket = process.socket(AF_PACKET, SOCK_RAW, ETH_P_ALL << 8)
        self.name = name
        self.number = self._socket.device_number(name)
        """Its ifindex."""
        self._socket.bind((self.number, ETH_P_ALL))

    def __repr__(self) -> str:
        return f"<UserNetDevice {self.name}>"

    @property
    def flags(self) -> int:
        """Its IFF_ flags."""
        request = bytearray(IFREQ.pack(os.fsencode(self.name), 0))
        self._socket.ioctl(SIOCGIFFLAGS, request)
        flags: int = IFREQ.unpack(request)[1] & 0xFFFF
        return flags

    def up(self) -> None:
        """ip link set NAME up: its driver's ndo_open() is called."""
        self._set_flags(self.flags | IFF_UP)

    def down(self) -> None:
        """ip link set NAME down."""
        self._set_flags(self.flags & ~IFF_UP)

    def _set_flags(self, flags: int) -> None:
        self._socket.ioctl(SIOCSIFFLAGS, bytearray(IFREQ.pack(os.fsencode(self.name), flags)))

    def inject(self, frame: bytes) -> None:
        """Have the device receive an Ethernet frame, by netif_rx().

        Raises OSError: ENETDOWN if it is down, ENOBUFS if the frame is dropped; UsageError for no frame.
        """
        if not ETH_HLEN <= len(frame) <= _LARGEST:
            raise UsageError(f"a frame has {ETH_HLEN} to {_LARGEST} bytes", subject=f"{len(frame)} bytes")
        if not self.flags & IFF_UP:
            raise OSError(ENETDOWN, os.strerror(ENETDOWN), self.name)
        if self._process.run(lambda: self._receive(bytes(frame))):
            raise OSError(ENOBUFS, os.strerror(ENOBUFS), self.name)

    def _receive(self, frame: bytes) -> int:
        k = self._process.core

        def call(function: str, *arguments: int) -> int:
            return k.cpu.call(k.symbols.address(function), *arguments)

        device = call("dev_get_by_index_rcu", k.symbols.address("init_net"), self.number)
        buffer = call("__netdev_alloc_skb", device, len(frame), GFP_ATOMIC) if device else 0
        if not buffer:
            return ENOBUFS
        k.memory.write(call("skb_put", buffer, len(frame)), frame)
        protocol = call("eth_type_trans", buffer, device)
        k.memory.set_u16(buffer + k.types.offset("sk_buff", "protocol"), protocol & 0xFFFF)
        return call("netif_rx", buffer) & 0xFFFF_FFFF

    def capture(self) -> list[bytes]:
        """The frames that the device was given to send since the last call, or since this object was made.

        Raises OSError, and LimitError for more bytes than the machine has RAM.
        """
        return self._process.run(self._sent)

    def _sent(self) -> list[bytes]:
        frames: list[bytes] = []
        room = self._process.core.memory.size
        while True:
            try:
                frame, address = self._socket.recvfrom(_LARGEST, MSG_DONTWAIT)
            except BlockingIOError:
                return frames
            except OSError as error:
                if error.errno != ENETDOWN:  # it is reported once
                    raise
                continue
            if not isinstance(address, tuple):  # whatever the driver has done to its frame
                raise OSError(EIO, "a frame is said to come from no device", self.name)
            room -= len(frame)
            if room < 0:
                raise LimitError("frames without an end, or more than the machine has RAM", subject=self.name)
            if address[2] == PACKET_OUTGOING:
                frames.append(frame)

    def close(self) -> None:
        """Keep no more frames."""
        self._socket.close()
