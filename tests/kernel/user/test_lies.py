"""A device whose operations lie: what they return is an error or an end, never memory of the host."""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.kernel.user.conftest import device

from ukmod.errors import LimitError, PatienceError, ProcessError
from ukmod.kernel.api import Kernel
from ukmod.kernel.uapi import AF_INET, AF_NETLINK
from ukmod.kernel.user.file import UserFile
from ukmod.kernel.user.process import _names_in
from ukmod.kernel.user.socket import unpacked
from ukmod.machine.registers import MASK64

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
TOO_MANY = (11, 4097, 1 << 31, 1 << 40, (1 << 63) - 1)
NEGATIVE = (-4096, -5000, -(1 << 40), -(1 << 63))
FRAMES = (0, 0xFEE00, (1 << 18) - 1, 1 << 18, 1 << 36, (1 << 40) - 1, (1 << 52) - 1)
PAGES = (1, 0xFFFF_8880_0000_0000, 0xFFFF_EA00_FFFF_FFC0, 0xDEAD_0000_0000_0100, MASK64)
NOPAGE, RETRY, LOCKED, SIGBUS = 0x100, 0x400, 0x200, 2


def lying(k: Kernel, **values: int) -> UserFile:
    """The open device, which returns or maps this."""
    if "liar" not in k.modules:
        k.insmod(device("liar"))
    for name, value in values.items():
        k.core.memory.set_u64(k.address(f"liar:{name}"), value & MASK64)
    return k.open("/dev/liar", "r+b")


def test_no_more_bytes_are_read_or_written_than_were_asked_for(in_machine: InMachine) -> None:
    calls: tuple[Callable[[UserFile], object], ...] = (
        lambda f: f.read(10),
        lambda f: f.readall(),
        lambda f: f.readinto(bytearray(10)),
        lambda f: f.pread(10, 0),
        lambda f: io.BufferedReader(f, 10).read(10),
        lambda f: f.write(b"0123456789"),
        lambda f: f.write_all(b"0123456789"),
        lambda f: f.pwrite(b"0123456789", 0),
    )

    def work(k: Kernel) -> None:
        for result in (*(number for number in TOO_MANY if number > io.DEFAULT_BUFFER_SIZE), *NEGATIVE):
            for call in calls:
                with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                    call(lying(k, result=result))
                assert caught.value.errno == errno.EIO
        for result in TOO_MANY:
            with pytest.raises(OSError, match="read of 10 bytes is said to have transferred"):
                lying(k, result=result).read(10)

    in_machine(work)


def test_a_file_without_an_end_ends(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        lying(k, result=4096)
        k.patience = 0.3
        with pytest.raises((PatienceError, LimitError)):
            k.read("/dev/liar")

    in_machine(work)


def test_a_write_of_nothing_is_an_error(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        lying(k, result=0)
        with pytest.raises(OSError, match="takes no more") as caught:
            k.write("/dev/liar", "text")
        assert caught.value.errno == errno.EIO

    in_machine(work)


@pytest.mark.parametrize("code", [512, 513, 514, 516])
def test_a_call_is_not_made_again_without_a_signal(in_machine: InMachine, code: int) -> None:
    def work(k: Kernel) -> None:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
            lying(k, result=-code).ioctl(1)
        assert caught.value.errno == code

    in_machine(work)


def test_any_result_of_the_other_calls_is_a_number_or_an_error(in_machine: InMachine) -> None:
    calls: tuple[Callable[[UserFile], object], ...] = (
        lambda f: f.ioctl(1, bytearray(10)),
        lambda f: f.seek(5),
        lambda f: f.poll(timeout=1),
        lambda f: f.fsync(),
        lambda f: f.mmap(4096)[:4],
    )

    def work(k: Kernel) -> None:
        for result in (*TOO_MANY, *NEGATIVE, 0):
            for call in calls:
                try:
                    call(lying(k, result=result))
                except OSError:
                    continue
        assert not k.oopses

    in_machine(work)


@pytest.mark.parametrize("frame", FRAMES, ids=hex)
def test_any_page_frame_may_be_mapped(in_machine: InMachine, frame: int) -> None:
    def work(k: Kernel) -> None:
        try:
            m = lying(k, pfn=frame).mmap(8192)
            assert len(m[:8]) == 8
            m[4090:4100] = b"0123456789"
        except OSError:
            pass
        assert k.spawn(lambda p: p.pid).result() > 0

    in_machine(work)


@pytest.mark.parametrize(
    ("page", "result"),
    [
        *((page, LOCKED) for page in PAGES),
        *((PAGES[0], result) for result in (0, NOPAGE, RETRY, SIGBUS, 0xFFFF_FFFF)),
    ],
)
def test_a_page_fault_may_bring_in_anything(in_machine: InMachine, page: int, result: int) -> None:
    def work(k: Kernel) -> str:
        m = lying(k, page=page).mmap(8192)
        lying(k, result=result)
        k.patience = 0.5
        try:
            assert len(m[:8]) == 8
        except OSError:
            return "EFAULT"
        except ProcessError:
            return "oops"
        except PatienceError:
            return "lockup"
        return "read"

    ended = in_machine(work)
    assert ended == {NOPAGE: "EFAULT", RETRY: "lockup", SIGBUS: "EFAULT"}.get(result, ended)


def test_a_directory_without_an_end_ends(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        process = k.process
        syscall = process.syscall
        entry = struct.pack("<QqHB", 1, 1, 24, 4) + b"name\0"

        def lies(call: str | int, *arguments: Any) -> int:
            if call != "getdents64":
                return syscall(call, *arguments)
            arguments[1][:24] = entry
            return 24

        setattr(process, "syscall", lies)  # noqa: B010 - a file system that lies
        with pytest.raises(LimitError, match="a directory of more than"):
            process.listdir("/tmp")

    in_machine(work)


@pytest.mark.parametrize("length", [0, 18, 19, 26, 0xFFFF])
def test_a_directory_s_damaged_entries_are_an_error(length: int) -> None:
    with pytest.raises(OSError, match="damaged"):
        _names_in(struct.pack("<QqHB", 1, 1, length, 4) + b"name\0\0")
    with pytest.raises(OSError, match="damaged"):
        _names_in(bytes(10))


def test_an_address_that_is_too_short_is_given_as_it_is() -> None:
    for family in (AF_INET, AF_NETLINK):
        data = family.to_bytes(2, "little") + b"\0\0"
        assert unpacked(data) == data
