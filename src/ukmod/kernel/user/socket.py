"""A socket of a process, as in Python's ``socket``. The kernel requests the modules that it needs."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final

from ukmod.errors import UsageError
from ukmod.kernel.uapi import (
    AF_ALG,
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
    O_CLOEXEC,
    O_RDWR,
    SIOCGIFINDEX,
    SIOCGIFNAME,
)
from ukmod.kernel.user.file import PIECE, UserFile

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

_ADDRESS_SIZE: Final = 128
"""struct sockaddr_storage."""
_INET: Final = struct.Struct("!H4s8x")
_INET6: Final = struct.Struct("!HI16s4s")
_NETLINK: Final = struct.Struct("<2xII")
_ALG: Final = struct.Struct("<14sII64s")
_LINK: Final = struct.Struct("<2siHBB8s")
_FAMILY: Final = struct.Struct("<H")
IFREQ: Final = struct.Struct("<16si20x")
"""struct ifreq: a device's name, and a number."""


def _inet(address: tuple[str, int]) -> bytes:
    host, port = address
    return _INET.pack(port, bytes(map(int, host.split("."))))


def _inet6(address: tuple[Any, ...]) -> bytes:
    """The rest of a struct sockaddr_in6: a host and a port, and perhaps flow information and a scope."""
    host, port, flow, scope = (*address, 0, 0)[: max(len(address), 4)]
    return _INET6.pack(port, flow, IPv6Address(host).packed, scope.to_bytes(4, sys.byteorder))


def _link(address: tuple[Any, ...]) -> bytes:
    """The rest of a struct sockaddr_ll, of a tuple that begins with a device's number and a protocol."""
    rest: tuple[Any, ...] = (0, 0, b"")
    device, protocol, kind, hardware, place = address + rest[len(address) - 2 :]
    return _LINK.pack(protocol.to_bytes(2, "big"), device, hardware, kind, len(place), place)


_PACK: Final[dict[int, Callable[[Any], bytes]]] = {
    AF_UNIX: lambda path: os.fsencode(path) + (b"" if path.startswith("\0") else b"\0"),
    AF_INET: _inet,
    AF_INET6: _inet6,
    AF_NETLINK: lambda address: _NETLINK.pack(*address),
    AF_PACKET: _link,
    AF_ALG: lambda address: _ALG.pack(address[0].encode(), 0, 0, address[1].encode()),
}
"""By family: what follows the family in a struct sockaddr."""


def packed(family: int, address: object) -> bytes:
    """A struct sockaddr; bytes are one already. Raises UsageError for an address that the family lacks."""
    if isinstance(address, bytes):
        return address
    try:
        return _FAMILY.pack(family) + _PACK[family](address)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, struct.error) as error:
        text = f"{address!r} is no address of family {family}; give its struct sockaddr as bytes"
        raise UsageError(text) from error


def unpacked(data: bytes) -> Any:
    """The address in a struct sockaddr: a path, or a tuple; the bytes themselves of another, or too short."""
    family, rest = int.from_bytes(data[:2], "little"), data[2:]
    if family == AF_UNIX:
        return os.fsdecode(rest if rest.startswith(b"\0") else rest.partition(b"\0")[0])
    if family == AF_INET and len(rest) >= _INET.size:
        port, host = _INET.unpack_from(rest)
        return ".".join(map(str, host)), port
    if family == AF_INET6 and len(rest) >= _INET6.size:
        port, flow, host, scope = _INET6.unpack_from(rest)
        return str(IPv6Address(host)), port, flow, int.from_bytes(scope, sys.byteorder)
    if family == AF_NETLINK and len(rest) >= _NETLINK.size:
        return _NETLINK.unpack_from(rest)
    if family == AF_PACKET:
        protocol, device, hardware, kind, size, place = _LINK.unpack(
            rest[: _LINK.size].ljust(_LINK.size, b"\0")
        )
        return device, int.from_bytes(protocol, "big"), kind, hardware, place[:size]
    return data


