from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.kmod.depmod.trees import CHAIN, RELEASE, make_tree

from ukmod.kmod.context import Context
from ukmod.kmod.freshness import Freshness
from ukmod.kmod.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    directory = make_tree(tmp_path, CHAIN)
    (directory / "modules.dep.bin").write_bytes(b"")
    (tmp_path / "etc/modprobe.d").mkdir(parents=True)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    return Tree.open(tmp_path, RELEASE)


def test_nothing_changed(tree: Tree) -> None:
    fresh = Freshness(tree)
    Context.open(tree).lookup("a")
    assert fresh.verdict() == "ok"


@pytest.mark.parametrize("index", ["modules.dep.bin", "modules.alias.bin"])
def test_an_index_was_made_again_or_for_the_first_time(tree: Tree, index: str) -> None:
    fresh = Freshness(tree)
    Path(tree.dirname, index).write_bytes(b"")
    assert fresh.verdict() == "reload"
    assert Freshness(tree).verdict() == "ok"


def test_a_file_of_the_configuration_came(tree: Tree, tmp_path: Path) -> None:
    fresh = Freshness(tree)
    (tmp_path / "etc/modprobe.d/new.conf").write_text("blacklist a\n")
    assert fresh.verdict() == "recreate"


def test_a_directory_of_the_configuration_came(tree: Tree, tmp_path: Path) -> None:
    fresh = Freshness(tree)
    (tmp_path / "run/modprobe.d").mkdir(parents=True)
    assert fresh.verdict() == "recreate"


def test_a_file_named_outright_is_watched_itself(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "own.conf"
    path.write_text("")
    os.utime(path, (1, 1))
    fresh = Freshness(tree, [str(path)])
    path.write_text("blacklist a\n")
    assert fresh.verdict() == "recreate"


def test_an_index_is_read_again_after_unload(tree: Tree) -> None:
    assert tree.dependency_line("b") is None
    from ukmod.kmod.index_write import write_index

    Path(tree.dirname, "modules.dep.bin").write_bytes(write_index([("b", 0, "kernel/b.ko:")]))
    assert tree.dependency_line("b") is None
    tree.unload()
    assert tree.dependency_line("b") == "kernel/b.ko:"
