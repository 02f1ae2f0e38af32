"""System calls whose work is Python's or that concern the machine as a whole."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from errno import EIO
from typing import Any

import pytest

from ukmod.errors import Reboot
from ukmod.kernel.api import Kernel
from ukmod.kernel.time.clock import NSEC_PER_SEC

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
SIGKILL = 9
INIT, KTHREADD = 1, 2
ANONYMOUS, READ_WRITE = 0x22, 3
PAGES = 4


def test_init_and_kthreadd_are_found_and_cannot_be_killed(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        call = k.process.syscall
        for pid in (INIT, KTHREADD):
            assert call("kill", pid, SIGKILL) == 0
            k.run(0.1)
            assert call("kill", pid, 0) == 0
            assert call("getpgid", pid) == 0
            assert call("getsid", pid) == 0
            assert call("tgkill", pid, pid, 0) == 0
            assert call("sched_getscheduler", pid) == 0
            call("close", call("pidfd_open", pid, 0))
        with pytest.raises(ProcessLookupError):
            call("getpgid", 30_000)
        with pytest.raises(ProcessLookupError):
            call("pidfd_open", 30_000, 0)

    in_machine(work)


def test_kernel_threads_are_found_as_long_as_they_live(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        thread = k.core.kthreads.run("late", lambda: k.core.sched.sleep(NSEC_PER_SEC) or 0)
        k.run(0.1)
        k.process.syscall("close", k.process.syscall("pidfd_open", thread.pid, 0))
        k.run(2)
        with pytest.raises(ProcessLookupError):
            k.process.syscall("pidfd_open", thread.pid, 0)

    in_machine(work)


@pytest.mark.parametrize(("command", "text"), [(0x0123_4567, "restarted"), (0xCDEF_0123, "halted")])
def test_reboot_ends_the_machine(in_machine: InMachine, command: int, text: str) -> None:
    def work(k: Kernel) -> None:
        assert k.process.syscall("reboot", 0xFEE1_DEAD, 0x2812_1969, 0, None) == 0  # Ctrl-Alt-Del off
        with pytest.raises(OSError, match="Invalid argument"):
            k.process.syscall("reboot", 1, 2, command, None)
        with pytest.raises(Reboot, match=text):
            k.process.syscall("reboot", 0xFEE1_DEAD, 0x2812_1969, command, None)
        with pytest.raises(Reboot, match=text):
            k.run(1)
        assert "reboot: " in k.dmesg()
        assert not k.core.oopses

    in_machine(work)


def test_pages_are_on_the_only_node_and_stay_there(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        call = k.process.syscall
        at = call("mmap", 0, PAGES * 4096, READ_WRITE, ANONYMOUS, -1, 0)
        assert call("madvise", at, PAGES * 4096, 23) == 0  # MADV_POPULATE_WRITE
        places = (ctypes.c_uint64 * 2)(at, at + 4096)
        status = (ctypes.c_int * 2)(7, 7)
        assert call("move_pages", 0, 2, places, None, status, 0) == 0
        assert list(status) == [0, 0]
        assert call("move_pages", 0, 2, places, (ctypes.c_int * 2)(0, 0), status, 2) == 0
        with pytest.raises(OSError, match="No such device"):
            call("move_pages", 0, 2, places, (ctypes.c_int * 2)(9, 9), status, 2)
        mask = (ctypes.c_uint64 * 1)(1)
        assert call("mbind", at, PAGES * 4096, 2, mask, 2, 0) == 0
        with pytest.raises(OSError, match="Input/output error") as refused:
            call("madvise", at, PAGES * 4096, 101)  # MADV_SOFT_OFFLINE
        assert refused.value.errno == EIO
        assert not k.core.warnings

    in_machine(work)
