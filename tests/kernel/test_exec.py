"""Processes: fork(), execve() and wait4() as far as usermode helpers need them (fs/exec.c, kernel/exit.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EIO, ENOENT

import pytest
from tests.kernel.tasks import start

from ukmod.kernel.core import Core
from ukmod.userland import Process


def install(k: Core, path: str, program: Callable[[Process], int] | None) -> None:
    k.processes.programs.install(path, program)


def run(k: Core, path: str, *arguments: str, env: dict[str, str] | None = None) -> int:
    """system() in a task of its own; the wait status."""
    results: list[int] = []
    start(k, "parent", lambda: results.append(k.processes.run(path, (path, *arguments), env or {})))
    k.run(30)
    return results[0]


@pytest.mark.parametrize(("status", "wait"), [(0, 0), (1, 0x100), (255, 0xFF00), (256, 0), (-1, 0xFF00)])
def test_the_exit_code_is_the_second_byte_of_the_wait_status(kernel: Core, status: int, wait: int) -> None:
    """exit(2): "the least significant byte of status"."""
    install(kernel, "/bin/p", lambda _: status)
    assert run(kernel, "/bin/p") == wait


def test_a_system_call_that_fails_unhandled_is_the_exit_code(kernel: Core) -> None:
    def program(process: Process) -> int:
        raise OSError(EIO, "broken")

    install(kernel, "/bin/p", program)
    assert run(kernel, "/bin/p") == EIO << 8


@pytest.mark.parametrize("signal", [9, 15])
def test_a_fatal_signal_is_the_first_byte(kernel: Core, signal: int) -> None:
    def program(process: Process) -> int:
        process.sys.kill(process.sys.getpid(), signal)
        raise AssertionError("kill() does not return")

    install(kernel, "/bin/p", program)
    assert run(kernel, "/bin/p") == signal


def test_what_it_is_given_and_who_it_is(kernel: Core) -> None:
    seen: list[tuple[object, ...]] = []

    def program(process: Process) -> int:
        task = kernel.sched.task()
        seen.append((process.argv, process.env, process.cwd, kernel.tasks.comm(task), task.kthread))
        assert process.sys.getpid() == task.pid
        return 0

    install(kernel, "/usr/bin/p", program)
    run(kernel, "/usr/bin/p", "a", "b c", env={"A": "1"})
    assert seen == [(("/usr/bin/p", "a", "b c"), {"A": "1"}, "/", "p", None)]


def test_comm_is_cut_at_15_bytes(kernel: Core) -> None:
    """TASK_COMM_LEN."""
    comms: list[str] = []
    install(kernel, "/bin/a-name-of-20-letters", lambda _: comms.append(_comm(kernel)) or 0)
    run(kernel, "/bin/a-name-of-20-letters")
    assert comms == ["a-name-of-20-le"]


def _comm(k: Core) -> str:
    return k.tasks.comm(k.sched.task())


@pytest.mark.parametrize(("path", "errno"), [("/bin/none", ENOENT), ("/etc/passwd", EACCES), ("", ENOENT)])
def test_what_cannot_be_executed_leaves_no_child(kernel: Core, path: str, errno: int) -> None:
    install(kernel, "/etc/passwd", None)
    errors: list[int | None] = []

    def body() -> None:
        try:
            kernel.processes.run(path, (path,), {})
        except OSError as error:
            errors.append(error.errno)

    start(kernel, "parent", body)
    before = len(kernel.tasks.all())
    kernel.run(1)
    assert errors == [errno]
    assert len(kernel.tasks.all()) == before - 1, "the parent has ended"


def test_wait_sleeps_until_that_child_has_ended(kernel: Core) -> None:
    order: list[str] = []

    def sleeper(seconds: int) -> Callable[[Process], int]:
        def program(process: Process) -> int:
            process.sys.nanosleep(seconds * 10**9)
            order.append(f"{seconds} s")
            return seconds

        return program

    for seconds in (1, 3):
        install(kernel, f"/bin/{seconds}", sleeper(seconds))

    def body() -> None:
        children = [
            kernel.processes.fork(
                "c", lambda path=path: kernel.processes.execve(kernel.processes.look_up(path), path, (), ())
            )
            for path in ("/bin/3", "/bin/1")
        ]
        statuses = [kernel.processes.wait(child) for child in children]
        order.append(" ".join(str(status >> 8) for status in statuses))

    start(kernel, "parent", body)
    kernel.run(10)
    assert order == ["1 s", "3 s", "3 1"]


def test_the_parent_is_sent_sigchld(kernel: Core) -> None:
    """do_notify_parent(); a parent that ignores it, as by default, is not disturbed."""
    sent: list[int] = []
    real = kernel.signals.send

    def send(task: object, signal: int, *rest: object) -> object:
        sent.append(signal)
        return real(task, signal, *rest)  # type: ignore[arg-type]

    kernel.signals.send = send  # type: ignore[assignment, method-assign]
    install(kernel, "/bin/p", lambda _: 0)
    assert run(kernel, "/bin/p") == 0
    assert sent == [17]


def test_each_process_has_its_own_pid_and_gives_it_back(kernel: Core) -> None:
    pids: list[int] = []
    install(kernel, "/bin/p", lambda process: pids.append(process.sys.getpid()) or 0)
    run(kernel, "/bin/p")
    run(kernel, "/bin/p")
    assert len(set(pids)) == 2
    assert all(kernel.tasks.by_pid(pid) is None for pid in pids)


def test_exit_ends_a_program_from_within(kernel: Core) -> None:
    def program(process: Process) -> int:
        kernel.processes.exit(5)
        return 0

    install(kernel, "/bin/p", program)
    assert run(kernel, "/bin/p") == 5 << 8
