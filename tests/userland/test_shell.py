"""The small shell: what modprobe.d's commands use of sh, and nothing half-understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from ukmod.userland import Process, Syscalls
from ukmod.userland.shell import run_command, sh

ENV = {"PATH": "/sbin:/bin", "MODULE": "loop", "EMPTY": ""}


class Recorder:
    """System calls that note which programs are started; each ends as ``statuses`` says."""

    def __init__(self, **statuses: int) -> None:
        self.statuses = statuses
        self.started: list[tuple[str, ...]] = []

    def spawn(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
        assert env is ENV
        directory, _, name = path.rpartition("/")
        if directory != "/bin" or name in {"none", "[", "cd"}:
            raise FileNotFoundError(2, "no such program", path)
        if name == "data":
            raise PermissionError(13, "not executable", path)
        self.started.append(tuple(argv))
        return self.statuses.get(name, 0)


def run(command: str, **statuses: int) -> tuple[int, list[tuple[str, ...]]]:
    """The exit status, and what was started."""
    calls = Recorder(**statuses)
    status = run_command(command, ENV, cast("Syscalls", calls))
    assert status & 0xFF == 0
    return status >> 8, calls.started


@pytest.mark.parametrize(
    ("command", "started"),
    [
        ("modprobe -i loop", [("modprobe", "-i", "loop")]),
        ("/bin/a x; b y", [("/bin/a", "x"), ("b", "y")]),
        ("a && b", [("a",), ("b",)]),
        ("a || b", [("a",)]),
        ("a\nb", [("a",), ("b",)]),
        ("a 'x y' \"z;w\"", [("a", "x y", "z;w")]),
        ("a $MODULE ${MODULE}s '$MODULE'", [("a", "loop", "loops", "$MODULE")]),
        ("a >/dev/null 2>&1 </dev/null", [("a",)]),
        ("true && a; false && b; : && c", [("a",), ("c",)]),
        ("exec a; b", [("a",)]),
        ("a; exit; b", [("a",)]),
        ("if a; then b; else c; fi", [("a",), ("b",)]),
        ("if false; then a; elif true; then { b; }; fi", [("b",)]),
        ("for x in $MODULE 'y z'; do a $x \"$x\"; done", [("a", "loop", "loop"), ("a", "y", "z", "y z")]),
        ("x='y z'; a $x \"$x\" '$x'", [("a", "y", "z", "y z", "$x")]),
        ("! a || b", [("a",), ("b",)]),
        ("a $EMPTY '' x\\ y", [("a", "", "x y")]),
        ("a # b", [("a",)]),
        ("", []),
    ],
)
def test_what_is_started(command: str, started: list[tuple[str, ...]]) -> None:
    assert run(command) == (0, started)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("a", 3),
        ("a && b", 3),
        ("a || b", 0),
        ("a; b", 0),
        ("a; exit", 3),
        ("! a", 0),
        ("if a; then b; fi", 0),
        ("for x in; do a; done", 0),
        ("b; exec a", 3),
        ("exit 7", 7),
        ("exit 256", 0),
        ("false", 1),
        ("none", 127),
        ("data", 126),
        ("killed", 128 + 9),
        ("/sbin/a", 127),
    ],
)
def test_the_status_is_the_last_ones(command: str, status: int) -> None:
    assert run(command, a=3 << 8, killed=9)[0] == status


@pytest.mark.parametrize(
    "command",
    [
        "a | b",
        "a &",
        "a > /tmp/file",
        "a < /etc/passwd",
        "a `b`",
        "a $(b)",
        "(a)",
        "a $?",
        "if true; then a; fi | b",
        "a 'open",
        'a "open',
        "exit many",
        "a snd_*",
        "false || { a; b | c; }",
        "[ -e /b ] || b",
        "cd /b && b",
        "eval b",
        " ; ",
    ],
)
def test_what_is_not_understood_is_not_run(command: str) -> None:
    status, started = run(command)
    assert status == 2
    assert ("b",) not in started


def test_a_command_that_is_refused_is_so_before_any_of_it_runs() -> None:
    assert run("a; b | c") == (2, [])


def test_a_program_sees_the_variables_of_its_command_and_those_that_it_had_before() -> None:
    seen: list[dict[str, str]] = []

    class Environments:
        def spawn(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
            seen.append({name: env[name] for name in ("x", "MODULE") if name in env})
            return 0

    run_command("x=1 a; MODULE=other; y=2; a", ENV, cast("Syscalls", Environments()))
    assert seen == [{"x": "1", "MODULE": "loop"}, {"MODULE": "other"}]


def test_the_program() -> None:
    calls = Recorder(a=4 << 8)

    def main(*argv: str) -> int:
        return sh(Process(argv, ENV, cast("Syscalls", calls)))

    assert main("sh", "-c", "a b") == 4
    assert calls.started == [("a", "b")]
    assert main("sh", "script") == 2
    assert main("sh") == 2
