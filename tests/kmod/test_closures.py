from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.moduletree import context, module

from ukmod.kmod.closures import Closure, Missing, closure
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tree import Tree

MODULES = {
    "base": module(name="base", exports=["base_fn"]),
    "middle": module(name="middle", needs=["base_fn"], exports=["middle_fn"]),
    "user": module(
        "alias=fs-user", "softdep=pre: loop_a ghost", "firmware=u.bin", name="user", needs=["middle_fn"]
    ),
    "loop_a": module("softdep=post: loop_b", name="loop_a"),
    "loop_b": module("softdep=pre: loop_a", name="loop_b"),
    "weak": module("firmware=w.bin", name="weak"),
}


def closed(
    root: Path, *words: str, config: str = "", weakdeps: bool = False, firmware: Path | None = None
) -> Closure:
    directories = () if firmware is None else (str(firmware),)
    found = context(root, config, **MODULES)
    return closure(found, words, weakdeps=weakdeps, firmware_directories=directories)


def names(found: Closure) -> list[str]:
    return [member.module for member in found.modules]


def test_dependencies_stand_before_their_users(tmp_path: Path) -> None:
    assert names(closed(tmp_path, "middle", "base")) == ["base", "middle"]


def test_cycles_of_soft_dependencies_end(tmp_path: Path) -> None:
    assert names(closed(tmp_path, "user")) == ["base", "middle", "user", "loop_a", "loop_b"]


def test_each_module_says_why_it_is_there(tmp_path: Path) -> None:
    found = closed(tmp_path, "fs-user")
    assert [(member.module, member.reason, member.of) for member in found.modules] == [
        ("base", "dependency", "user"),
        ("middle", "dependency", "user"),
        ("user", "requested", "fs-user"),
        ("loop_a", "softdep", "user"),
        ("loop_b", "softdep", "loop_a"),
    ]


def test_weak_dependencies_are_followed_if_asked_for(tmp_path: Path) -> None:
    line = "weakdep base weak\n"
    assert names(closed(tmp_path, "base", config=line)) == ["base"]
    assert names(closed(tmp_path, "base", config=line, weakdeps=True)) == ["base", "weak"]


def test_firmware_comes_along(tmp_path: Path) -> None:
    (tmp_path / "u.bin.zst").write_bytes(b"")
    found = closed(tmp_path, "user", firmware=tmp_path)
    assert found.files[-1] == f"{tmp_path}/u.bin.zst"
    assert found.firmware[0].module == "user"


def test_what_is_missing_is_listed_by_kind(tmp_path: Path) -> None:
    found = closed(tmp_path, "user", "nothing", "/none.ko", firmware=tmp_path)
    assert set(found.missing) == {
        Missing("module", "nothing", ""),
        Missing("file", "/none.ko", ""),
        Missing("softdep", "ghost", "user"),
        Missing("firmware", "u.bin", "user"),
    }
    assert {missing.kind for missing in found.missing if missing.is_fault} == {"module", "file"}
    assert str(found.missing[0]) == "module nothing is missing"


def test_a_cycle_of_files_that_cannot_be_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_module(tree: Tree, path: str) -> ModuleFile:
        opened.append(path)
        assert len(opened) < 10
        return ModuleFile(tree.path(path))

    monkeypatch.setattr(Tree, "open_module", open_module)
    found = context(tmp_path, "", **MODULES)
    files = [tmp_path / f"lib/modules/4.4.4/kernel/{name}.ko" for name in ("loop_a", "loop_b")]
    for file in files:
        file.write_bytes(b"damaged file")
    done = closure(found, ["loop_a"])
    assert opened == [one.name for one in done.missing] == list(map(str, files))
    assert done.modules == ()


def test_a_file_that_cannot_be_read_is_missing(tmp_path: Path) -> None:
    found = context(tmp_path, "", **MODULES)
    (tmp_path / "lib/modules/4.4.4/kernel/base.ko").write_bytes(b"damaged file")
    (missing,) = closure(found, ["base"]).missing
    assert (missing.kind, missing.needed_by) == ("file", "base")
