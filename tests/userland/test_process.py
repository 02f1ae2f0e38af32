"""What a program is given: a process, with the system calls of whoever runs it."""

from __future__ import annotations

from ukmod.userland import Process, Syscalls
from ukmod.userland.process import environ_of, variables_of


class Nothing:
    """A kernel that does nothing: programs can be tried without a machine."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was called")


def process(sys: Syscalls) -> Process:
    return Process(("/bin/p", "x"), {"A": "1"}, sys)


def test_each_has_an_output_of_its_own() -> None:
    sys: Syscalls = Nothing()  # type: ignore[assignment]
    first, second = process(sys), process(sys)
    first.output.append("words")
    assert (first.output, second.output) == (["words"], [])


def test_a_process_begins_in_the_root_directory() -> None:
    """As kernel threads' children do: khelper's directory is /."""
    assert process(Nothing()).cwd == "/"  # type: ignore[arg-type]


def test_getenv_finds_the_first_of_several_variables_with_a_name() -> None:
    environ = ("A=1", "A=2", "=B", "C", "", "D=x=y")
    assert variables_of(environ) == {"A": "1", "": "B", "D": "x=y"}


def test_an_environment_as_strings() -> None:
    assert environ_of({"A": "1", "B": "x=y"}) == ("A=1", "B=x=y")
