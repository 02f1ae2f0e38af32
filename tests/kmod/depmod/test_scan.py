from __future__ import annotations

from pathlib import Path

import pytest

from ukmod.kmod.depmod.config import DepmodConfig
from ukmod.kmod.depmod.scan import scan_tree


def touch(top: Path, *paths: str) -> None:
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(b"")


def shown(top: Path, config: DepmodConfig | None = None) -> list[str]:
    return sorted(module.shown for module in scan_tree(str(top), config or DepmodConfig()))


def test_modules_are_files_of_four_kinds_at_any_depth(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a.ko",
        "k/b.ko.gz",
        "k/l/c.ko.xz",
        ".h/d-e.ko.zst",
        "k/no.o",
        "k/.ko",
        "build/x.ko",
        "k/source/y.ko",
    )
    assert shown(tmp_path) == [".h/d-e.ko.zst", "a.ko", "k/b.ko.gz", "k/l/c.ko.xz"]
    assert {module.name for module in scan_tree(str(tmp_path))} == {"a", "b", "c", "d_e"}


def test_excluded_names_are_files_or_directories(tmp_path: Path) -> None:
    touch(tmp_path, "k/a.ko", "k/b.ko", "skip/c.ko")
    assert shown(tmp_path, DepmodConfig(excludes=frozenset({"skip", "b.ko"}))) == ["k/a.ko"]


def test_updates_win_by_default(tmp_path: Path) -> None:
    touch(tmp_path, "kernel/a.ko", "updates/a.ko")
    assert shown(tmp_path) == ["updates/a.ko"]


def test_the_search_line_ranks_directories(tmp_path: Path) -> None:
    touch(tmp_path, "kernel/a.ko", "extra/a.ko", "other/a.ko")
    assert shown(tmp_path, DepmodConfig(searches=("built-in", "extra"))) == ["extra/a.ko"]
    assert shown(tmp_path, DepmodConfig(searches=("extra", "other"))) == ["other/a.ko"]


def test_an_override_beats_the_search_line(tmp_path: Path) -> None:
    touch(tmp_path, "kernel/a.ko", "updates/a.ko")
    assert shown(tmp_path, DepmodConfig(overrides=("kernel/a",))) == ["kernel/a.ko"]


def test_external_directories_are_shown_in_full(tmp_path: Path) -> None:
    touch(tmp_path / "tree", "kernel/a.ko", "kernel/b.ko")
    touch(tmp_path / "ext", "a.ko", "c.ko")
    outside = str(tmp_path / "ext")
    config = DepmodConfig(searches=("built-in", "external"), externals=(outside, "/nonexistent"))
    assert shown(tmp_path / "tree", config) == [f"{outside}/a.ko", f"{outside}/c.ko", "kernel/b.ko"]


def test_a_link_to_a_directory_above_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "kernel/a.ko")
    (tmp_path / "kernel/loop").symlink_to(tmp_path)
    messages: list[str] = []
    assert [m.shown for m in scan_tree(str(tmp_path), log=lambda _p, text: messages.append(text))] == [
        "kernel/a.ko"
    ]
    assert messages == [f"{tmp_path}/kernel/loop leads back to a directory it is in, and is passed over"]


def test_links_elsewhere_are_followed_and_dangling_ones_reported(tmp_path: Path) -> None:
    touch(tmp_path / "else", "b.ko")
    touch(tmp_path / "tree", "a.ko")
    (tmp_path / "tree/dir").symlink_to(tmp_path / "else")
    (tmp_path / "tree/gone.ko").symlink_to("nowhere")
    messages: list[str] = []
    found = scan_tree(str(tmp_path / "tree"), log=lambda _p, text: messages.append(text))
    assert sorted(module.shown for module in found) == ["a.ko", "dir/b.ko"]
    assert messages == ["fstatat(3, gone.ko): No such file or directory"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.ko").write_bytes(b"")
    assert shown(tmp_path) == ["caf\udce9.ko"]


def test_a_tree_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_tree(str(tmp_path / "missing"))
