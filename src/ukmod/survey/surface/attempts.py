"""System calls that name what a module implements: each has the kernel ask for a module that is not there."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ukmod.kernel.uapi import (
    AF_ALG,
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    S_IFBLK,
    S_IFCHR,
    SIOCGIFFLAGS,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from ukmod.record import record
from ukmod.survey.surface.drivers import compressors, device_mapper, disk_array, program, sound
from ukmod.survey.surface.generic import family_request, sessions, virtual_ports, virtual_servers
from ukmod.survey.surface.netlink import (
    NESTED,
    NETLINK_GENERIC,
    NETLINK_NETFILTER,
    attribute,
    message,
    nfnetlink,
    send,
    transaction,
)

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

__all__ = ["ATTEMPTS", "DEVICES", "NAME", "SystemCallAttempt"]

NAME: Final = "ukmod"
"""A name that no module has, in whatever family."""
_NAME: Final = NAME.encode() + b"\0"

AF_PHONET, AF_CAN, AF_BLUETOOTH, AF_ATMSVC, _AF_MAX = 35, 29, 31, 20, 46
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_SCTP, IPPROTO_RAW = 1, 6, 132, 255
NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_XFRM = 0, 4, 6
_PROTOCOLS: Final = range(8)
"""Protocols of Bluetooth, CAN and Phonet."""

TIOCSETD: Final = 0x5423
SIOCGIFBR, SIOCGIFVLAN = 0x8940, 0x8982
ATMMPC_CTRL, ATMARPD_CTRL, ATMLEC_CTRL = 0x61D8, 0x61E1, 0x61D0
_IFREQ, _LINE_DISCIPLINES = 40, 30

TCP_CONGESTION, TCP_ULP = 13, 31
IPT_SO_GET_INFO, IPT_SO_GET_REVISION_MATCH = 64, 66
_ARPT_SO_GET_REVISION_TARGET: Final = 99
_XT_GETINFO, _XT_GET_REVISION = struct.Struct("<32s52x"), struct.Struct("<29sB")

DEVICES: Final[Sequence[tuple[int, int, int]]] = (
    *((S_IFCHR, major, 0) for major in (14, 89, 108, 116, 188, 200)),
    *((S_IFCHR, 10, minor) for minor in (184, 229, 236, 250)),
    *((S_IFCHR, 29, 1), (S_IFCHR, 116, 1), (S_IFCHR, 116, 33), (S_IFCHR, 14, 3)),
    *((S_IFBLK, major, 1) for major in (7, 9, 43, 147, 200, 251)),
)
"""Types, majors and minors of device files that exist on some systems: root makes them."""


@record
class SystemCallAttempt:
    """A way to have the kernel ask. ``call`` are the system calls in words, ``work`` makes them.

    ``has_device``: with the files of DEVICES, which not every user can open.
    """

    call: str
    work: Callable[[UserProcess], None]
    has_device: bool = False


def _each(*calls: Callable[[], Any]) -> None:
    """Make calls; an error is what the kernel answers if nobody has such a module."""
    for call in calls:
        with suppress(OSError):
            call()


# Sockets


def _families(p: UserProcess) -> None:
    _each(*(partial(p.socket, family, SOCK_RAW) for family in range(1, _AF_MAX)))


def _protocols(p: UserProcess) -> None:
    for family in (AF_INET, AF_INET6):
        _each(partial(p.socket, family, SOCK_STREAM, IPPROTO_SCTP), partial(p.socket, family, SOCK_DGRAM, 33))
    _each(*(partial(p.socket, AF_NETLINK, SOCK_RAW, protocol) for protocol in range(32)))
    for family, kind in ((AF_BLUETOOTH, SOCK_RAW), (AF_CAN, SOCK_RAW), (AF_PHONET, SOCK_SEQPACKET)):
        _each(*(partial(p.socket, family, kind, protocol) for protocol in _PROTOCOLS))


def _algorithms(p: UserProcess) -> None:
    with suppress(OSError):
        bound = p.socket(AF_ALG, SOCK_SEQPACKET)
        kinds = ("hash", "skcipher", "aead", "rng", NAME)
        _each(*(partial(bound.bind, (kind, name)) for kind in kinds for name in (NAME, f"{NAME}(aes)")))


def _socket_ioctls(p: UserProcess) -> None:
    channel = p.socket(AF_INET, SOCK_DGRAM)
    interface = bytearray(_NAME.ljust(_IFREQ, b"\0"))
    for request in (SIOCGIFBR, SIOCGIFVLAN, SIOCGIFFLAGS):
        _each(partial(channel.ioctl, request, interface))
    with suppress(OSError):
        atm = p.socket(AF_ATMSVC, SOCK_DGRAM, 5)
        _each(*(partial(atm.ioctl, request, 0) for request in (ATMMPC_CTRL, ATMARPD_CTRL, ATMLEC_CTRL)))


def _tcp_options(p: UserProcess) -> None:
    channel = p.socket(AF_INET, SOCK_STREAM)
    _each(*(partial(channel.setsockopt, IPPROTO_TCP, one, _NAME) for one in (TCP_CONGESTION, TCP_ULP)))


def _tables(p: UserProcess) -> None:
    """Ask for tables, matches and targets of iptables, ip6tables and arptables."""
    revision = bytearray(_XT_GET_REVISION.pack(_NAME, 1))
    table = bytearray(_XT_GETINFO.pack(b"filter"))
    for family, level in ((AF_INET, 0), (AF_INET6, 41)):
        channel = p.socket(family, SOCK_RAW, IPPROTO_RAW)
        for option, data in ((IPT_SO_GET_INFO, table), (IPT_SO_GET_REVISION_MATCH, revision)):
            size = bytearray(struct.pack("<I", len(data)))
            _each(partial(p.syscall, "getsockopt", channel.fileno(), level, option, bytearray(data), size))
        if family == AF_INET:
            size = bytearray(struct.pack("<I", len(revision)))
            option = _ARPT_SO_GET_REVISION_TARGET
            _each(partial(p.syscall, "getsockopt", channel.fileno(), 0, option, revision, size))


# Files


def _filesystems(p: UserProcess) -> None:
    _each(partial(p.mount, "none", "/dev", NAME), partial(p.syscall, "fsopen", _NAME, 0))
    _each(partial(p.mount, "none", "/dev", "9p", options=f"trans={NAME}"))


def _line_disciplines(p: UserProcess) -> None:
    terminal = p.open("/dev/ptmx", "r+b")
    numbers = (bytearray(struct.pack("<i", number)) for number in range(1, _LINE_DISCIPLINES))
    _each(*(partial(terminal.ioctl, TIOCSETD, number) for number in numbers))


def _open_devices(p: UserProcess) -> None:
    _each(*(partial(p.open, f"/dev/{NAME}/{number}", "rb") for number in range(len(DEVICES))))


def _schedulers(p: UserProcess) -> None:
    disks = p.listdir("/sys/block")
    _each(*(partial(p.write, f"/sys/block/{disk}/queue/scheduler", NAME.encode()) for disk in disks))


# rtnetlink

_TCM: Final = struct.Struct("<BxxxiIII")
_ROOT, _ALL_PROTOCOLS = 0xFFFF_FFFF, 0x0300
"""TC_H_ROOT, and ETH_P_ALL in the network's order."""
_NEWLINK, _NEWROUTE, _NEWQDISC, _NEWTFILTER, _NEWACTION = 16, 24, 36, 44, 48
_LOOPBACK: Final = 1
_METADATA: Final = (1, 3, 5)
"""IFE_META_SKBMARK, IFE_META_PRIO and IFE_META_TCINDEX: each is a module's."""


