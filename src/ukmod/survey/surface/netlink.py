"""Messages of netlink(7), as far as a request takes them."""

from __future__ import annotations

import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from ukmod.kernel.uapi import AF_NETLINK, MSG_DONTWAIT, SOCK_RAW

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

__all__ = [
    "ANSWER",
    "NESTED",
    "NETLINK_GENERIC",
    "NETLINK_NETFILTER",
    "attribute",
    "attributes",
    "message",
    "nfnetlink",
    "send",
    "transaction",
]

NETLINK_NETFILTER, NETLINK_GENERIC = 12, 16
"""include/uapi/linux/netlink.h"""
NESTED: Final = 0x8000
"""NLA_F_NESTED, include/uapi/linux/netlink.h."""
_REQUEST_ACK, _CREATE = 0x5, 0x400
"""NLM_F_REQUEST with NLM_F_ACK, and NLM_F_CREATE."""
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_HEAD: Final = struct.Struct("<IHHII")
_ATTRIBUTE: Final = struct.Struct("<HH")
_NFGEN: Final = struct.Struct(">BBH")
ANSWER: Final = 1 << 13
"""Room for an answer, in bytes."""


def attribute(kind: int, *content: bytes) -> bytes:
    """A struct nlattr with its content, padded."""
    data = b"".join(content)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the contents of attributes by their kinds, as an answer has them."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind] = data[at + _ATTRIBUTE.size : at + size]
        at += max(size + -size % 4, _ATTRIBUTE.size)
    return found


def message(kind: int, *content: bytes, flags: int = _CREATE, number: int = 1) -> bytes:
    """A struct nlmsghdr with its content: a request that wants an answer, NLM_F_CREATE by default."""
    data = b"".join(content)
    head = _HEAD.pack(_HEAD.size + len(data), kind, _REQUEST_ACK | flags, number, 0)
    return head + data + bytes(-len(data) % 4)


def nfnetlink(subsystem: int, kind: int, family: int, *content: bytes, number: int = 1) -> bytes:
    """A message of NETLINK_NETFILTER to a subsystem: a struct nfgenmsg and its attributes."""
    return message(subsystem << 8 | kind, _NFGEN.pack(family, 0, 0), *content, number=number)


def transaction(subsystem: int, *messages: bytes) -> bytes:
    """Messages of NETLINK_NETFILTER that are carried out together."""
    head = _NFGEN.pack(0, 0, subsystem)
    return b"".join([message(_BATCH_BEGIN, head, flags=0), *messages, message(_BATCH_END, head, flags=0)])


def send(process: UserProcess, protocol: int, *messages: bytes) -> None:
    """Send messages to the kernel one after the other; errors are as good as answers."""
    with suppress(OSError), closing(process.socket(AF_NETLINK, SOCK_RAW, protocol)) as channel:
        for one in messages:
            with suppress(OSError):
                channel.sendto(one, (0, 0))
                channel.recv(ANSWER, MSG_DONTWAIT)