class UserSocket(UserFile):
    """A socket that is open at a descriptor of a process. Each operation is one system call.

    Addresses are those of Python's ``socket``: a path for AF_UNIX, ("127.0.0.1", port) for AF_INET, ("::1",
    port[, flow information[, scope]]) for AF_INET6, (pid, groups) for AF_NETLINK, (type, name) for AF_ALG,
    (device, protocol[, packet type[, hardware type[, hardware address]]]) for AF_PACKET. For other families
    they are a struct sockaddr as bytes.
    """

    def __init__(self, process: UserProcess, descriptor: int, family: int) -> None:
        super().__init__(process, descriptor, f"socket:{family}", access=O_RDWR)
        self.family = family

    def _packed(self, address: object) -> bytes:
        if self.family == AF_PACKET and isinstance(address, tuple) and isinstance(address[0], str):
            address = (self.device_number(address[0]), *address[1:])
        return packed(self.family, address)

    def _unpacked(self, data: bytes) -> Any:
        address = unpacked(data)
        if isinstance(address, tuple) and self.family == AF_PACKET:
            request = bytearray(IFREQ.pack(b"", address[0]))
            self.ioctl(SIOCGIFNAME, request)
            address = (os.fsdecode(IFREQ.unpack(request)[0].rstrip(b"\0")), *address[1:])
        return address

    def device_number(self, name: str) -> int:
        """The number of a network device, by SIOCGIFINDEX. Raises OSError: ENODEV if there is none."""
        request = bytearray(IFREQ.pack(os.fsencode(name), 0))
        self.ioctl(SIOCGIFINDEX, request)
        number: int = IFREQ.unpack(request)[1]
        return number

    def bind(self, address: object) -> None:
        """bind(2)."""
        data = self._packed(address)
        self._call("bind", data, len(data))

    def connect(self, address: object) -> None:
        """connect(2)."""
        data = self._packed(address)
        self._call("connect", data, len(data))

    def listen(self, backlog: int = 128) -> None:
        """listen(2)."""
        self._call("listen", backlog)

    def accept(self) -> tuple[UserSocket, Any]:
        """accept(2): the socket of a new connection, and the address of the other side; b"" for AF_ALG."""
        address, length = bytearray(_ADDRESS_SIZE), _length()
        has_address = self.family != AF_ALG  # whose accept(2) fails with one
        place = (address, length) if has_address else (None, None)
        connection = UserSocket(self._process, self._call("accept4", *place, O_CLOEXEC), self.family)
        return connection, self._unpacked(_cut(address, length) if has_address else b"")

    def shutdown(self, how: int) -> None:
        """shutdown(2): SHUT_RD, SHUT_WR or SHUT_RDWR, by number."""
        self._call("shutdown", how)

    def send(self, data: bytes, flags: int = 0) -> int:
        """send(2): the number of bytes sent."""
        return self._call("sendto", data, len(data), flags, None, 0)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send all bytes, by as many calls of send(2) as it takes."""

        def send() -> None:
            view = memoryview(data).cast("B")
            while view:
                view = view[self.send(bytes(view[:PIECE]), flags) :]

        self._process.run(send)

    def sendto(self, data: bytes, address: object, flags: int = 0) -> int:
        """sendto(2): the number of bytes sent."""
        to = self._packed(address)
        return self._call("sendto", data, len(data), flags, to, len(to))

    def recv(self, size: int, flags: int = 0) -> bytes:
        """recv(2)."""
        data = bytearray(size)
        return bytes(data[: self._call("recvfrom", data, size, flags, None, None)])

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """recvfrom(2): what was received, and the address that it comes from."""
        data, address, length = bytearray(size), bytearray(_ADDRESS_SIZE), _length()
        count = self._call("recvfrom", data, size, flags, address, length)
        return bytes(data[:count]), self._unpacked(_cut(address, length))

    def getsockname(self) -> Any:
        """getsockname(2)."""
        address, length = bytearray(_ADDRESS_SIZE), _length()
        self._call("getsockname", address, length)
        return self._unpacked(_cut(address, length))

    def getpeername(self) -> Any:
        """getpeername(2)."""
        address, length = bytearray(_ADDRESS_SIZE), _length()
        self._call("getpeername", address, length)
        return self._unpacked(_cut(address, length))

    def setsockopt(self, level: int, option: int, value: int | bytes | None) -> None:
        """setsockopt(2); an integer is passed as an int."""
        data = value.to_bytes(4, "little", signed=True) if isinstance(value, int) else value
        self._call("setsockopt", level, option, data, len(data or b""))

    def getsockopt(self, level: int, option: int, size: int = 4) -> bytes:
        """getsockopt(2)."""
        data, length = bytearray(size), bytearray(size.to_bytes(4, "little"))
        self._call("getsockopt", level, option, data, length)
        return _cut(data, length)


def _length() -> bytearray:
    return bytearray(_ADDRESS_SIZE.to_bytes(4, "little"))


def _cut(data: bytearray, length: bytearray) -> bytes:
    return bytes(data[: int.from_bytes(length, "little")])