def _links(p: UserProcess) -> None:
    kind = attribute(18, attribute(1, _NAME))  # IFLA_LINKINFO, IFLA_INFO_KIND
    send(
        p, NETLINK_ROUTE, message(_NEWLINK, struct.pack("<BxHiII", 0, 0, 0, 0, 0), attribute(3, _NAME), kind)
    )


def _traffic_control(p: UserProcess) -> None:
    qdisc = partial(message, _NEWQDISC, _TCM.pack(0, _LOOPBACK, 0x10000, _ROOT, 0))
    tfilter = partial(message, _NEWTFILTER, _TCM.pack(0, _LOOPBACK, 0, 0x10000, _ALL_PROTOCOLS))
    ematch = attribute(2, attribute(1, struct.pack("<HH", 1, 0)), attribute(2, _ematch()))
    metadata = attribute(6, *(attribute(number) for number in _METADATA))
    ife = attribute(2, attribute(1, bytes(20) + struct.pack("<HH", 1, 0)), metadata)
    send(
        p,
        NETLINK_ROUTE,
        qdisc(attribute(1, _NAME)),
        qdisc(attribute(1, b"fq_codel\0")),
        tfilter(attribute(1, _NAME)),
        tfilter(attribute(1, b"basic\0"), attribute(2, ematch)),
        tfilter(attribute(1, b"basic\0"), attribute(2, attribute(3, attribute(1, attribute(1, _NAME))))),
        tfilter(
            attribute(1, b"basic\0"), attribute(2, attribute(3, attribute(1, attribute(1, b"ife\0"), ife)))
        ),
        message(_NEWACTION, bytes(4), attribute(1, attribute(1, attribute(1, _NAME)))),
        message(_NEWACTION, bytes(4), attribute(1, attribute(1, attribute(1, b"ife\0"), ife))),
    )


