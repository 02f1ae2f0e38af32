"""Processes whose program is a Python function: blocking, signals, identities, and their end."""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.kernel.user.conftest import device

from ukmod.errors import ProcessError
from ukmod.kernel.api import Kernel
from ukmod.kernel.sighand import SIG_DFL, SIG_IGN
from ukmod.kernel.signal_numbers import SIGCHLD, SIGKILL
from ukmod.kernel.uapi import MAP_ANONYMOUS, MAP_PRIVATE
from ukmod.kernel.user.process import UserProcess

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
F_SETOWN, F_SETFL, FASYNC, O_RDWR = 8, 4, 0o20000, 2
SIGINT, SIGUSR1, SIGIO = 2, 10, 29
CAP_SYS_ADMIN = 21
CLONE_NEWUSER, OVERFLOW_UID = 0x1000_0000, 65534


def test_tasks_are_counted(in_machine: InMachine) -> None:
    """What uptime(1), top(1) and sysinfo(2) say."""

    def work(k: Kernel) -> None:
        waits = k.spawn(lambda p: p.syscall("pause"))
        k.run(0.1)
        forks = int(k.read("/proc/stat").split("processes ")[1].split()[0])
        assert k.read("/proc/loadavg").split()[3:] == [f"0/{threads(k)}", str(waits.pid)]
        waits.kill(9)
        k.run(0.1)
        assert k.read("/proc/loadavg").split()[3] == f"0/{threads(k)}"
        k.spawn(lambda p: None).result()
        assert int(k.read("/proc/stat").split("processes ")[1].split()[0]) == forks + 1
        info = bytearray(112)
        k.syscall("sysinfo", info)
        assert int.from_bytes(info[80:82], "little") == threads(k)

    def threads(k: Kernel) -> int:
        return len([name for name in k.listdir("/proc") if name.isdigit()])

    in_machine(work)


def test_a_reader_is_woken_by_another_process(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))
        reader = k.spawn(lambda p: p.open("/dev/conduit").read(10))
        k.run(0.1)
        assert reader.blocked == "read"
        names = [line.partition("+")[0] for line in reader.stack()]
        assert names == ["conduit_read", "vfs_read", "ksys_read"]
        assert reader.stack()[0].endswith(" [conduit]")
        assert k.read(f"/proc/{reader.pid}/wchan") == "conduit_read"
        assert k.read(f"/proc/{reader.pid}/stack").startswith("[<0>] conduit_read+")
        assert not reader.ended
        writer = k.spawn(lambda p: p.open("/dev/conduit", "wb").write(b"abc"))
        assert writer.result() == 3
        assert reader.result() == b"abc"
        assert reader.blocked == ""
        assert reader.stack() == ()
        assert k.read("/proc/self/wchan") == "0"
        k.rmmod("conduit")
        assert not k.leaks()
        assert not k.dangling

    in_machine(work)


def test_a_writer_waits_for_room(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))

        def write(p: UserProcess) -> int:
            with p.open("/dev/conduit", "wb") as f:
                return sum(f.write(bytes([n]) * 8) for n in range(4))

        writer = k.spawn(write)
        k.run(0.1)
        assert writer.blocked == "write"
        assert k.open("/dev/conduit").read(100) == b"\0" * 8 + b"\1" * 8
        assert writer.result() == 32

    in_machine(work)


def test_a_signal_kills_a_blocked_process_and_its_files_are_closed(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))
        p = k.spawn(lambda p: p.open("/dev/conduit").read(10))
        k.run(0.1)
        p.kill(SIGINT)
        with pytest.raises(ProcessError) as caught:
            p.result()
        assert caught.value.status == SIGINT
        assert k.dmesg().endswith("conduit: released\n")
        k.rmmod("conduit")

    in_machine(work)


def test_a_caught_signal_interrupts_the_call(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))

        def read(p: UserProcess) -> list[int]:
            seen: list[int] = []
            p.signal(SIGUSR1, seen.append)
            with p.open("/dev/conduit") as f, pytest.raises(InterruptedError):
                f.read(10)
            return seen

        p = k.spawn(read)
        k.run(0.1)
        p.kill(SIGUSR1)
        assert p.signals == (SIGUSR1,)
        assert p.result() == [SIGUSR1]

    in_machine(work)


def test_an_ignored_signal_interrupts_nothing(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))
        p = k.spawn(lambda p: p.open("/dev/conduit").read(10))
        k.run(0.1)
        p.kill(SIGCHLD)
        k.run(0.1)
        assert p.blocked == "read"
        p.kill(SIGKILL)
        with pytest.raises(ProcessError):
            p.result()

    in_machine(work)


def test_sigio_reaches_the_owner_of_a_file(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))

        def wait(p: UserProcess) -> list[int]:
            seen: list[int] = []
            p.signal(SIGIO, seen.append)
            with p.open("/dev/conduit") as f:
                f.fcntl(F_SETOWN, p.pid)
                f.fcntl(F_SETFL, FASYNC)
                with pytest.raises(InterruptedError):
                    p.syscall("pause")
                assert f.read(10) == b"x"
            return seen

        p = k.spawn(wait)
        k.run(0.1)
        k.write("/dev/conduit", "x")
        assert p.result() == [SIGIO]
        k.rmmod("conduit")
        assert not k.leaks()

    in_machine(work)


