"""What a program is given: a process, with the system calls of whoever runs it."""

from __future__ import annotations

from ukmod.userland import Process, Syscalls


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
