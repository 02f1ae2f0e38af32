"""The files of a root are made when they are first used, and no program can tell."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.image.conftest import in_a_copy
from tests.real import debian

from ukmod.kernel import uapi as c
from ukmod.kernel.api import Kernel
from ukmod.kernel.user.process import UserProcess

pytestmark = pytest.mark.real
InMachine = Callable[[Callable[[Kernel], Any]], Any]
SIZE = 70_000
FILES = 100
EVIL = "x\udcff\n\033[2J"
MS_REMOUNT = 32
IN_NONBLOCK, IN_ALL_EVENTS = 0o4000, 0xFFF


def make_root(path: Path) -> None:
    for name in ("a/b/c", "empty", "private", "shared/below", "full"):
        (path / name).mkdir(parents=True)
    (path / "a/file").write_text("x" * SIZE)
    (path / "a/b/first").write_text("both")
    os.link(path / "a/b/first", path / "full/second")
    os.link(path / "a/b/first", path / "full/third")
    (path / "a/b/link").symlink_to("../file")
    (path / "private").chmod(0o700)
    (path / "private/secret").write_text("secret")
    (path / "private/secret").chmod(0o600)
    (path / "swapped/below").mkdir(parents=True)
    (path / "swapped/file").write_text("as it was")
    (path / "shared").chmod(0o2777)
    (path / "shared/file").write_text("")
    (path / "shared/file").chmod(0o640)
    (path / "vanishes").write_text("gone")
    (path / EVIL).write_text("a name that no line shows as it is")
    (path / "away").mkdir()
    (path / "pipe").write_text("no longer")
    (path / "huge").write_text("")
    os.truncate(path / "huge", 1 << 40)
    for name in ("left", "taken"):
        (path / name).mkdir()
        for n in range(FILES):
            (path / name / str(n)).write_text(f"{name} {n}")


@pytest.fixture(
    scope="module",
    params=["", *(pytest.param(name, marks=pytest.mark.kernels) for name in ("bullseye", "trixie", "sid"))],
)
def package(request: pytest.FixtureRequest) -> debian.Debian:
    """The kernel of tools/release, or another one."""
    return debian.require_other(request.param) if request.param else debian.require()


@pytest.fixture(scope="module")
def root(package: debian.Debian, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root for each kernel: tests change it."""
    del package
    path = tmp_path_factory.mktemp("root")
    make_root(path)
    return path


@pytest.fixture(scope="module")
def machine(package: debian.Debian, root: Path) -> Iterator[Kernel]:
    with Kernel(image=package.vmlinuz, root=root) as k:
        k.boot()
        yield k


@pytest.fixture
def in_machine(machine: Kernel) -> InMachine:
    """Calls a function with a copy of the machine, and returns its result: no test's use is another's."""
    return lambda work: in_a_copy(machine, lambda: _clean(work, machine))


def _clean(work: Callable[[Kernel], Any], k: Kernel) -> Any:
    result = work(k)
    assert not k.oopses
    assert not k.warnings
    return result


def error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def test_a_file_is_read_when_it_is_first_opened(root: Path, in_machine: InMachine) -> None:
    (root / "a/late").write_text("as it was")

    def use(k: Kernel) -> None:
        assert sorted(k.listdir("/a")) == ["b", "file", "late"]
        (root / "a/late").write_text("as it is.")
        assert k.stat("/a/late").st_size == len("as it was")
        assert k.read("/a/late") == "as it is."
        (root / "a/late").write_text("and later")
        assert k.read("/a/late") == "as it is."
        (root / "a/new").write_text("")
        assert "new" not in k.listdir("/a")

    try:
        in_machine(use)
    finally:
        (root / "a/late").unlink()
        (root / "a/new").unlink()


