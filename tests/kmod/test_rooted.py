"""A root's links mean what they mean to the system in it, whatever lies at their targets on this machine."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.kmod.moduletree import module

from ukmod.kmod import Context, Tree, closure, depmod, plan
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.rooted import RootedFiles, resolve_in_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image whose /lib, module, firmware and configuration are absolute links, with one module."""
    root = tmp_path / "image"
    release = root / "usr/lib/modules/6.1.0"
    (release / "kernel").mkdir(parents=True)
    (root / "store").mkdir()
    (root / "lib").symlink_to("/usr/lib")
    (root / "store/user.ko").write_bytes(module("firmware=u.bin", name="user"))
    (release / "kernel/user.ko").symlink_to("/store/user.ko")
    (root / "usr/lib/firmware").mkdir()
    (root / "store/u.bin").write_bytes(b"firmware")
    (root / "usr/lib/firmware/u.bin").symlink_to("/../../store/u.bin")
    (root / "etc").symlink_to("/usr/etc")
    (root / "usr/etc/modprobe.d").mkdir(parents=True)
    (root / "store/x.conf").write_text("options user a=1\n")
    (root / "usr/etc/modprobe.d/x.conf").symlink_to("/store/x.conf")
    return root


def test_a_tree_behind_absolute_links_is_indexed_planned_and_closed(root: Path) -> None:
    assert depmod(root).modules == ("user",)
    assert (root / "usr/lib/modules/6.1.0/modules.dep.bin").exists()
    tree = Tree.open(root)
    assert tree.dirname == f"{root}/lib/modules/6.1.0"
    context = Context.open(tree)
    assert str(plan(context, "user")).split() == ["insmod", f"{tree.dirname}/kernel/user.ko", "a=1"]
    found = closure(context, ["user"], firmware_directories=[f"{root}/lib/firmware"])
    assert found.missing == ()
    spelled = (f"{tree.dirname}/kernel/user.ko", f"{root}/lib/firmware/u.bin")
    assert found.files == (*spelled, f"{root}/store/user.ko", f"{root}/store/u.bin")


def test_a_file_of_modprobe_d_that_is_a_link_to_dev_null_hides_its_namesake(root: Path) -> None:
    depmod(root)
    (root / "usr/lib/modprobe.d").mkdir()
    (root / "usr/lib/modprobe.d/deny.conf").write_text("blacklist user\n")
    assert Context.open(Tree.open(root)).config.blacklists
    (root / "usr/etc/modprobe.d/deny.conf").symlink_to("/dev/null")
    assert not Context.open(Tree.open(root)).config.blacklists


def test_a_release_is_found_in_whichever_directory_has_it(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/5.10").mkdir(parents=True)
    (tmp_path / "usr/lib/modules/6.1").mkdir(parents=True)
    assert Tree.open(tmp_path, "6.1").dirname == f"{tmp_path}/usr/lib/modules/6.1"
    assert Tree.open(tmp_path, "5.10").dirname == f"{tmp_path}/lib/modules/5.10"
    assert Tree.open(tmp_path).dirname == f"{tmp_path}/lib/modules/5.10"


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("/a/b", "/a/b"),
        ("../../../..", ""),
        ("/..", ""),
        ("missing/../../a", "/d/missing/../../a"),
        ("/etc/passwd", "/etc/passwd"),
        ("./x", "/d/x"),
    ],
)
def test_links_are_followed_below_the_root(tmp_path: Path, target: str, leads_to: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to(target)
    assert resolve_in_root(f"{tmp_path}/d/link", str(tmp_path)) == f"{tmp_path}{leads_to}"


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("/a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        RootedFiles(str(tmp_path)).read(f"{tmp_path}/a")


def test_a_path_beside_the_root_is_this_machine_s(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image-config").symlink_to("/etc")
    assert RootedFiles(f"{tmp_path}/image").real(f"{tmp_path}/image-config") == f"{tmp_path}/image-config"


@pytest.mark.parametrize("files", [RootedFiles, DirectoryFiles])
@pytest.mark.parametrize("method", ["read", "paged", "listdir", "stat", "real", "follow", "open_module"])
def test_no_file_has_a_nul_in_its_name(tmp_path: Path, files: type[DirectoryFiles], method: str) -> None:
    """A boot loader's file, or a line of configuration, can name one all the same."""
    with pytest.raises(FileNotFoundError):
        getattr(files(str(tmp_path)), method)(f"{tmp_path}/a\0b")
    with pytest.raises(FileNotFoundError):
        getattr(files(), method)("a\0b")
