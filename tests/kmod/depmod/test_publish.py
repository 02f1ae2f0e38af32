from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ukmod.kmod.depmod.publish import make_directory, publish


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


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (out / f".a.{os.getpid()}.tmp").symlink_to(tmp_path / "precious")
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


def test_what_a_killed_run_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    dead = _dead_process()
    old = tmp_path / f".modules.dep.{dead}.tmp"
    new = tmp_path / f".modules.alias.{dead}.tmp"
    alive = tmp_path / f".modules.dep.{os.getppid()}.tmp"
    others = tmp_path / ".modules.dep.x.tmp"
    for path in (old, new, alive, others):
        path.write_bytes(b"")
        if path != new:
            os.utime(path, (1, 1))
    publish(str(tmp_path), [("a", b"")])
    assert {path.name for path in tmp_path.iterdir()} == {"a", new.name, alive.name, others.name}


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