def _ematch() -> bytes:
    """A list of one extended match of a kind that does not exist: struct tcf_ematch_hdr."""
    return attribute(1, struct.pack("<HHHH", 0, 99, 0, 0))


def _routes(p: UserProcess) -> None:
    """Ask for each kind of encapsulation."""
    rtm = struct.pack("<BBBBBBBBI", AF_INET, 32, 0, 0, 254, 3, 253, 1, 0)
    to = attribute(1, bytes((10, 0, 0, 1)))
    kinds = [attribute(21, struct.pack("<H", number)) + attribute(22, b"") for number in range(1, 11)]
    send(p, NETLINK_ROUTE, *(message(_NEWROUTE, rtm, to, kind) for kind in kinds))


# Other protocols of netlink


def _sock_diag(p: UserProcess) -> None:
    requests = [struct.pack("<BBBxI", AF_INET, protocol, 0, 0) + bytes(48) for protocol in (6, 17, 132)]
    requests += [struct.pack("<BBxxII", family, 0, 0, 0) + bytes(12) for family in range(1, _AF_MAX)]
    send(p, NETLINK_SOCK_DIAG, *(message(20, one, flags=0x300) for one in requests))


def _generic(p: UserProcess) -> None:
    """Ask for a family by its name: CTRL_CMD_GETFAMILY of the family nlctrl."""
    send(p, NETLINK_GENERIC, family_request(_NAME))


def _xfrm(p: UserProcess) -> None:
    """Add a state for each protocol of IPsec: struct xfrm_usersa_info."""
    address = bytes((10, 0, 0, 1)) + bytes(12)
    algorithms = ((51, 1, b"digest_null"), (50, 2, b"ecb(cipher_null)"), (108, 3, b"deflate"))
    for protocol, kind, name in algorithms:
        identity = address + struct.pack(">IBxxx", 5, protocol)
        state = bytes(56) + identity + address + bytes(64 + 32 + 12)
        state += struct.pack("<IIHBBB7x", 0, 0, AF_INET, 0, 0, 0)
        send(p, NETLINK_XFRM, message(16, state, attribute(kind, name.ljust(64, b"\0"), bytes(4))))


# Netfilter

_CONNTRACK, _IPSET, _NFTABLES, _COMPAT = 1, 6, 10, 11
_NFPROTO_INET, _NFPROTO_ARP, _NFPROTO_BRIDGE = 1, 3, 7


def _subsystems(p: UserProcess) -> None:
    send(p, NETLINK_NETFILTER, *(nfnetlink(number, 1, AF_INET) for number in range(13)))


def _nftables(p: UserProcess) -> None:
    def number(value: int) -> bytes:
        return struct.pack(">I", value)

    def command(kind: int, place: int, *content: bytes) -> bytes:
        return nfnetlink(_NFTABLES, kind, _NFPROTO_INET, attribute(1, b"t\0"), *content, number=place)

    hook = attribute(4 | NESTED, attribute(1, number(0)), attribute(2, number(0)))
    table = command(0, 2)
    chain = command(3, 3, attribute(3, b"a\0"), hook, attribute(7, _NAME))
    plain = command(3, 3, attribute(3, b"b\0"))
    expression = attribute(4 | NESTED, attribute(1 | NESTED, attribute(1, _NAME)))
    rule = command(6, 4, attribute(2, b"b\0"), expression)
    thing = command(18, 3, attribute(2, b"o\0"), attribute(3, number(99)), attribute(4 | NESTED))
    flow = command(22, 3, attribute(2, b"f\0"), attribute(3 | NESTED, hook[4:]))
    batches = ((table, chain), (table, plain, rule), (table, thing), (table, flow))
    send(p, NETLINK_NETFILTER, *(transaction(_NFTABLES, *batch) for batch in batches))