def test_status_is_that_of_what_will_be_there(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        buffer = bytearray(256)
        k.process.syscall("statx", c.AT_FDCWD, "/a/file", 0, 0x7FF, buffer)
        before = int.from_bytes(buffer[40:48], "little"), int.from_bytes(buffer[48:56], "little")
        changed = k.stat("/a/file").st_mtime, k.stat("/a").st_mtime
        assert (k.stat("/a").st_nlink, k.stat("/a/b").st_nlink, k.stat("/empty").st_nlink) == (3, 3, 2)
        k.run(100)
        assert k.read("/a/file") == "x" * SIZE
        k.process.syscall("statx", c.AT_FDCWD, "/a/file", 0, 0x7FF, buffer)
        assert before == (SIZE, -(-SIZE // 4096) * 8)
        assert before == (int.from_bytes(buffer[40:48], "little"), int.from_bytes(buffer[48:56], "little"))
        assert changed == (k.stat("/a/file").st_mtime, k.stat("/a").st_mtime)

    in_machine(use)


def test_a_directory_that_nobody_looked_into_is_not_empty(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        p = k.process
        k.mkdir("/target")
        assert error_of(lambda: p.rmdir("/a")) == "ENOTEMPTY"
        assert error_of(lambda: p.syscall("rename", "/target", "/a")) == "ENOTEMPTY"
        p.rmdir("/empty")
        assert "empty" not in k.listdir("/")
        assert sorted(k.listdir("/a")) == ["b", "file"]

    in_machine(use)


def test_what_was_moved_is_filled_where_it_lies(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        p = k.process
        p.syscall("rename", "/a", "/full/moved")
        k.mkdir("/a")
        k.mount("hides", "/full", "tmpfs")
        assert k.listdir("/full") == []
        k.umount("/full")
        assert k.read("/full/moved/b/link") == "x" * SIZE
        assert k.listdir("/a") == []
        directory = p.syscall("open", "/private", c.O_DIRECTORY, 0)
        k.mount("hides", "/private", "tmpfs")
        assert p.syscall("openat", directory, "secret", 0, 0) > directory
        assert k.listdir("/private") == []

    in_machine(use)


def test_hard_links_are_one_file_for_as_long_as_it_is_there(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        p = k.process
        first = k.stat("/a/b/first")
        p.syscall("rename", "/a/b/first", "/elsewhere")
        k.write("/elsewhere", "written")
        assert k.read("/full/second") == "written"
        assert (k.stat("/full/third").st_ino, k.stat("/full/third").st_nlink) == (first.st_ino, 3)

    def use_after_its_end(k: Kernel) -> None:
        k.process.unlink("/a/b/first")
        assert k.read("/full/second") == "both"
        assert k.stat("/full/third").st_nlink == 2

    in_machine(use)
    in_machine(use_after_its_end)


def test_a_file_that_has_the_inode_of_a_removed_one_has_a_content_of_its_own(in_machine: InMachine) -> None:
    def work(k: Kernel) -> list[str]:
        for n in range(FILES):
            k.process.unlink(f"/taken/{n}")
        k.run(1)  # until RCU has freed them
        return [k.read(f"/left/{n}") for n in range(FILES)]

    assert in_machine(work) == [f"left {n}" for n in range(FILES)]


def test_writers_find_what_is_written_over(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        p = k.process
        with p.open("/a/file", "ab") as file:
            file.write(b"y")
        assert k.stat("/a/file").st_size == SIZE + 1
        p.syscall("truncate", "/a/b/first", 2)
        assert k.read("/a/b/first") == "bo"
        with p.open("/private/secret", "r+b") as file:
            file.pwrite(b"S", 0)
        assert k.read("/private/secret") == "Secret"
        k.write("/a/file", "short")
        assert (k.read("/a/file"), k.stat("/a/file").st_size) == ("short", 5)
        p.unlink("/full/third")  # nobody has opened it

    in_machine(use)


def test_modes_and_groups_are_the_roots(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        p = k.process
        p.syscall("chmod", "/private", 0o2755)
        p.syscall("chown", "/private", 7, 8)
        found = {
            path: p.stat(path) for path in ("/shared", "/shared/below", "/shared/file", "/private/secret")
        }
        assert {path: (stat.S_IMODE(one.st_mode), one.st_uid, one.st_gid) for path, one in found.items()} == {
            "/shared": (0o2777, 0, 0),
            "/shared/below": (0o755, 0, 0),
            "/shared/file": (0o640, 0, 0),
            "/private/secret": (0o600, 0, 0),
        }

    in_machine(use)


def test_a_user_who_may_not_look_has_nothing_made(in_machine: InMachine) -> None:
    def look(p: UserProcess) -> tuple[str, str, str]:
        names = error_of(lambda: p.listdir("/private")), error_of(lambda: p.read("/shared/file"))
        return (*names, error_of(lambda: p.rmdir("/a")))

    def use(k: Kernel) -> None:
        assert k.spawn(look, uid=1000).result() == ("EACCES", "EACCES", "EPERM")  # / is sticky
        assert k.spawn(lambda p: len(p.read("/a/file")), uid=1000).result() == SIZE

    in_machine(use)


def test_several_look_at_once(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        processes = [
            k.spawn(lambda p: (len(p.read("/a/b/link")), sorted(p.listdir("/a/b")))) for _ in range(4)
        ]
        assert {str(process.result()) for process in processes} == {str((SIZE, ["c", "first", "link"]))}

    in_machine(use)


def test_a_watcher_of_a_directory_hears_nothing(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        p = k.process
        watch = p.syscall("inotify_init1", IN_NONBLOCK)
        p.syscall("inotify_add_watch", watch, "/a", IN_ALL_EVENTS & ~0x31)  # not who reads, opens and closes
        p.syscall("inotify_add_watch", watch, "/", IN_ALL_EVENTS & ~0x31)
        assert k.read("/a/file") == "x" * SIZE
        k.listdir("/a/b")
        assert error_of(lambda: p.syscall("read", watch, bytearray(4096), 4096)) == "EAGAIN"

    in_machine(use)


def test_what_the_host_no_longer_has_is_an_error_of_that_file(root: Path, in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        (root / "vanishes").unlink()
        (root / "away").rmdir()
        (root / "pipe").unlink()
        os.mkfifo(root / "pipe")
        errors = [error_of(lambda path=path: k.read(path)) for path in ("/vanishes", "/pipe", "/huge")]
        assert errors == ["ENOENT", "EINVAL", "EFBIG"]
        assert error_of(lambda: k.listdir("/away")) == "ENOENT"
        assert k.stat("/huge").st_size == 1 << 40
        assert "ukmod: '/vanishes' of the root: No such file or directory\n" in k.dmesg()
        (root / EVIL).unlink()
        assert error_of(lambda: k.read(f"/{EVIL}")) == "ENOENT"
        assert r"ukmod: '/x\udcff\n\x1b[2J' of the root: No such file" in k.dmesg()
        assert k.read("/a/b/first") == "both"

    in_machine(use)


def test_a_link_that_takes_a_place_is_not_followed(root: Path, in_machine: InMachine, tmp_path: Path) -> None:
    """A host on which somebody writes to the root while the machine uses it: nothing leads out."""
    (tmp_path / "secret").write_text("canary")

    def use(k: Kernel) -> None:
        assert sorted(k.listdir("/swapped")) == ["below", "file"]
        (root / "swapped/file").unlink()
        (root / "swapped/file").symlink_to(tmp_path / "secret")
        assert error_of(lambda: k.read("/swapped/file")) == "ELOOP"
        (root / "swapped").rename(root / "moved")
        (root / "swapped").symlink_to(root / "moved")
        assert error_of(lambda: k.listdir("/swapped/below")) == "ENOTDIR"
        assert "canary" not in k.dmesg()

    in_machine(use)


def test_a_machine_without_room_for_a_file_has_room_for_others(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        k.mount("none", "/", "tmpfs", flags=MS_REMOUNT, options="size=64k")
        assert error_of(lambda: k.read("/a/file")) == "ENOSPC"
        assert k.read("/private/secret") == "secret"
        k.mount("none", "/", "tmpfs", flags=MS_REMOUNT, options="size=1m")
        assert k.read("/a/file") == "x" * SIZE

    in_machine(use)


def test_a_process_that_makes_files_is_replaced_when_it_is_killed(in_machine: InMachine) -> None:
    def use(k: Kernel) -> None:
        maker = next(
            int(pid)
            for pid in k.listdir("/proc")
            if pid.isdigit() and k.read(f"/proc/{pid}/comm") == "root\n"
        )
        k.process.syscall("kill", maker, 9)
        assert k.read("/a/b/link") == "x" * SIZE

    in_machine(use)
