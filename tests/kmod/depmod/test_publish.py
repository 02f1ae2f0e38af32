from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ukmod.kmod.depmod.publish import make_directory, open_exclusively, publish
from ukmod.kmod.temporary import write_new


def test_files_replace_those_of_the_same_names_and_all_may_read_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    before = os.umask(0o077)
    try:
        publish(str(tmp_path), [("a", b"new"), ("b", b"")])
    finally:
        os.umask(before)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b""}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_an_interruption_leaves_the_old_set(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def files() -> Iterator[tuple[str, bytes]]:
        yield "a", b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(str(tmp_path), files())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_directory_in_the_way_is_noticed_before_anything_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        publish(str(tmp_path), [("a", b"new"), ("b", b"new")])
    assert caught.value.filename == "b"
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).startswith(".b."):
            return real_open("/dev/full", os.O_WRONLY)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(os, "fchmod", lambda _fd, _mode: None)
    with pytest.raises(OSError, match="No space left"):
        publish(str(tmp_path), [("a", b"new"), ("b", b"new")])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_link_in_the_way_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    monkeypatch.setattr("ukmod.kmod.depmod.publish.temporary_name", lambda _name: "foreseen")
    (out / "foreseen").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        publish(str(out), [("a", b"new")])
    monkeypatch.undo()
    (out / "a").symlink_to(tmp_path / "precious")
    publish(str(out), [("a", b"new")])
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (out / "a").read_bytes() == b"new"


def test_directories_are_made_as_needed(tmp_path: Path) -> None:
    make_directory(f"{tmp_path}/x/y//z")
    assert (tmp_path / "x/y/z").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        make_directory(f"{tmp_path}/file/below")


def _dead_process() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = tmp_path / f".modules.dep.{_dead_process()}.0123.tmp"
    # The process of this number is alive, but no run has the directory: it was another's, or another host's.
    reused = tmp_path / f".modules.dep.{os.getppid()}.4567.tmp"
    others = {".modules.dep.x.y.tmp", ".modules.dep.swp", "modules.dep.1.2.tmp", ".other.1.2.tmp"}
    for name in (killed.name, reused.name, *others):
        (tmp_path / name).write_bytes(b"")
    publish(str(tmp_path), [("a", b"")])
    assert {path.name for path in tmp_path.iterdir()} == {"a", *others}


def test_where_locks_are_unknown_only_an_old_leftover_of_a_dead_process_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_fd: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unknown)
    dead = _dead_process()
    old, new = f".modules.dep.{dead}.0123.tmp", f".modules.alias.{dead}.4567.tmp"
    alive = f".modules.dep.{os.getppid()}.89ab.tmp"
    for name in (old, new, alive):
        (tmp_path / name).write_bytes(b"")
        if name != new:
            os.utime(tmp_path / name, (1, 1))
    publish(str(tmp_path), [("a", b"")])
    assert {path.name for path in tmp_path.iterdir()} == {"a", new, alive}


def test_a_run_waits_for_another_and_the_sets_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with open_exclusively(str(tmp_path)) as (where, is_exclusive):
        assert is_exclusive
        os.close(write_new(".modules.a.1.2.tmp", (b"the other's",), 0o644, where=where))
        other = threading.Thread(target=publish, args=(str(tmp_path), [("a", b"new")]))
        other.start()
        other.join(0.1)
        assert {path.name for path in tmp_path.iterdir()} == {"a", ".modules.a.1.2.tmp"}
        os.rename(".modules.a.1.2.tmp", "b", src_dir_fd=where, dst_dir_fd=where)
    other.join()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b"the other's"}


def test_a_run_that_was_stopped_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ukmod.kmod.depmod.publish._PATIENCE", 0.05)
    with open_exclusively(str(tmp_path)) as (where, _is_exclusive):
        os.close(write_new(".modules.a.1.2.tmp", (b"the other's",), 0o644, where=where))
        publish(str(tmp_path), [("a", b"new")])
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".modules.a.1.2.tmp"}


def test_modules_are_there_before_what_names_them_and_modules_dep_is_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed: list[str] = []
    rename = os.rename
    monkeypatch.setattr(
        os, "rename", lambda old, new, **places: renamed.append(new) or rename(old, new, **places)
    )
    names = ["modules.dep", "modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.softdep"]
    publish(str(tmp_path), [(name, b"") for name in names])
    assert renamed == [
        "modules.dep.bin",
        "modules.alias.bin",
        "modules.softdep",
        "modules.alias",
        "modules.dep",
    ]


def test_content_is_on_the_disk_before_the_first_name_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    rename = os.rename

    def renaming(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        steps.append("rename")
        rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr("ukmod.kmod.depmod.publish._datasync", lambda _fd: steps.append("sync"))
    monkeypatch.setattr(os, "rename", renaming)
    publish(str(tmp_path), [("a", b"1"), ("b", b"2")])
    assert steps == ["sync", "sync", "rename", "rename"]
