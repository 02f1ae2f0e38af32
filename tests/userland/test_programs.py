"""Which programs there are: execve(2)'s answers."""

from __future__ import annotations

from errno import EACCES, ENOENT

import pytest

from ukmod.userland import Process, Programs


def true(process: Process) -> int:
    del process
    return 0


@pytest.fixture
def programs() -> Programs:
    made = Programs()
    made.install("/bin/true", true)
    made.install("/etc/passwd", None)
    return made


def test_a_program_is_found_by_its_exact_path(programs: Programs) -> None:
    assert programs.exec("/bin/true") is true


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("/bin/false", ENOENT),
        ("true", ENOENT),
        ("", ENOENT),
        ("/bi", ENOENT),
        ("/etc/passwd", EACCES),
        ("/bin", EACCES),
        ("/bin/", EACCES),
        ("/", EACCES),
    ],
)
def test_what_is_no_program(programs: Programs, path: str, errno: int) -> None:
    with pytest.raises(OSError) as error:  # noqa: PT011  errno is looked at
        programs.exec(path)
    assert error.value.errno == errno


def test_what_was_removed_is_gone_and_may_come_again(programs: Programs) -> None:
    programs.remove("/bin/true")
    with pytest.raises(FileNotFoundError):
        programs.exec("/bin/true")
    programs.install("/bin/true", true)
    assert programs.exec("/bin/true") is true
