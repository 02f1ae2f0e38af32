"""Files that are handed in to the machine, and taken out of it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ukmod.errors import LimitError, PatienceError
from ukmod.kernel.api import Kernel
from ukmod.kernel.user import get

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]


def test_a_file_keeps_its_mode_both_ways(in_machine: InMachine, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(bytes(range(256)) * 600)
    program.chmod(0o4751)

    def work(k: Kernel) -> None:
        k.put(program, "/usr/local/bin/program")  # directories above it are made
        found = k.stat("/usr/local/bin/program")
        assert (found.st_mode, found.st_size) == (stat.S_IFREG | 0o4751, 153_600)
        assert found.st_uid == found.st_gid == 0
        k.put(program, "/tmp")
        assert k.listdir("/tmp") == ["program"]
        k.get("/tmp/program", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == program.read_bytes()
        assert (tmp_path / "back").stat().st_mode == stat.S_IFREG | 0o751  # never setuid on the host
        (tmp_path / "d").mkdir()
        k.get("/tmp/program", tmp_path / "d")
        assert os.listdir(tmp_path / "d") == ["program"]

    in_machine(work)


def test_a_directory_is_copied_with_links_and_nodes(in_machine: InMachine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub/empty").mkdir(parents=True)
    (source / "sub/file").write_text("text")
    os.link(source / "sub/file", source / "other")
    (source / "out").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe", 0o640)
    (source / "sub/empty").chmod(0o555)

    def work(k: Kernel) -> None:
        k.put(source, "/tmp/copy")
        assert sorted(k.listdir("/tmp/copy")) == ["other", "out", "pipe", "sub"]
        assert k.read("/tmp/copy/other") == "text"
        assert k.stat("/tmp/copy/other").st_nlink == 2
        assert k.process.readlink("/tmp/copy/out") == "/etc/passwd"
        assert k.process.lstat("/tmp/copy/pipe").st_mode == stat.S_IFIFO | 0o640
        assert k.stat("/tmp/copy/sub/empty").st_mode == stat.S_IFDIR | 0o555
        k.put(source, "/tmp/copy")  # once more, over itself
        assert k.read("/tmp/copy/sub/file") == "text"
        k.get("/tmp/copy", tmp_path / "back")

    in_machine(work)
    back = tmp_path / "back"
    assert sorted(os.listdir(back)) == ["other", "out", "sub"]
    assert (back / "other").read_text() == (back / "sub/file").read_text() == "text"
    assert os.readlink(back / "out") == "/etc/passwd"
    assert (back / "sub/empty").stat().st_mode == stat.S_IFDIR | 0o555


def test_files_of_proc_are_taken_out_and_devices_are_not(in_machine: InMachine, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        k.get("/proc/filesystems", tmp_path / "filesystems")
        assert "tmpfs" in (tmp_path / "filesystems").read_text()
        with pytest.raises(OSError, match="Not a regular file"):
            k.get("/dev/zero", tmp_path / "zero")
        assert not (tmp_path / "zero").exists()

    in_machine(work)


def test_errors_are_those_of_either_side(in_machine: InMachine, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    small = tmp_path / "small"
    small.write_text("text")

    def work(k: Kernel) -> None:
        with pytest.raises(FileNotFoundError):
            k.put(tmp_path / "none", "/tmp/none")
        with pytest.raises(FileNotFoundError):
            k.get("/none", tmp_path / "none")
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
            k.put(huge, "/tmp/huge")
        assert caught.value.errno == errno.EFBIG
        k.put(small, "/tmp/file")
        for guest, error in (("/tmp/file/below", errno.ENOTDIR), ("/proc/nothing", errno.ENOENT)):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno tells
                k.put(small, guest)
            assert caught.value.errno == error
        with pytest.raises(FileNotFoundError):
            k.get("/tmp/file", tmp_path / "no/such/directory")

    in_machine(work)


def test_nothing_leads_out_of_the_target_on_the_host(in_machine: InMachine, tmp_path: Path) -> None:
    """A directory of the guest's meets a link on the host, as if the guest had two files of one name."""
    victim = tmp_path / "victim"
    victim.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "d").symlink_to(victim)
    (target / "f").symlink_to(victim / "f")

    def work(k: Kernel) -> None:
        k.process.mkdir("/tmp/t")
        k.write("/tmp/t/f", "text")
        k.get("/tmp/t", target)
        k.process.mkdir("/tmp/t/d")
        k.write("/tmp/t/d/file", "text")
        with pytest.raises(FileExistsError):
            k.get("/tmp/t", target)

    in_machine(work)
    assert os.listdir(victim) == []
    assert (target / "f").read_text() == "text"
    assert not (target / "f").is_symlink()


