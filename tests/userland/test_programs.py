"""Which programs there are: execve(2)'s answers."""

from __future__ import annotations

from errno import EACCES, ENAMETOOLONG, ENOENT, ENOTDIR

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


@pytest.mark.parametrize(
    "path",
    [
        "/bin/true",
        "bin/true",
        "./bin/true",
        "//bin///true",
        "/bin/./true",
        "/bin/../etc/../bin/true",
        "/../bin/true",
    ],
)
def test_a_program_is_found_by_each_path_that_leads_to_it_from_the_root(
    programs: Programs, path: str
) -> None:
    assert programs.exec(path) is true


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("/bin/false", ENOENT),
        ("true", ENOENT),
        ("/bin/true/", ENOTDIR),
        ("/bin/true/x", ENOTDIR),
        ("/bin/true/..", ENOTDIR),
        ("/nowhere/../bin/true", ENOENT),
        (f"/{'n' * 255}", ENOENT),
        (f"/{'n' * 256}", ENAMETOOLONG),
        ("/" * 4095, EACCES),
        ("/" * 4096, ENAMETOOLONG),
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
