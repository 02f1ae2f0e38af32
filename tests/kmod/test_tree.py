"""Trees, on disk and in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ukmod.errors import NotFoundError, UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.index_write import write_index
from ukmod.kmod.plans import plan
from ukmod.kmod.tree import Tree, module_directory


def write_tree(root: Path) -> Path:
    directory = root / "lib/modules/4.4.4"
    directory.mkdir(parents=True)
    entries = [("user", 0, "kernel/user.ko: kernel/base.ko"), ("base", 1, "/external/base.ko:")]
    (directory / "modules.dep.bin").write_bytes(write_index(entries))
    (directory / "modules.alias.bin").write_bytes(
        write_index([("net_*", 0, "user"), ("net_pf_*", 1, "base"), ("[a-c]x", 0, "base")])
    )
    (directory / "modules.builtin.bin").write_bytes(b"")  # depmod had no modules.builtin
    return directory


def test_a_tree_below_a_root(tmp_path: Path) -> None:
    directory = write_tree(tmp_path)
    tree = Tree.open(tmp_path, "4.4.4")
    assert tree.dirname == str(directory)
    assert list(tree.module_names()) == ["base", "user"]
    assert tree.dependency_line("base") == "/external/base.ko:"
    assert tree.aliases("net_pf_2") == ["user", "base"]
    assert list(tree.alias_items()) == [("[a-c]x", "base"), ("net_*", "user"), ("net_pf_*", "base")]
    assert not tree.is_builtin("user")
    assert tree.symbols("symbol:x") == []
    assert tree.path("kernel/user.ko") == f"{directory}/kernel/user.ko"
    assert tree.path("/external/base.ko") == "/external/base.ko"


def test_where_the_configuration_is(tmp_path: Path) -> None:
    assert Tree.open(tmp_path, "4.4.4").config_paths[0] == f"{tmp_path}/etc/modprobe.d"
    assert Tree.open(tmp_path, "4.4.4", host_config=True).config_paths[0] == "/etc/modprobe.d"
    assert Tree.open("/", "4.4.4").config_paths[0] == "/etc/modprobe.d"
    assert Tree.at(f"{tmp_path}/usr/lib/modules/4.4.4").config_paths == Tree.open(tmp_path, "4").config_paths
    assert Tree.at(tmp_path).config_paths == ()


@pytest.mark.parametrize(
    ("root", "directory"), [("/", "/lib/modules/5"), ("/r/", "/r/lib/modules/5"), ("", "/lib/modules/5")]
)
def test_spelling(root: str, directory: str) -> None:
    assert module_directory(root, "5") == directory


def test_the_running_kernel_is_the_default_below_the_root_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ukmod.kmod.tree.releases", lambda *_: ["0.1", os.uname().release])
    assert Tree.open().dirname == f"/lib/modules/{os.uname().release}"


def test_the_only_kernel_of_a_root_is_the_one_meant(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no modules of any kernel"):
        Tree.open(tmp_path)
    (tmp_path / "usr/lib/modules/6.1/kernel").mkdir(parents=True)
    (tmp_path / "usr/lib/modules/6.2").mkdir()
    (tmp_path / "usr/lib/modules/6.2/build").symlink_to("/usr/src/linux-headers-6.2")
    assert Tree.open(tmp_path).dirname == f"{tmp_path}/usr/lib/modules/6.1"
    (tmp_path / "usr/lib/modules/6.3/kernel").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"several kernels here: name one of 6\.1, 6\.3"):
        Tree.open(tmp_path)


def test_a_release_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/6.1/kernel").mkdir(parents=True)
    with pytest.raises(NotFoundError, match=r"no such directory of modules \(kernels there: 6\.1\)"):
        Tree.open(tmp_path, "6.l").require_indexes()


def test_a_tree_that_is_not_there() -> None:
    tree = Tree("/nonexistent")
    assert tree.dependency_line("a") is None
    assert list(tree.module_names()) == []
    with pytest.raises(NotFoundError, match="/nonexistent: there is no such directory of modules"):
        plan(Context.open(tree), "a")


def test_corrupt_indexes_are_told_and_passed_over(tmp_path: Path) -> None:
    directory = write_tree(tmp_path)
    (directory / "modules.dep.bin").write_bytes(b"\0" * 12)
    messages: list[str] = []
    tree = Tree(str(directory))
    tree.load(lambda _priority, function, text: messages.append(f"{function}: {text}"))
    assert messages == ["index_mm_open: magic check fail: 0 instead of b007f457"]
    assert tree.dependency_line("user") is None
    assert tree.aliases("ax") == ["base"]


def test_a_directory_of_modules_without_depmod(tmp_path: Path) -> None:
    for name in ("my-mod.ko", "sub/other.ko", "sub/readme"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not really")  # what cannot be read is listed all the same
    tree = Tree.from_directory(tmp_path)
    assert list(tree.module_names()) == ["my_mod", "other"]
    assert str(plan(Context.open(tree), "my-mod")) == f"insmod {tmp_path}/my-mod.ko "
    assert sorted(os.listdir(tmp_path)) == ["my-mod.ko", "sub"]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Tree.from_directory(tmp_path / "none")