def test_a_name_that_no_file_can_have_is_refused(in_machine: InMachine, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        k.process.mkdir("/tmp/t")
        for name in ("../out", "/etc/passwd", "..", "a\0b", ""):
            setattr(k.process, "listdir", lambda _, name=name: [name])  # noqa: B010 - a hostile file system
            with pytest.raises(OSError, match="no file can have"):
                k.get("/tmp/t", tmp_path / "target")

    in_machine(work)
    assert os.listdir(tmp_path / "target") == []


def test_a_link_that_another_copy_has_left_is_replaced_and_not_followed(
    in_machine: InMachine, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")

    def work(k: Kernel) -> None:
        k.process.mkdir("/tmp/t")
        k.symlink(str(victim), "/tmp/t/f")
        k.get("/tmp/t", tmp_path / "target")
        k.write("/tmp/f", "the guest's")
        k.get("/tmp/f", tmp_path / "target")

    in_machine(work)
    assert victim.read_text() == "mine"
    assert (tmp_path / "target/f").read_text() == "the guest's"


def test_a_file_is_replaced_as_a_whole_or_not_at_all(
    in_machine: InMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get, "MODULE_LIMIT", 100_000)
    name = "n" * 255
    (tmp_path / name).write_text("before")
    os.mkfifo(tmp_path / "pipe")

    def work(k: Kernel) -> None:
        k.write(f"/tmp/{name}", "x" * 200_000)
        k.write("/tmp/small", "text")
        with pytest.raises(LimitError):
            k.get(f"/tmp/{name}", tmp_path)
        with pytest.raises(OSError, match="Not a regular file"):
            k.get("/tmp/small", tmp_path / "pipe")
        assert (tmp_path / name).read_text() == "before"
        k.get("/tmp/small", tmp_path / name)

    in_machine(work)
    assert (tmp_path / name).read_text() == "text"
    assert {*os.listdir(tmp_path)} == {name, "pipe"}


def test_a_link_to_what_no_name_can_be_is_refused(in_machine: InMachine, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        k.process.mkdir("/tmp/t")
        k.symlink("x", "/tmp/t/link")
        for target in ("a\0b", "\0" * 4096, ""):
            setattr(k.process, "readlink", lambda _, target=target: target)  # noqa: B010 - a hostile file system
            with pytest.raises(OSError):  # noqa: PT011 - of either side
                k.get("/tmp/t", tmp_path / "target")

    in_machine(work)
    assert os.listdir(tmp_path / "target") == []


def test_directories_without_end_take_one_patience(in_machine: InMachine, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        for n in range(8):
            k.process.mkdir(f"/tmp/{n}")
        directory = k.process.lstat("/tmp")
        for name, answer in {"lstat": directory, "stat": directory, "listdir": list("01234567")}.items():
            setattr(k.process, name, lambda _, answer=answer: k.process.syscall("getpid") and answer)
        k.patience = 0.5
        with pytest.raises(PatienceError):
            k.get("/tmp", tmp_path / "target")

    try:
        in_machine(work)
    finally:  # pytest would remove a tree of this depth by a recursion of Python's
        subprocess.run(["rm", "-rf", tmp_path / "target"], check=True)
