"""The files of an image: where they go, and what leads to them; copies of them in another root."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from tests.kmod.moduletree import module

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod import Context, Tree, closure, depmod, plan
from ukmod.kmod.installing import install
from ukmod.kmod.payload import ImageFile, entry_of, manifest, payload

RELEASE = "usr/lib/modules/6.1.0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with /lib a link, two modules, and firmware that is a link."""
    root = tmp_path / "image"
    (root / RELEASE / "kernel").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / RELEASE / "kernel/base.ko").write_bytes(module(name="base", exports=["base_fn"]))
    user = module("firmware=u.bin", "alias=fs-user", name="user", needs=["base_fn"])
    (root / RELEASE / "kernel/user.ko").write_bytes(user)
    (root / RELEASE / "kernel/other.ko").write_bytes(module(name="other"))
    (root / RELEASE / "modules.order").write_text("kernel/user.ko\nkernel/base.ko\n")
    (root / "usr/lib/firmware").mkdir()
    (root / "usr/lib/firmware/u.1").write_bytes(b"firmware")
    (root / "usr/lib/firmware/u.bin").symlink_to("u.1")
    depmod(root)
    return root


def items(root: Path, *words: str, **options: bool) -> tuple[list[ImageFile], Tree]:
    tree = Tree.open(root)
    found = closure(Context.open(tree), words, firmware_directories=[f"{root}/lib/firmware"])
    return payload(found, tree, str(root), **options), tree


def test_files_lie_where_they_really_are_and_links_lead_there(root: Path) -> None:
    found, tree = items(root, "user", indexes=False)
    entries = [entry_of(item, tree) for item in found]
    assert [entry.path for entry in entries if not stat.S_ISDIR(entry.mode)] == [
        "lib",
        "usr/lib/firmware/u.1",
        "usr/lib/firmware/u.bin",
        f"{RELEASE}/kernel/base.ko",
        f"{RELEASE}/kernel/user.ko",
        f"{RELEASE}/modules.order",
    ]
    contents = {entry.path: entry.content for entry in entries}
    assert contents["lib"] == b"usr/lib"
    assert contents["usr/lib/firmware/u.bin"] == b"u.1"
    assert contents["usr/lib/firmware/u.1"] == b"firmware"
    assert contents[f"{RELEASE}/kernel/user.ko"] == (root / RELEASE / "kernel/user.ko").read_bytes()


def test_directories_stand_before_what_is_in_them(root: Path) -> None:
    paths = [item.path for item in items(root, "user")[0]]
    assert paths == sorted(paths)
    assert all(os.path.dirname(path) in ("", *paths[:number]) for number, path in enumerate(paths))


def test_the_indexes_are_those_that_depmod_makes_of_these_files(root: Path, tmp_path: Path) -> None:
    found, tree = items(root, "user")
    copy = tmp_path / "copy"
    copy.mkdir()
    install(found, tree, str(copy))
    made = {path.name: path.read_bytes() for path in (copy / RELEASE).glob("modules.*")}
    depmod(copy)
    assert {path.name: path.read_bytes() for path in (copy / RELEASE).glob("modules.*")} == made
    steps = str(plan(Context.open(Tree.open(copy)), "fs-user")).split()
    assert [os.path.basename(word) for word in steps[1::2]] == ["base.ko", "user.ko"]


def test_a_module_from_elsewhere_goes_to_updates(root: Path, tmp_path: Path) -> None:
    (tmp_path / "base.ko").write_bytes(module("parm=new:x", name="base", exports=["base_fn"]))
    found, tree = items(root, f"{tmp_path}/base.ko", "user")
    assert [item.path for item in found if item.path.endswith(".ko")] == [
        f"{RELEASE}/kernel/user.ko",
        f"{RELEASE}/updates/base.ko",
    ]
    dep = next(entry_of(item, tree).content for item in found if item.path.endswith("modules.dep"))
    assert b"kernel/user.ko: updates/base.ko\n" in bytes(dep)


def test_a_manifest_has_sizes_and_digests(root: Path) -> None:
    found, tree = items(root, "user", indexes=False)
    rows = {item.path: (size, digest) for item, size, digest in manifest(found, tree)}
    assert rows["usr/lib/firmware/u.1"] == (8, hashlib.sha256(b"firmware").hexdigest())
    assert rows["usr"] == (0, "")


def test_a_copy_replaces_files_and_keeps_others(root: Path, tmp_path: Path) -> None:
    found, tree = items(root, "user")
    copy = tmp_path / "copy"
    (copy / "usr/lib/firmware").mkdir(parents=True)
    (copy / "usr/lib/firmware/u.1").write_bytes(b"old")
    (copy / "usr/lib/firmware/own").write_bytes(b"own")
    for _again in range(2):
        install(found, tree, str(copy), mtime=86400)
    assert (copy / "usr/lib/firmware/u.1").read_bytes() == b"firmware"
    assert (copy / "usr/lib/firmware/u.1").stat().st_mtime == 86400
    assert (copy / "usr/lib/firmware/own").read_bytes() == b"own"
    assert not list(copy.rglob("*.tmp"))


def test_links_of_the_copy_s_root_lead_nowhere_else(root: Path, tmp_path: Path) -> None:
    found, tree = items(root, "user")
    copy, outside = tmp_path / "copy", tmp_path / "outside"
    copy.mkdir()
    outside.mkdir()
    (copy / "usr").symlink_to(outside)
    install(found, tree, str(copy))
    assert list(outside.iterdir()) == []
    assert (copy / str(outside)[1:] / "lib/modules/6.1.0/kernel/user.ko").exists()


def test_a_root_of_another_layout_is_refused(root: Path, tmp_path: Path) -> None:
    found, tree = items(root, "user")
    copy = tmp_path / "copy"
    (copy / "lib").mkdir(parents=True)
    with pytest.raises(UkmodError, match="a directory is there, and not the link to usr/lib"):
        install(found, tree, str(copy))


def test_a_file_outside_of_the_root_has_no_place(root: Path) -> None:
    tree = Tree.open(root)
    found = closure(Context.open(tree), ["user"])
    with pytest.raises(NotFoundError, match="not below the root"):
        payload(found, tree, f"{root}/elsewhere")