def _compatibility(p: UserProcess) -> None:
    """Ask for matches and targets of the tables' own kinds: ip_tables itself has the alias ipt_icmp."""
    kinds = ((AF_INET, b"icmp\0"), (AF_INET6, b"icmp6\0"), (_NFPROTO_ARP, _NAME), (_NFPROTO_BRIDGE, _NAME))
    for family, name in kinds:
        numbers = [
            attribute(2, struct.pack(">I", 1)) + attribute(3, struct.pack(">I", kind)) for kind in (0, 1)
        ]
        requests = [
            nfnetlink(_COMPAT, 0, family, attribute(1, one), more)
            for one in (name, _NAME)
            for more in numbers
        ]
        send(p, NETLINK_NETFILTER, *requests)


def _sets(p: UserProcess) -> None:
    content = (attribute(1, b"\7"), attribute(2, b"s\0"), attribute(3, _NAME), attribute(4, b"\0"))
    rest = (attribute(5, b"\2"), attribute(7 | NESTED))
    send(p, NETLINK_NETFILTER, nfnetlink(_IPSET, 2, AF_INET, *content, *rest))


def _connections(p: UserProcess) -> None:
    """Make an entry for a connection, with a helper, and with an address translation."""
    ends = attribute(1 | NESTED, attribute(1, bytes((10, 0, 0, 1))), attribute(2, bytes((10, 0, 0, 2))))
    ports = attribute(
        2 | NESTED,
        attribute(1, b"\6"),
        attribute(2, struct.pack(">H", 5)),
        attribute(3, struct.pack(">H", 21)),
    )
    both = attribute(1 | NESTED, ends, ports) + attribute(2 | NESTED, ends, ports)
    lives = attribute(7, struct.pack(">I", 60))
    helper = attribute(5 | NESTED, attribute(1, _NAME))
    translation = attribute(6 | NESTED, attribute(1, bytes((10, 0, 0, 3))))
    entries = (nfnetlink(_CONNTRACK, 0, AF_INET, both, lives, more) for more in (helper, translation))
    send(p, NETLINK_NETFILTER, *entries)


ATTEMPTS: Final[Sequence[SystemCallAttempt]] = (
    SystemCallAttempt("socket(2)", _families),
    SystemCallAttempt("socket(2) with a protocol", _protocols),
    SystemCallAttempt("bind(2) of AF_ALG", _algorithms),
    SystemCallAttempt("ioctl(2) of a socket", _socket_ioctls),
    SystemCallAttempt("setsockopt(2) of TCP", _tcp_options),
    SystemCallAttempt("mount(2), fsopen(2)", _filesystems),
    SystemCallAttempt("ioctl(2), TIOCSETD", _line_disciplines),
    SystemCallAttempt("NETLINK_SOCK_DIAG", _sock_diag),
    SystemCallAttempt("generic netlink, CTRL_CMD_GETFAMILY", _generic),
    SystemCallAttempt("rtnetlink, RTM_NEWLINK", _links),
    SystemCallAttempt("rtnetlink, RTM_NEWQDISC, RTM_NEWTFILTER, RTM_NEWACTION", _traffic_control),
    SystemCallAttempt("rtnetlink, RTM_NEWROUTE", _routes),
    SystemCallAttempt("NETLINK_NETFILTER", _subsystems),
    SystemCallAttempt("NETLINK_NETFILTER, nf_tables", _nftables),
    SystemCallAttempt("NETLINK_NETFILTER, nft_compat", _compatibility),
    SystemCallAttempt("getsockopt(2) of iptables", _tables),
    SystemCallAttempt("NETLINK_NETFILTER, ipset", _sets),
    SystemCallAttempt("NETLINK_NETFILTER, conntrack", _connections),
    SystemCallAttempt("NETLINK_XFRM", _xfrm),
    SystemCallAttempt("generic netlink, IPVS", virtual_servers),
    SystemCallAttempt("generic netlink, l2tp", sessions),
    SystemCallAttempt("generic netlink, openvswitch", virtual_ports),
    SystemCallAttempt("execve(2)", program),
    SystemCallAttempt("ioctl(2), DM_TABLE_LOAD", device_mapper),
    SystemCallAttempt("ioctl(2), RUN_ARRAY", disk_array),
    SystemCallAttempt("ioctl(2), PPPIOCSCOMPRESS", compressors),
    SystemCallAttempt("open(2) of a device", _open_devices, has_device=True),
    SystemCallAttempt("ioctl(2) of a sound device", sound, has_device=True),
    SystemCallAttempt("write(2) to queue/scheduler in /sys", _schedulers),
)
"""Of each system call that asks for a family of names, one that does."""
