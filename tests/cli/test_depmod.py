"""depmod for distributions: ``ukmod depmod --strict`` and ``--overlay``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.kmod import moduletree
from tests.kmod.moduletree import module
from tests.machine.imagewriter import vmlinux

from ukmod import cli

USER = module(name="user", needs=["base_fn", "printk"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two modules and the symbols of its kernel."""
    root = tmp_path / "root"
    directory = moduletree.write(root, base=module(name="base", exports=["base_fn"]), user=USER)
    (directory / "build").mkdir()
    (directory / "build/Module.symvers").write_text("0x0\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n")
    return root


def depmod(root: Path, *arguments: str) -> int:
    return cli.main(["ukmod", "depmod", *arguments, "-b", str(root), "4.4.4"])


def written(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "lib/modules/4.4.4").glob("modules.*"))


def test_a_tree_without_faults_gets_the_same_files(root: Path) -> None:
    assert depmod(root, "--strict") == 0
    strict = {name: (root / "lib/modules/4.4.4" / name).read_bytes() for name in written(root)}
    assert depmod(root, "--no-cache") == 0
    assert {name: (root / "lib/modules/4.4.4" / name).read_bytes() for name in written(root)} == strict


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("new", module(name="new", needs=["ghost"]), "kernel/new.ko: nothing exports ghost"),
        ("new", b"damaged file", "kernel/new.ko: cannot be read"),
        (
            "base",
            module(name="base", exports=["base_fn"], needs=["user_fn"]),
            "kernel/base.ko: nothing exports user_fn",
        ),
    ],
)
def test_a_fault_is_an_error_and_nothing_is_written(
    root: Path, capfd: pytest.CaptureFixture[str], name: str, data: bytes, text: str
) -> None:
    (root / f"lib/modules/4.4.4/kernel/{name}.ko").write_bytes(data)
    assert depmod(root, "--strict") == 1
    assert text in capfd.readouterr().err
    assert written(root) == []


def test_a_cycle_is_spelled_with_its_symbols(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kernel = root / "lib/modules/4.4.4/kernel"
    (kernel / "base.ko").write_bytes(module(name="base", exports=["base_fn"], needs=["user_fn"]))
    (kernel / "user.ko").write_bytes(module(name="user", exports=["user_fn"], needs=["base_fn"]))
    assert depmod(root, "--strict") == 1
    error = capfd.readouterr().err
    assert "base -> user (user_fn) -> base (base_fn)" in error or (
        "user -> base (base_fn) -> user (user_fn)" in error
    )


def test_the_image_has_the_symbols_that_a_map_sends_elsewhere_for(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "lib/modules/4.4.4/build/Module.symvers").unlink()
    (root / "boot").mkdir()
    (root / "boot/System.map-4.4.4").write_text("ffffffffffffffff B The real System.map is elsewhere\n")
    assert depmod(root, "--strict") == 1
    assert "the kernel's symbols are not known" in capfd.readouterr().err
    (root / "boot/vmlinuz-4.4.4").write_bytes(vmlinux())
    new = module(name="new", needs=["_printk", "ghost"])
    (root / "lib/modules/4.4.4/kernel/new.ko").write_bytes(new)
    assert depmod(root, "--strict") == 1
    error = capfd.readouterr().err
    assert "kernel/new.ko: nothing exports ghost" in error
    assert "_printk" not in error


def test_without_the_kernel_s_symbols_unknown_ones_cannot_be_found(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.rename(root / "lib/modules/4.4.4/build/Module.symvers", tmp_path / "symvers")
    assert depmod(root, "--strict") == 1
    assert "the kernel's symbols are not known" in capfd.readouterr().err
    assert depmod(root, "--strict", "-E", str(tmp_path / "symvers")) == 0


def test_trees_laid_over_each_other_have_one_index(root: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    more = module(name="more", needs=["new_fn"])
    base = module(name="base", exports=["base_fn", "new_fn"])
    moduletree.write(overlay, more=more, base=base)
    out = tmp_path / "out"
    assert depmod(root, "--strict", "--overlay", str(overlay), "-o", str(out)) == 0
    dep = (out / "lib/modules/4.4.4/modules.dep").read_text().splitlines()
    expected = ["kernel/base.ko:", "kernel/more.ko: kernel/base.ko", "kernel/user.ko: kernel/base.ko"]
    assert sorted(dep) == expected
    assert written(root) == []
    assert depmod(root, f"--overlay={overlay}") == 0
    assert "modules.dep" in written(root)
    assert depmod(root, "--overlay") != 0


def test_a_link_named_depmod_does_not_know_them(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["/sbin/depmod", "--strict", "-b", str(root), "4.4.4"]) == 1
    assert "--strict" in capfd.readouterr().err


@pytest.mark.parametrize(("suffix", "library"), [("xz", "lzma"), ("gz", "zlib"), ("zst", "backports")])
def test_a_missing_decompressor_leaves_the_old_index(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], suffix: str, library: str
) -> None:
    assert depmod(root, "--no-cache") == 0
    old = (root / "lib/modules/4.4.4/modules.dep").read_bytes()
    magic = {"xz": b"\xfd7zXZ\0", "gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd"}[suffix]
    for name in ("base", "user"):
        path = root / f"lib/modules/4.4.4/kernel/{name}.ko"
        path.unlink()
        path.with_suffix(f".ko.{suffix}").write_bytes(magic + bytes(100))
    for missing in (library, "compression", "backports"):  # both have zstd, the former since Python 3.14
        monkeypatch.setitem(sys.modules, missing, None)
    assert depmod(root, "--no-cache") == 1
    assert "depmod: ERROR: " in capfd.readouterr().err
    assert (root / "lib/modules/4.4.4/modules.dep").read_bytes() == old
