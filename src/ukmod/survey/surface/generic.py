"""System calls to families of generic netlink: each asks for a module by a number or a name in a message."""

from __future__ import annotations

import struct
from contextlib import closing, suppress
from errno import ENOENT
from typing import TYPE_CHECKING, Final

from ukmod.kernel.uapi import AF_INET, AF_NETLINK, MSG_DONTWAIT, SOCK_DGRAM, SOCK_RAW
from ukmod.survey.surface.netlink import (
    ANSWER,
    NESTED,
    NETLINK_GENERIC,
    NETLINK_NETFILTER,
    attribute,
    attributes,
    message,
    nfnetlink,
    send,
)

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

__all__ = ["family_request", "sessions", "virtual_ports", "virtual_servers"]

_NAME: Final = b"ukmod\0"
_CONTROL, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
"""GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME."""
_HEADS: Final = 16 + 4
"""struct nlmsghdr and struct genlmsghdr."""
_SERVICE: Final = struct.Struct("<Hxx4s2sxxI16sII4s")
"""struct ip_vs_service_user, include/uapi/linux/ip_vs.h."""
_IP_VS_SO_SET_ADD: Final = 64 + 1024 + 64 + 2


def _family(p: UserProcess, name: str) -> int:
    """Return the number of a family. Raises OSError if neither the kernel nor a module has it."""
    with closing(p.socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC)) as channel:
        channel.sendto(family_request(name.encode() + b"\0"), (0, 0))
        found = attributes(channel.recv(ANSWER, MSG_DONTWAIT)[_HEADS:]).get(_FAMILY_ID)
    if found is None:
        raise OSError(ENOENT, "no such family of generic netlink", name)
    number: int = struct.unpack("<H", found)[0]
    return number


def family_request(name: bytes) -> bytes:
    """CTRL_CMD_GETFAMILY: the question for a family by its name, which ends with NUL."""
    return _generic(_CONTROL, _GETFAMILY, attribute(_FAMILY_NAME, name))


def _generic(family: int, command: int, *content: bytes, version: int = 1) -> bytes:
    return message(family, struct.pack("<BBH", command, version, 0), *content, flags=0)


def virtual_servers(p: UserProcess) -> None:
    """Add services of IPVS with a scheduler, and a persistence engine, that nobody has.

    The family's module has no alias: it is loaded as what a match of netfilter needs.
    """
    match = attribute(1, b"ipvs\0"), attribute(2, struct.pack(">I", 1)), attribute(3, bytes(4))
    send(p, NETLINK_NETFILTER, nfnetlink(11, 0, AF_INET, *match))
    service = _SERVICE.pack(6, bytes((10, 0, 0, 1)), bytes((0, 80)), 0, _NAME, 0, 0, b"\xff" * 4)
    with suppress(OSError):
        p.socket(AF_INET, SOCK_RAW, 255).setsockopt(0, _IP_VS_SO_SET_ADD, service)
    family = _family(p, "IPVS")
    where = (
        attribute(1, struct.pack("<H", AF_INET)),
        attribute(2, struct.pack("<H", 6)),
        attribute(3, bytes((10, 0, 0, 1)).ljust(16, b"\0")),
        attribute(4, struct.pack(">H", 80)),
        attribute(7, bytes(8)),
        attribute(8, bytes(4)),
        attribute(9, b"\xff" * 4),
    )
    services = (
        attribute(1 | NESTED, *where, attribute(6, _NAME)),
        attribute(1 | NESTED, *where, attribute(6, b"rr\0"), attribute(11, _NAME)),
    )
    send(p, NETLINK_GENERIC, *(_generic(family, 1, one) for one in services))


def sessions(p: UserProcess) -> None:
    """Make a tunnel of L2TP, and in it a session of each type."""
    family = _family(p, "l2tp")
    wire = p.socket(AF_INET, SOCK_DGRAM)
    tunnel = attribute(9, struct.pack("<I", 1)), attribute(10, struct.pack("<I", 1))
    more = (
        attribute(2, struct.pack("<H", 0)),
        attribute(7, b"\3"),
        attribute(23, struct.pack("<I", wire.fileno())),
    )
    session = *tunnel, attribute(11, struct.pack("<I", 1)), attribute(12, struct.pack("<I", 1))
    types = [attribute(1, struct.pack("<H", number)) for number in range(1, 12)]
    requests = [_generic(family, 5, *session, one) for one in types]
    send(p, NETLINK_GENERIC, _generic(family, 1, *tunnel, *more), *requests)


def virtual_ports(p: UserProcess) -> None:
    """Make a datapath of Open vSwitch, and a port of a type that nobody has."""
    name = b"ukmod-dp\0"
    upcall = struct.pack("<I", 0)
    datapath = bytes(4), attribute(1, name), attribute(2, upcall)
    send(p, NETLINK_GENERIC, _generic(_family(p, "ovs_datapath"), 1, *datapath, version=2))
    number = p.socket(AF_INET, SOCK_DGRAM).device_number(name[:-1].decode())
    port = struct.pack("<i", number), attribute(2, struct.pack("<I", 99)), attribute(3, _NAME)
    send(p, NETLINK_GENERIC, _generic(_family(p, "ovs_vport"), 1, *port, attribute(5, upcall)))
