"""Programs in ring 3: what they do, and what becomes of those that are none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.golden import modules
from tests.kernel.user import programs
from tests.kernel.user.conftest import device

from ukmod.errors import PatienceError, ProgramTimeoutError, UsageError
from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
SIGKILL, SIGSEGV = 9, 11
CAP_SYS_ADMIN = 21
PIDS = """\
free: its number 1
free: ended, status 0x1200
free again: its number 1
free again: ended, status 0x1200
init's: EEXIST
0: EINVAL
-1: EINVAL
too high: EINVAL
own: EEXIST
two: EINVAL
none: EINVAL
no count: EINVAL
a session's: EEXIST
nobody: EPERM
nobody, 0: EINVAL
as nobody: ended, status 0
the next are as before: 1
next: ended, status 0
"""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled."""
    return programs.build(tmp_path_factory.mktemp("programs"))


def test_a_program_does_what_it_does_on_the_host(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        for subject in programs.SUBJECTS:
            assert programs.outcome(k, subject) == programs.natively(trial, subject), subject
        assert not k.core.oopses
        assert not k.core.warnings
        assert not k.leaks()

    in_machine(work)


@pytest.mark.parametrize("name", ["tracer", "timers", "filters", "followers", "clones"])
def test_a_program_sees_what_it_sees_on_the_host(in_machine: InMachine, tmp_path: Path, name: str) -> None:
    program = programs.build(tmp_path, name)

    def work(k: Kernel) -> None:
        k.put(program, f"/bin/{name}")
        done = k.exec([f"/bin/{name}"], timeout=30)
        assert (done.status, done.stdout.decode()) == programs.natively(program, "")[:2]
        assert not k.core.oopses
        assert not k.core.warnings
        assert not k.leaks()

    in_machine(work)


def test_clone3_gives_the_pid_that_is_asked_for(in_machine: InMachine, tmp_path: Path) -> None:
    """What the real kernel says: the host may be in a pid namespace, where other numbers are free."""
    program = programs.build(tmp_path, "clones")

    def work(k: Kernel) -> None:
        k.put(program, "/bin/clones")
        assert programs.outcome(k, "pids", "clones") == (0, PIDS, "")
        assert not k.core.oopses
        assert not k.leaks()

    in_machine(work)


def test_threads_do_what_they_do_on_the_host(in_machine: InMachine, tmp_path: Path) -> None:
    threads = programs.build(tmp_path, "threads")

    def work(k: Kernel) -> None:
        k.put(threads, "/bin/threads")
        for subject in programs.THREADS:
            found, expected = programs.outcome(k, subject, "threads"), programs.natively(threads, subject)
            assert found == expected, subject
        assert not [task for task in k.core.tasks.all() if k.core.tasks.comm(task) == "threads"]
        assert not k.core.oopses
        assert not k.core.warnings
        assert not k.leaks()

    in_machine(work)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_user_has_as_many_tasks_as_its_limit_allows(
    in_machine: InMachine, tmp_path: Path, kind: str
) -> None:
    """RLIMIT_NPROC: the program itself is one of 20. What has ended is not counted any longer."""
    program = programs.build(tmp_path, "bombs")

    def work(k: Kernel) -> list[programs.Outcome]:
        k.put(program, "/bin/bombs")
        done = [programs.outcome(k, f"{kind} 20", "bombs") for _ in range(2)]
        assert not k.oopses
        return done

    expected = [0, f"19 {kind}, then Resource temporarily unavailable\n", ""]
    assert in_machine(work) == [expected, expected]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_bomb_ends_with_the_machines_limit(in_machine: InMachine, tmp_path: Path, kind: str) -> None:
    """kernel.threads-max, for root."""
    program = programs.build(tmp_path, "bombs")

    def work(k: Kernel) -> list[programs.Outcome]:
        k.put(program, "/bin/bombs")
        before = len(k.core.tasks.all())
        k.core.tasks.max_threads = before + 30
        done = [programs.outcome(k, kind, "bombs") for _ in range(2)]
        assert not k.oopses
        assert len(k.core.tasks.all()) == before
        return done

    first, second = in_machine(work)
    status, said, _ = first
    assert second == first
    assert (status, said.partition(" ")[2]) == (0, f"{kind}, then Resource temporarily unavailable\n")
    assert int(said.split()[0]) > 20  # others feed its pipes


def test_threads_share_the_device_of_a_module(in_machine: InMachine, tmp_path: Path) -> None:
    threads = programs.build(tmp_path, "threads")

    def work(k: Kernel) -> None:
        k.put(threads, "/bin/threads")
        k.insmod(device("conduit"))
        expected = "written 11\nread 11: to a thread\npolled 1: 0x1\nleft 5\n"
        assert programs.outcome(k, "conduit", "threads") == (0, expected, "")
        k.rmmod("conduit")
        assert not k.leaks()

    in_machine(work)


def test_a_program_uses_devices_of_modules(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        for name in programs.DEVICES:
            k.insmod(device(name))
            status, output, _ = programs.outcome(k, name)
            assert status == 0
            assert output
            k.rmmod(name)
            assert not k.leaks()
        assert "through the window x\n" in output

    in_machine(work)


def test_status_and_signal_are_told_apart(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        done = k.exec(["/bin/trial", "status", "139"])
        assert (done.status, done.signal) == (139, 0)
        done = k.exec(["/bin/trial", "crash"])
        assert (done.status, done.signal) == (139, SIGSEGV)
        assert "trial[" in k.dmesg()
        assert "]: segfault at 8 ip " in k.dmesg()
        assert "error 6 in trial[" in k.dmesg()

    in_machine(work)


def test_what_cannot_be_executed_is_an_errno(in_machine: InMachine, trial: Path, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        for name, content, mode in (
            ("junk", b"this is no program", 0o755),
            ("empty", b"", 0o755),
            ("header", trial.read_bytes()[:64], 0o755),
            ("private", trial.read_bytes(), 0o644),
        ):
            (tmp_path / name).write_bytes(content)
            (tmp_path / name).chmod(mode)
            k.put(tmp_path / name, f"/bin/{name}")
        errors = {}
        for name in ("junk", "empty", "header", "private", "absent", ".", "trial/x"):
            with pytest.raises(OSError, match="bin") as caught:
                k.exec([f"/bin/{name}"])
            errors[name] = errno.errorcode[caught.value.errno or 0]
        assert errors == {
            "junk": "ENOEXEC",
            "empty": "ENOEXEC",
            "header": "ENOEXEC",
            "private": "EACCES",
            "absent": "ENOENT",
            ".": "EACCES",
            "trial/x": "ENOTDIR",
        }
        for argv in ([], ["/bin/trial", "a\0b"], "/bin/trial status 0"):
            with pytest.raises(UsageError):
                k.exec(argv)
        assert k.exec(["/bin/trial", "status", "0"]).status == 0
        assert not k.core.oopses

    in_machine(work)


def test_a_file_that_ends_early_kills_its_process(in_machine: InMachine, trial: Path, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        cut = tmp_path / "cut"
        cut.write_bytes(trial.read_bytes()[:5000])
        cut.chmod(0o755)
        k.put(cut, "/bin/cut")
        assert k.exec(["/bin/cut"]).signal
        assert not k.core.oopses

    in_machine(work)


def test_a_program_that_does_not_end_is_killed_in_time(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        for subject in ("spin", "wait", "die 19"):
            with pytest.raises(TimeoutError, match="2 virtual seconds"):
                k.exec(["/bin/trial", *subject.split()], timeout=2)
        assert not k.core.warnings
        assert "lockup" not in k.dmesg()
        assert not [task for task in k.core.tasks.all() if k.core.tasks.comm(task) in ("trial", "pipe")]

    in_machine(work)


def test_the_timers_of_a_program_end_with_it(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        for subject in ("timers", "timers killed"):
            k.exec(["/bin/trial", *subject.split()])
            k.run(3)
        assert not k.core.oopses
        assert not k.leaks()

    in_machine(work)


def test_patience_ends_with_where_the_program_was(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        k.core.patience = 1
        with pytest.raises(PatienceError, match=r"trial:\d+ was in its own code at 0x4"):
            k.exec(["/bin/trial", "spin"], timeout=1e6)

    in_machine(work)


def test_a_program_has_the_identity_that_it_is_given(in_machine: InMachine, trial: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(trial, "/bin/trial")
        done = k.exec(["/bin/trial", "identity"], uid=1000, gid=7, env={"PATH": "/x"})
        assert done.stdout.decode().splitlines()[:2] == ["uid 1000 1000 gid 7 7", "argument none, PATH /x"]
        assert done.stdout.endswith(b"sethostname -1, Operation not permitted\n")
        root = k.exec(["/bin/trial", "identity", "word"]).stdout
        assert root.startswith(f"uid 0 0 gid 0 0\nargument word, PATH {programs.PATH}\n".encode())
        assert root.endswith(b"sethostname -1, Invalid argument\n")
        assert k.exec(["/bin/trial", "identity"], caps=()).stdout.endswith(b"Operation not permitted\n")
        capable = k.exec(["/bin/trial", "identity"], uid=1000, caps=(CAP_SYS_ADMIN,)).stdout
        assert capable.startswith(b"uid 1000 ")
        assert capable.endswith(b"sethostname -1, Invalid argument\n")

    in_machine(work)


def test_much_input_and_output_pass_through_the_pipes(in_machine: InMachine, trial: Path) -> None:
    text = os.urandom(300_000)

    def work(k: Kernel) -> None:
        k.put("/bin/busybox", "/bin/busybox")
        assert k.exec(["/bin/busybox", "cat"], stdin=text).stdout == text

    in_machine(work)


def test_a_shell_runs_commands(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.put("/bin/busybox", "/bin/busybox")
        k.process.symlink("busybox", "/bin/sh")
        script = "echo a; busybox cat /proc/version | busybox wc -l; (exit 3) || echo $?; busybox ps; exit 4"
        done = k.exec(["/bin/sh", "-c", script])
        assert done.status == 4
        assert done.stderr == b""
        lines = done.stdout.decode().splitlines()
        assert lines[:3] == ["a", "1", "3"]
        assert any(line.endswith(" busybox ps") for line in lines)
        assert not k.leaks()
        assert not k.core.oopses
        assert len(k.core.tasks.all()) < 20

    in_machine(work)


def test_what_a_killed_program_has_started_is_killed(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.put("/bin/busybox", "/bin/busybox")
        k.process.symlink("busybox", "/bin/sh")
        commands = "echo so; echo far >&2; busybox sleep 1000 & busybox sleep 1000"
        with pytest.raises(TimeoutError) as error:
            k.exec(["/bin/sh", "-c", commands], timeout=1)
        assert isinstance(error.value, ProgramTimeoutError)
        assert (error.value.stdout, error.value.stderr) == (b"so\n", b"far\n")
        assert not [task for task in k.core.tasks.all() if k.core.tasks.comm(task) in ("sh", "busybox")]

    in_machine(work)


def test_programs_need_an_image(trial: Path) -> None:
    with Kernel(image=None) as k:
        k.insmod(str(modules()["exporter"]))
        with pytest.raises(UsageError, match="vmlinuz"):
            k.exec([str(trial)])
