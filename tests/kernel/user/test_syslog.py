"""The kernel log, as programs of the emulated machine read it by syslog(2) and from /dev/kmsg."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

READ, READ_ALL, CLEAR, CONSOLE_LEVEL, SIZE_UNREAD = 2, 3, 5, 8, 9
"""SYSLOG_ACTION_, include/linux/syslog.h"""

InMachine = Callable[[Callable[[Kernel], Any]], Any]


def test_dmesg_of_a_program_shows_the_log(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.put("/bin/busybox", "/bin/busybox")
        k.core.printk("a line\nand another\n", 6)
        dmesg = ["/bin/busybox", "dmesg"]
        assert k.exec([*dmesg, "-r"]).stdout.decode() == k.dmesg(raw=True)
        assert k.exec(dmesg).stdout.decode() == k.dmesg()
        assert k.exec([*dmesg, "-c"]).stdout.decode() == k.dmesg()
        assert k.exec(dmesg).stdout == b""
        k.core.printk("later\n", 6)
        assert k.exec(dmesg).stdout.endswith(b"] later\n")
        assert k.exec([*dmesg, "-n", "3"]).status == 0
        assert k.read("/proc/sys/kernel/printk").split()[0] == "3"

    in_machine(work)


def test_a_small_buffer_gets_the_latest_records_that_fit(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        for text in ("first", "second"):
            k.core.printk(f"{text}\n", 6)
        buffer = bytearray(40)
        size = k.process.syscall("syslog", READ_ALL, buffer, len(buffer))
        assert bytes(buffer[:size]).endswith(b"] second\n")
        assert b"first" not in buffer

    in_machine(work)


def test_a_reader_sleeps_until_something_is_printed(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.core.printk("before\n", 6)
        k.process.syscall("syslog", READ, bytearray(1 << 20), 1 << 20)
        assert k.process.syscall("syslog", SIZE_UNREAD, None, 0) == 0
        buffer = bytearray(8)
        reader = k.spawn(lambda p: p.syscall("syslog", READ, buffer, len(buffer)))
        k.run(0.1)
        assert reader.blocked == "syslog"
        k.core.printk("text\n", 6)
        assert reader.result() == len(buffer)  # a part of it
        rest = bytearray(100)
        size = k.process.syscall("syslog", READ, rest, len(rest))
        assert bytes(buffer) + bytes(rest[:size]) == k.core.log.records[-1].dmesg(raw=True).encode() + b"\n"

    in_machine(work)


def test_what_syslog_refuses_is_an_errno(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        def error(*arguments: Any, uid: int = 0) -> str:
            def call(p: Any) -> str:
                try:
                    p.syscall("syslog", *arguments)
                except OSError as refused:
                    return errno.errorcode[refused.errno or 0]
                return ""

            found: str = k.spawn(call, uid=uid).result()
            return found

        k.core.printk("text\n", 6)
        everyone = (READ_ALL, bytearray(100), 100)
        k.sysctl("kernel.dmesg_restrict", "0")
        assert error(*everyone, uid=1000) == ""
        k.sysctl("kernel.dmesg_restrict", "1")
        assert error(*everyone, uid=1000) == "EPERM"
        assert error(CLEAR, None, 0, uid=1000) == "EPERM"
        assert error(*everyone) == ""
        assert error(READ_ALL, None, 100) == "EINVAL"
        assert error(READ_ALL, bytearray(1), -1) == "EINVAL"
        assert error(READ_ALL, 0xFFFF_8880_0000_1000, 100) == "EFAULT"
        assert error(READ_ALL, 0x1000, 100) == "EFAULT"
        assert error(CONSOLE_LEVEL, None, 9) == "EINVAL"
        assert error(11, None, 0) == "EINVAL"
        assert not k.oopses

    in_machine(work)


def test_a_record_of_dev_kmsg_names_its_device(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.core.log.store(b"\x016one \\ \xff\n", subsystem="pci", device="+pci:0000:00:01.0")
        k.core.log.store(b"\x01cnothing to continue\n")
        first, second = k.core.log.records[-2:]
        names = " SUBSYSTEM=pci\n DEVICE=+pci:0000:00:01.0\n"
        with k.open("/dev/kmsg") as f:
            records = [f.read(8192).decode() for _ in k.core.log.records]
        assert records[-2:] == [
            f"6,{first.seq},{first.time // 1000},-;one \\x5c \\xff\n{names}",
            f"4,{second.seq},{second.time // 1000},c;nothing to continue\n",
        ]

    in_machine(work)


def test_a_reader_gets_bytes_that_are_not_text_unchanged(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.core.log.store(b"\x016caf\xe9 \xff\n")
        buffer = bytearray(1 << 17)
        size = k.process.syscall("syslog", READ_ALL, buffer, len(buffer))
        assert bytes(buffer[:size]).endswith(b"] caf\xe9 \xff\n")
        assert k.dmesg().endswith("] caf\\xe9 \\xff\n")

    in_machine(work)


def test_a_sysctl_of_the_log_is_the_images_own(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.sysctl("kernel.printk_devkmsg", "off")
        with pytest.raises(PermissionError):
            k.open("/dev/kmsg", "wb")
        k.sysctl("kernel.printk_devkmsg", "on")
        with k.open("/dev/kmsg", "wb") as f:
            for n in range(20):  # more than the ten in five seconds that go through without "on"
                f.write(f"<12>{n}\n".encode())
        assert k.core.log.lines[-20:] == [str(n) for n in range(20)]

    in_machine(work)