def test_the_kill_system_call_checks_who_sends(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        p = k.spawn(lambda p: p.syscall("pause"))
        other = k.spawn(lambda p: p.syscall("pause"), uid=1000)
        k.run(0.1)
        stranger = k.spawn(lambda q: q.syscall("kill", p.pid, SIGKILL), uid=1000)
        with pytest.raises(PermissionError):
            stranger.result()
        assert k.spawn(lambda q: q.syscall("kill", other.pid, SIGKILL), uid=1000).result() == 0
        assert k.process.syscall("kill", p.pid, SIGKILL) == 0
        for one in (p, other):
            with pytest.raises(ProcessError, match="signal 9"):
                one.result()

    in_machine(work)


def test_an_unprivileged_process_lacks_capabilities(in_machine: InMachine) -> None:
    set_quantum = 0x7102

    def work(k: Kernel) -> None:
        k.insmod(device("quanta"))
        k.process.syscall("chmod", "/dev/quanta0", 0o666)

        def use(p: UserProcess) -> tuple[int, int]:
            try:
                p.open("/dev/quanta0", "r+b").ioctl(set_quantum, 5)
            except PermissionError:
                return p.syscall("getuid"), errno.EPERM
            return p.syscall("getuid"), 0

        assert k.spawn(use, uid=1000).result() == (1000, errno.EPERM)
        assert k.spawn(use, uid=1000, caps=(CAP_SYS_ADMIN,)).result() == (1000, 0)
        assert k.spawn(use, caps=()).result() == (0, errno.EPERM)
        assert k.spawn(use).result() == (0, 0)
        with pytest.raises(PermissionError):
            k.spawn(lambda p: p.open("/dev/quanta1"), uid=1000).result()

        def use_as_its_own_root(p: UserProcess) -> object:
            p.syscall("unshare", CLONE_NEWUSER)
            with pytest.raises(PermissionError):
                p.syscall("delete_module", b"quanta\0", 0)
            return use(p)

        assert k.spawn(use_as_its_own_root, uid=1000).result() == (OVERFLOW_UID, errno.EPERM)

    in_machine(work)


def test_exceptions_of_the_program_are_raised(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        with pytest.raises(ZeroDivisionError):
            k.spawn(lambda p: 1 // (p.pid - p.pid)).result()
        with pytest.raises(FileNotFoundError):
            k.spawn(lambda p: p.open("/none")).result()

    in_machine(work)


def test_processes_have_files_and_memory_of_their_own(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.process.write("/tmp/file", b"text")
        f = k.open("/tmp/file")

        def look(p: UserProcess) -> list[str]:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                p.syscall("read", f.fileno(), bytearray(4), 4)
            assert caught.value.errno == errno.EBADF
            p.syscall("chdir", "/tmp")
            return p.listdir(".")

        assert k.spawn(look).result() == ["file"]
        assert k.process.readlink("/proc/self/cwd") == "/"
        assert f.read() == b"text"

    in_machine(work)


def test_a_process_that_an_oops_kills_gives_its_files_back(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.insmod(device("conduit"))

        def die(p: UserProcess) -> None:
            p.open("/dev/conduit")
            k.core.cpu.call(0)

        p = k.spawn(die)
        with pytest.raises(ProcessError):
            p.result()
        assert k.oopses
        k.rmmod("conduit")

    in_machine(work)


def test_each_process_has_signal_actions_of_its_own(in_machine: InMachine) -> None:
    def action(handler: int) -> bytes:
        return struct.pack("<4Q", handler, 0, 0, 0)

    def work(k: Kernel) -> None:
        before = bytearray(32)
        k.process.syscall("rt_sigaction", SIGINT, action(SIG_IGN), before, 8)
        assert before == action(SIG_DFL)

        def wait(p: UserProcess) -> int:
            mine = bytearray(32)
            p.syscall("rt_sigaction", SIGINT, None, mine, 8)
            assert mine == action(SIG_DFL)
            return p.syscall("pause")

        p = k.spawn(wait)
        k.run(0.1)
        k.process.kill(SIGINT)
        assert k.process.syscall("getpid")  # it ignores the signal
        p.kill(SIGINT)
        with pytest.raises(ProcessError, match="signal 2"):
            p.result()
        assert k.core.sighands.handler(k.core.tasks.kthreadd, SIGINT) == SIG_IGN

    in_machine(work)


def test_a_kernel_thread_works_in_the_memory_of_a_process(in_machine: InMachine) -> None:
    double = 0x6500

    def work(k: Kernel) -> None:
        k.insmod(device("errand"))
        assert k.dmesg().endswith("errand: insmod has its own memory\n")
        with k.open("/dev/errand") as f:
            number = bytearray((21).to_bytes(4, "little"))
            assert f.ioctl(double, number) == 21
            assert int.from_bytes(number, "little") == 42
            fresh = k.process.syscall("mmap", 0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            assert f.ioctl(double, fresh) == 0  # the page comes in while the thread works
            with pytest.raises(OSError, match="Bad address"):
                f.ioctl(double, 16)
        lines = [line.partition("] ")[2] for line in k.dmesg().splitlines()][-3:]
        assert lines == [
            "errand: errand has no memory",
            "errand: now it has the sender's",
            "errand: then none",
        ]
        k.rmmod("errand")
        assert k.dmesg().endswith("errand: rmmod has its own memory\n")
        assert not k.leaks()
        assert not k.oopses

    in_machine(work)


def test_all_of_proc_can_be_read(in_machine: InMachine) -> None:
    endless = {"kmsg", "kcore", "kpagecount", "kpageflags", "kpagecgroup"}

    def work(k: Kernel) -> None:
        for directory in ("/proc", "/proc/self", "/proc/sys/kernel", "/proc/net", "/proc/1"):
            for name in set(k.listdir(directory)) - endless:
                path = f"{directory}/{name}"
                try:
                    if stat.S_ISREG(k.stat(path).st_mode):
                        k.process.read(path)
                except OSError:
                    continue
        assert not k.oopses
        assert not k.warnings
        assert k.read("/proc/self/autogroup") == ""

    in_machine(work)
