"""Devices and files of modules, used from Python as a program would use them."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
from collections.abc import Callable
from typing import Any

import pytest
from tests.golden import modules
from tests.kernel.user.conftest import device

from ukmod.errors import LoadError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.uapi import O_APPEND, POLLIN, POLLOUT

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
QUANTA_SET, QUANTA_TELL, QUANTA_GET, QUANTA_QUERY, QUANTA_EXCHANGE = (
    0x4004_7101, 0x7102, 0x8004_7103, 0x7104, 0xC004_7105,
)  # fmt: skip


def test_a_device_is_read_and_written(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("quanta"))
        with k.open("/dev/quanta0", "r+b") as f:
            assert f.write(b"a sentence of its words") == 16  # no more than a quantum
            assert f.tell() == 16
            assert f.write(b"ny words") == 8
            f.seek(0)
            assert f.read(10) == b"a sentence"
            assert f.readall() == b" of itny words"
            assert f.seek(-5, io.SEEK_END) == 19
            assert f.read(100) == b"words"
            assert f.pread(4, 2) == b"sent"
        assert k.read("/dev/quanta1") == ""
        k.rmmod("quanta")
        assert not k.listdir("/dev").count("quanta0")
        assert not k.leaks()
        assert not k.dangling

    in_machine(work)


def test_an_open_device_keeps_its_module(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("quanta"))
        f = k.open("/dev/quanta0")
        with pytest.raises(LoadError) as caught:
            k.rmmod("quanta")
        assert caught.value.errno == errno.EAGAIN
        f.close()
        k.rmmod("quanta")
        with pytest.raises(ValueError, match="closed"):
            f.read(1)

    in_machine(work)


def test_ioctl_takes_numbers_and_buffers(in_machine: InMachine) -> None:
    class Size(ctypes.Structure):
        _fields_ = (("bytes", ctypes.c_int),)

    def work(k: Kernel) -> None:
        k.insmod(device("quanta"), "quantum=100")
        with k.open("/dev/quanta0", "r+b") as f:
            assert f.ioctl(QUANTA_QUERY) == 100
            size = Size(1000)
            assert f.ioctl(QUANTA_EXCHANGE, size) == 0
            assert size.bytes == 100
            word = bytearray(4)
            f.ioctl(QUANTA_GET, word)
            assert int.from_bytes(word, "little") == 1000
            f.ioctl(QUANTA_TELL, 5)
            assert f.ioctl(QUANTA_QUERY) == 5
            for request, argument, error in (
                (QUANTA_SET, (-1).to_bytes(4, "little", signed=True), errno.EINVAL),
                (QUANTA_SET, 0, errno.EFAULT),
                (QUANTA_SET, 0xFFFF_8880_0000_0000, errno.EFAULT),
                (0x1234, 0, errno.ENOTTY),
            ):
                with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                    f.ioctl(request, argument)
                assert caught.value.errno == error

    in_machine(work)


def test_bad_addresses_are_errors_and_no_oops(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("quanta"))
        with k.open("/dev/quanta0", "r+b") as f:
            f.write(b"x")
            f.seek(0)
            for address in (0, 8, 0x7FFF_FFFF_F000, 0xFFFF_8880_0000_0000, 1 << 63, (1 << 64) - 1):
                for call in ("read", "write"):
                    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                        k.process.syscall(call, f.fileno(), address, 1)
                    assert caught.value.errno == errno.EFAULT
        assert not k.oopses

    in_machine(work)


def test_files_of_proc_sysfs_and_debugfs(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("shelf"))
        for title in ("The Trial\n", "Ulysses\n"):
            k.write("/proc/shelf", title)
        assert k.read("/proc/shelf") == "books:\n- The Trial\n- Ulysses\n"
        assert k.read("/sys/kernel/shelf/count") == k.read("/sys/kernel/debug/shelf/count") == "2\n"
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
            k.write("/sys/kernel/shelf/count", "7")
        assert caught.value.errno == errno.EINVAL
        k.write("/sys/kernel/shelf/count", "0")
        assert k.read("/proc/shelf") == "books:\n"
        k.rmmod("shelf")
        with pytest.raises(FileNotFoundError):
            k.read("/proc/shelf")
        assert not k.leaks()
        assert not k.dangling

    in_machine(work)


def test_what_python_keeps_itself_is_read_as_before(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("quanta"), "quantum=7")
        assert k.read("/proc/modules").startswith("quanta ")
        assert k.read("/sys/module/quanta/parameters/quantum") == "7\n"

    in_machine(work)


def test_a_machine_has_the_calls_of_its_process(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.write("/tmp/one", "text")
        k.rename("/tmp/one", "/tmp/two")
        k.link("/tmp/two", "/tmp/three")
        k.truncate("/tmp/two", 2)
        k.chmod("/tmp/two", 0o640)
        k.chown("/tmp/two", 1000, -1)
        found = k.stat("/tmp/three")
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid, found.st_size) == (0o640, 1000, 0, 2)
        k.symlink("three", "/tmp/four")
        assert k.readlink("/tmp/four") == "three"
        for name in ("two", "three", "four"):
            k.unlink(f"/tmp/{name}")
        assert k.listdir("/tmp") == []
        assert k.syscall("getpid") == k.process.pid
        with pytest.raises(FileNotFoundError, match="/tmp/one"):
            k.rename("/tmp/one", "/tmp/two")

    in_machine(work)


def test_the_version_is_the_banner_of_the_image(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        assert k.read("/proc/version") == k.process.read("/proc/version").decode()
        assert "#1 SMP" in k.read("/proc/version")

    in_machine(work)


def test_the_file_system_has_directories_links_and_nodes(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        p = k.process
        p.mkdir("/tmp/d")
        p.write("/tmp/d/file", b"text")
        p.symlink("d/file", "/tmp/link")
        assert p.readlink("/tmp/link") == "d/file"
        assert k.read("/tmp/link") == "text"
        with p.open("/tmp/d/file", "ab") as f:
            f.write(b" and more")
        assert k.stat("/tmp/d/file").st_size == 13
        p.mknod("/tmp/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert k.stat("/tmp/null").st_rdev == os.makedev(1, 3)
        assert p.read("/tmp/null") == b""
        assert sorted(k.listdir("/tmp")) == ["d", "link", "null"]
        p.mkdir("/tmp/mnt")
        p.mount("none", "/tmp/mnt", "tmpfs", options="size=64k")
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
            p.write("/tmp/mnt/large", bytes(100_000))
        assert caught.value.errno == errno.ENOSPC
        p.umount("/tmp/mnt")
        p.unlink("/tmp/d/file")
        p.rmdir("/tmp/d")
        p.unlink("/tmp/link")
        p.unlink("/tmp/null")
        p.rmdir("/tmp/mnt")
        assert k.listdir("/tmp") == []
        assert {"null", "zero", "random", "pts"} <= set(k.listdir("/dev"))
        assert k.read("/proc/self/comm") == "python\n"
        assert "devtmpfs /dev" in k.read("/proc/self/mounts")

    in_machine(work)


def test_sysctls_are_the_files_of_proc(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        assert k.sysctl("net.ipv4.ip_forward") == "0"
        assert k.sysctl("net.ipv4.ip_forward", "1") == "1"
        assert k.read("/proc/sys/net/ipv4/ip_forward") == "1\n"
        assert k.sysctl("kernel.modprobe") == "/sbin/modprobe"
        with pytest.raises(UsageError, match="no such sysctl"):
            k.sysctl("net.ipv4.none")
        with pytest.raises(OSError, match="Invalid argument"):
            k.sysctl("kernel.pid_max", "words")

    in_machine(work)


def test_nothing_of_the_host_is_in_sight(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        assert not {"home", "etc", "usr"} & set(k.listdir("/"))
        with pytest.raises(FileNotFoundError):
            k.open(__file__)

    in_machine(work)


def test_a_pipe_blocks_until_somebody_writes(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))
        with k.open("/dev/conduit", "r+b") as f:
            assert f.poll(POLLIN | POLLOUT) == POLLOUT
            before = k.core.clock.now
            assert f.poll(POLLIN, timeout=2) == 0
            assert 2e9 <= k.core.clock.now - before < 2.1e9
            f.set_blocking(False)
            with pytest.raises(BlockingIOError):
                f.read(1)
            f.set_blocking(True)
            with pytest.raises(TimeoutError, match="still blocks"):
                f.read(1)
            f.write(b"abc")  # the process is at hand again
            assert f.poll(POLLIN) == POLLIN
            assert f.read(10) == b"abc"
        k.rmmod("conduit")
        assert not k.leaks()

    in_machine(work)


def test_pages_of_a_device_are_mapped(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("window"))
        with k.open("/dev/window", "r+b") as f:
            with f.mmap(2 * 4096) as m:  # at once, by remap_pfn_range()
                assert m[:6] == b"kernel"
                m[4096:4100] = b"user"
                assert len(m) == 8192
            f.seek(4096)
            assert f.read(4) == b"user"
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                f.mmap(5 * 4096)
            assert caught.value.errno == errno.EINVAL
        assert k.dmesg().count("window: mapped, 2 pages\n") == k.dmesg().count("window: unmapped\n") == 1
        assert "fault" not in k.dmesg()
        k.rmmod("window")
        assert not k.leaks()
        assert not k.reports

    in_machine(work)


def test_pages_of_a_device_come_in_by_faults(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("window"))
        with k.open("/dev/window", "r+b") as f:
            m = f.mmap(6 * 4096, 4096)
            assert m[:6] == b"kernel"
            m[3 * 4096 : 3 * 4096 + 4] = b"last"
            assert m[3 * 4096 : 3 * 4096 + 4] == b"last"
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                m[4 * 4096 :]
            assert caught.value.errno == errno.EFAULT
            faults = [line.partition("window: ")[2] for line in k.dmesg().splitlines() if " fault " in line]
            assert faults == ["fault on page 0, read", "fault on page 3, write", "fault on page 4, read"]
            # The kernel's own accesses take the same path.
            assert f.pread(4, 3 * 4096) == b"last"
            assert k.process.syscall("read", f.fileno(), m.address + 4096, 6) == 6
            assert k.dmesg().endswith("window: fault on page 1, write\n")
            assert m[4096 : 4096 + 6] == b"kernel"
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                k.process.syscall("read", f.fileno(), m.address + 5 * 4096, 6)
            assert caught.value.errno == errno.EFAULT
            m.close()
        k.rmmod("window")
        assert not k.leaks()
        assert not k.oopses

    in_machine(work)


def test_pages_of_a_device_that_were_locked_go_with_it(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("window"))
        with k.open("/dev/window", "r+b") as f, f.mmap(2 * 4096, 4096) as m:
            k.process.syscall("mlock", m.address, 2 * 4096)
            k.process.syscall("munlock", m.address, 4096)
        k.rmmod("window")
        assert not k.leaks()

    in_machine(work)


def test_a_mapping_keeps_its_module_after_the_file_is_closed(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("window"))
        f = k.open("/dev/window", "r+b")
        m = f.mmap(4096)
        f.close()
        with pytest.raises(LoadError):
            k.rmmod("window")
        with pytest.raises(ValueError, match="step"):
            m[::2]
        with pytest.raises(ValueError, match="hold"):
            m[:2] = b"three"
        m.close()
        k.rmmod("window")

    in_machine(work)


def test_memory_of_vmalloc_is_copied_and_mapped(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("mirror"))
        with k.open("/dev/mirror", "r+b") as f:
            f.write(b"text")
            with f.mmap(3 * 4096) as m:
                assert m[:5] == b"text\0"
                m[8190:8194] = b"over"
                m[-1] = m[0]
                with pytest.raises(IndexError):
                    m[3 * 4096]
            with pytest.raises(ValueError, match="closed"):
                m[:5]
            assert f.pread(4, 8190) == b"over"
            assert f.pread(1, 3 * 4096 - 1) == b"t"
            for wrong in ("text", 4):
                with pytest.raises(TypeError, match="bytes-like"):
                    f.write(wrong)  # type: ignore[arg-type]
            with pytest.raises(OSError, match="Invalid argument"):
                f.mmap(4 * 4096)
        k.rmmod("mirror")
        assert not k.leaks()
        assert not k.oopses

    in_machine(work)


def test_modes_are_those_of_open(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        for mode in ("r", "b", "rwb", "r++b", "q"):
            with pytest.raises(UsageError, match="mode"):
                k.open("/dev/null", mode)
        k.insmod(device("quanta"))
        k.write("/dev/quanta0", "one")
        with k.open("/dev/quanta0", "wb", flags=O_APPEND) as f:
            assert not f.readable()
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                f.read(1)
            assert caught.value.errno == errno.EBADF
        assert k.read("/dev/quanta0") == "one"
        k.open("/dev/quanta0", "wb").close()  # as the device has it, this empties it
        assert k.read("/dev/quanta0") == ""

    in_machine(work)


def test_system_calls_by_name_and_by_number(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        p = k.process
        assert p.syscall("getpid") == p.syscall(39) == p.pid
        names = bytearray(6 * 65)
        p.syscall("uname", names)
        assert names.startswith(b"Linux\0")
        with pytest.raises(UsageError, match="no such system call"):
            p.syscall("frobnicate")
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
            p.syscall("close", 99)
        assert caught.value.errno == errno.EBADF

    in_machine(work)


def test_without_an_image_the_error_says_what_to_give() -> None:
    with Kernel(image=None) as k:
        k.insmod(str(modules()["exporter"]))
        for use in (k.open, k.listdir, k.stat, k.read):
            with pytest.raises(UsageError, match=r"Kernel\(image=\.\.\.\), the vmlinuz of 6\.1\.0-"):
                use("/dev/null")
        assert k.read("/proc/modules").startswith("exporter ")
        with pytest.raises(FileNotFoundError):
            k.read("/proc/none")
