"""What a process of the machine gets from its system calls."""

from __future__ import annotations

from collections.abc import Callable
from errno import EAGAIN, EEXIST, ENODEV, ENOENT, ENOEXEC, ESRCH
from typing import TypeVar

import pytest
from tests.golden import modules as compiled
from tests.kernel.tasks import kill

from ukmod.kernel.api import Kernel
from ukmod.userland import Process
from ukmod.userland.process import Syscalls

T = TypeVar("T")
SIGKILL = 9


def does(machine: Kernel, work: Callable[[Syscalls], T]) -> T:
    """What ``work`` returns in a process."""
    results: list[T] = []

    def main(process: Process) -> int:
        results.append(work(process.sys))
        return 0

    machine.install("/bin/program", main)
    machine.execute("/bin/program")
    return results[0]


def fails(machine: Kernel, work: Callable[[Syscalls], object]) -> int | None:
    """The errno that ``work`` fails with in a process."""

    def attempt(sys: Syscalls) -> int | None:
        try:
            work(sys)
        except OSError as error:
            return error.errno
        return 0

    return does(machine, attempt)


def load(sys: Syscalls, name: str, params: str = "") -> None:
    sys.finit_module(f"/lib/{name}.ko", compiled()[name].read_bytes(), params, 0)


class TestModules:
    def test_modules_are_loaded_and_removed_by_system_calls(self, machine: Kernel) -> None:
        does(machine, lambda sys: load(sys, "ok_dep"))
        assert "ok_dep" in machine.modules
        does(machine, lambda sys: sys.delete_module("ok_dep", 0))
        assert not machine.modules

    @pytest.mark.parametrize(
        ("name", "errno"), [("ret_enodev", ENODEV), ("needs_missing_symbol", ENOENT), ("ok_dep", 0)]
    )
    def test_errors_of_loading_are_oserrors(self, machine: Kernel, name: str, errno: int) -> None:
        assert fails(machine, lambda sys: load(sys, name)) == errno

    def test_a_second_of_the_name(self, machine: Kernel) -> None:
        does(machine, lambda sys: load(sys, "ok_dep"))
        assert fails(machine, lambda sys: load(sys, "ok_dep")) == EEXIST

    @pytest.mark.parametrize("image", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(4096)])
    def test_what_is_no_module(self, machine: Kernel, image: bytes) -> None:
        assert fails(machine, lambda sys: sys.finit_module("/x", image, "", 0)) == ENOEXEC

    def test_errors_of_unloading(self, machine: Kernel) -> None:
        does(machine, lambda sys: (load(sys, "exporter"), load(sys, "uses_exporter")))
        assert fails(machine, lambda sys: sys.delete_module("exporter", 0)) == EAGAIN
        assert fails(machine, lambda sys: sys.delete_module("none", 0)) == ENOENT

    def test_the_process_is_killed_where_its_module_oopses(self, machine: Kernel) -> None:
        reached: list[int] = []

        def main(process: Process) -> int:
            load(process.sys, "oops", "kind=null_write")
            reached.append(1)
            return 0

        machine.install("/bin/program", main)
        finished = machine.execute("/bin/program")
        assert len(machine.oopses) == 1
        assert (finished.status, reached) == (128 + SIGKILL, [])


class TestFiles:
    def test_proc_and_sys_are_the_kernels_own_files(self, machine: Kernel) -> None:
        assert does(machine, lambda sys: sys.read_proc("/proc/sys/kernel/modprobe")) == "/sbin/modprobe\n"
        does(machine, lambda sys: sys.write_proc("/proc/sys/kernel/modprobe", "/bin/other\n"))
        assert machine.core.requests.modprobe_path == "/bin/other"
        does(machine, lambda sys: load(sys, "ok_dep"))
        assert "ok_dep" in does(machine, lambda sys: sys.list_proc("/sys/module"))

    def test_what_is_not_there(self, machine: Kernel) -> None:
        for work in (
            lambda sys: sys.read_proc("/proc/none"),
            lambda sys: sys.list_proc("/sys/module/none"),
            lambda sys: sys.write_proc("/proc/none", ""),
        ):
            assert fails(machine, work) == ENOENT

    def test_a_parameter_that_cannot_be_read_is_an_error_not_a_crash(self, machine: Kernel) -> None:
        does(machine, lambda sys: load(sys, "params"))
        assert fails(machine, lambda sys: sys.read_proc("/sys/module/params/parameters/hidden")) == ENOENT


class TestTime:
    def test_a_process_sleeps_for_as_long_as_it_asks_at_least(self, machine: Kernel) -> None:
        def work(sys: Syscalls) -> list[int]:
            passed = []
            for nanoseconds in (1, 10**6, 15 * 10**8):
                before = sys.clock()
                sys.nanosleep(nanoseconds)
                passed.append(sys.clock() - before - nanoseconds)
            return passed

        does(machine, lambda sys: sys.getpid())
        too_long = 3 * machine.core.clock.tick
        assert all(0 <= more < too_long for more in does(machine, work))

    def test_a_signal_ends_the_sleep_and_the_process(self, machine: Kernel) -> None:
        machine.install("/bin/sleep", lambda process: process.sys.nanosleep(60 * 10**9) or 0)
        core = machine.core
        statuses: list[int] = []
        machine.start("sh", lambda k: statuses.append(k.processes.run("/bin/sleep", ("sleep",), {})))
        machine.run(1)
        (task,) = (task for task in core.tasks.all() if core.tasks.comm(task) == "sleep")
        kill(core, task)
        machine.run(0.1)
        assert statuses == [9]


class TestProcesses:
    def test_spawn_waits_and_returns_the_status(self, machine: Kernel) -> None:
        machine.install("/bin/false", lambda _: 1)
        assert does(machine, lambda sys: sys.spawn("/bin/false", ("false",), {})) == 0x100
        assert fails(machine, lambda sys: sys.spawn("/bin/none", ("none",), {})) == ENOENT

    def test_killing_an_unknown_pid_is_esrch(self, machine: Kernel) -> None:
        assert fails(machine, lambda sys: sys.kill(30000, 15)) == ESRCH

    def test_release(self, machine: Kernel) -> None:
        assert does(machine, lambda sys: sys.uname_release()) == machine.core.release


class TestKmsg:
    """/dev/kmsg: Documentation/ABI/testing/dev-kmsg."""

    @pytest.mark.parametrize(
        ("text", "priority", "message"),
        [
            ("plain", 1 << 3 | 4, "plain"),
            ("<3>an error", 1 << 3 | 3, "an error"),
            ("<14>informs", 1 << 3 | 6, "informs"),
            ("<30>a daemon's", 3 << 3 | 6, "a daemon's"),
            ("<>nothing is 0", 1 << 3 | 0, "nothing is 0"),
            ("<x>not a level", 1 << 3 | 4, "<x>not a level"),
            ("in <3> the middle", 1 << 3 | 4, "in <3> the middle"),
        ],
    )
    def test_a_level_may_stand_in_front(
        self, machine: Kernel, text: str, priority: int, message: str
    ) -> None:
        """devkmsg_write(): and a facility, but not the kernel's own, for which LOG_USER stands in."""
        does(machine, lambda sys: sys.log(text))
        (line,) = (line for line in machine.dmesg(raw=True).splitlines() if message in line)
        assert int(line[1 : line.index(">")]) == priority
        assert line.endswith(f"] {message}")
