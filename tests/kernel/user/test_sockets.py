"""Sockets, and the modules that the kernel requests for them."""

from __future__ import annotations

import errno
import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from ukmod.errors import LimitError, PatienceError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.uapi import (
    AF_ALG,
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from ukmod.kernel.user.process import UserProcess
from ukmod.kernel.user.socket import packed, unpacked

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
SIOCSIFFLAGS, IFF_UP, NETLINK_ROUTE = 0x8914, 1, 0
RTM_NEWLINK, RTM_GETLINK, NLM_F_REQUEST, NLM_F_DUMP = 16, 18, 1, 0x300
SOL_SOCKET, SO_TYPE, SO_RCVBUF = 1, 3, 8
SHUT_WR = 1


def sha1(p: UserProcess) -> bytes:
    with p.socket(AF_ALG, SOCK_SEQPACKET) as s:
        s.bind(("hash", "sha1"))
        operation, address = s.accept()
        with operation:
            assert address == b""
            operation.send(b"abc")
            return operation.recv(20)


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_socket_loads_its_family_and_algorithm_for_any_user(in_machine: InMachine, uid: int) -> None:
    def work(k: Kernel) -> None:
        assert k.spawn(sha1, uid=uid).result() == hashlib.sha1(b"abc").digest()
        assert [(request.name, request.result) for request in k.requests] == [
            ("net-pf-38", 0),
            ("algif-hash", 0),
        ]
        assert set(k.modules) == {"af_alg", "algif_hash"}
        k.rmmod("algif_hash")
        k.rmmod("af_alg")
        assert not k.leaks()

    in_machine(work)


def test_an_unknown_family_is_requested_and_then_refused(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        with pytest.raises(OSError, match="not supported") as caught:
            k.socket(12, SOCK_DGRAM)  # DECnet, which this kernel has not
        assert caught.value.errno == 97
        assert [request.name for request in k.requests] == ["net-pf-12"]

    in_machine(work)


def test_datagrams_pass_the_loopback_device(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        with k.socket(AF_INET, SOCK_DGRAM) as a, k.socket(AF_INET, SOCK_DGRAM) as b:
            a.ioctl(SIOCSIFFLAGS, bytearray(struct.pack("16sh14x", b"lo", IFF_UP)))
            b.bind(("127.0.0.1", 7000))
            assert a.sendto(b"hello", ("127.0.0.1", 7000)) == 5
            data, address = b.recvfrom(100)
            assert data == b"hello"
            b.sendto(b"back", address)
            assert a.recv(100) == b"back"
            assert a.getsockname()[1] == address[1]
            assert a.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM.to_bytes(4, "little")
            a.setsockopt(SOL_SOCKET, SO_RCVBUF, 8192)
            assert a.getsockopt(SOL_SOCKET, SO_RCVBUF) == (2 * 8192).to_bytes(4, "little")

    in_machine(work)


def test_a_server_accepts_a_connection(in_machine: InMachine) -> None:
    def serve(p: UserProcess) -> bytes:
        with p.socket(AF_UNIX, SOCK_STREAM) as s:
            s.bind("/tmp/socket")
            s.listen()
            connection, address = s.accept()
            with connection:
                assert address == ""
                return connection.recv(100)

    def work(k: Kernel) -> None:
        server = k.spawn(serve)
        k.run(0.1)
        assert server.blocked == "accept4"
        with k.socket(AF_UNIX, SOCK_STREAM) as s:
            s.connect("/tmp/socket")
            s.send(b"hello")
        assert server.result() == b"hello"

    in_machine(work)


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_a_connection_has_addresses_and_ends_in_each_direction(in_machine: InMachine, family: int) -> None:
    host = "127.0.0.1" if family == AF_INET else "::1"
    many = bytes(range(256)) * 1000

    def serve(p: UserProcess) -> tuple[Any, Any]:
        with p.socket(family, SOCK_STREAM) as s:
            s.bind((host, 7001))
            s.listen()
            connection, peer = s.accept()
            with connection:
                read = b""
                while data := connection.recv(65536):
                    read += data
                assert read == many
                connection.sendall(b"done")
                return peer, connection.getsockname()

    def work(k: Kernel) -> None:
        k.netdev("lo").up()
        server = k.spawn(serve)
        k.run(0.1)
        with k.socket(family, SOCK_STREAM) as s:
            s.connect((host, 7001))
            addresses = s.getsockname(), s.getpeername()
            s.sendall(many)
            s.shutdown(SHUT_WR)
            assert s.recv(100) == b"done"
            assert server.result() == addresses
            assert addresses[1][:2] == (host, 7001)

    in_machine(work)


def test_netlink_lists_the_loopback_device(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        with k.socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) as s:
            s.bind((0, 0))
            s.send(struct.pack("<IHHII16x", 32, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0))
            answer = s.recv(8192)
        assert struct.unpack_from("<H", answer, 4)[0] == RTM_NEWLINK
        assert b"lo\0" in answer

    in_machine(work)


def test_raw_sockets_are_for_privileged_processes(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        with pytest.raises(PermissionError):
            k.spawn(lambda p: p.socket(AF_INET, SOCK_RAW, 1), uid=1000).result()
        k.socket(AF_INET, SOCK_RAW, 1).close()

    in_machine(work)


def test_a_network_device_receives_and_sends_frames(in_machine: InMachine) -> None:
    frame = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x88\xb5" + bytes(range(50))

    def work(k: Kernel) -> None:
        k.modprobe("dummy", "numdummies=1")
        device = k.netdev("dummy0")
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
            device.inject(frame)
        assert caught.value.errno == errno.ENETDOWN
        device.up()
        device.capture()  # the kernel looks for routers
        with k.socket(AF_PACKET, SOCK_RAW, 0x0300) as s:
            s.bind(("dummy0", 3))
            assert s.getsockname()[:2] == ("dummy0", 3)
            device.inject(frame)
            data, (name, protocol, _, _, source) = s.recvfrom(2000)
            assert (data, name, protocol, source) == (frame, "dummy0", 0x88B5, frame[6:12])
            assert device.capture() == []
            s.send(frame)
        assert device.capture() == [frame]
        assert (
            k.read("/sys/class/net/dummy0/statistics/rx_packets") == "0\n"
        )  # its driver counts its own alone
        with pytest.raises(UsageError, match="14 to"):
            device.inject(b"short")
        device.down()
        device.close()
        k.rmmod("dummy")
        assert not k.oopses
        with pytest.raises(OSError, match="No such device"):
            k.netdev("dummy0")

    in_machine(work)


def test_frames_that_lie_or_do_not_end_are_errors(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        device = k.netdev("lo")
        socket = device._socket
        syscall = k.process.syscall

        def lies(text: bytes) -> None:
            """Have recvfrom(2) give this address, as a driver that writes to its frames may."""

            def receive(call: str, *arguments: Any) -> Any:
                if call != "recvfrom":
                    return syscall(call, *arguments)
                size, place, length = arguments[2], *arguments[4:]
                place[: len(text)], length[:] = text, len(text).to_bytes(4, "little")
                return size

            setattr(k.process, "syscall", receive)  # noqa: B010 - a driver that lies

        for text in (b"", b"\x11", b"\x01\0x\0", b"\x02\0" * 4, b"\xff" * 128):
            lies(text)
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                device.capture()
            assert caught.value.errno in (errno.EIO, errno.ENODEV)
        lies(packed(AF_PACKET, (socket.device_number("lo"), 3, 4, 1, b"")))
        k.patience = 0.5
        with pytest.raises((LimitError, PatienceError)):
            device.capture()

    in_machine(work)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (AF_UNIX, "/x"),
        (AF_INET, ("10.0.0.1", 80)),
        (AF_NETLINK, (7, 3)),
        (AF_PACKET, (2, 3, 0, 1, b"abcdef")),
    ],
)
def test_an_address_is_packed_and_unpacked(family: int, address: object) -> None:
    assert unpacked(packed(family, address)) == address


@pytest.mark.parametrize(("family", "address"), [(AF_INET, "10.0.0.1"), (AF_INET, ("x", 1)), (AF_PACKET, 5)])
def test_an_address_of_another_form_is_an_error(family: int, address: object) -> None:
    with pytest.raises(UsageError, match="no address"):
        packed(family, address)
