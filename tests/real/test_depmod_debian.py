"""depmod against the C depmod, on the modules of a distribution: every file byte for byte."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.real import debian

from ukmod.kmod.depmod.publish import publish
from ukmod.kmod.index import Index
from ukmod.kmod.index_write import write_index

pytestmark = pytest.mark.real

RELEASE = debian.RELEASE
PROGRAM = """
import sys
from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.tools.depmod import main
sys.exit(main(["depmod", *sys.argv[1:]], LinuxHost()))
"""


def c_depmod(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/sbin/depmod", "-b", str(root), RELEASE], capture_output=True, text=True, check=True
    )


def our_depmod(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "--no-cache", "-b", str(root), "-o", str(out), RELEASE]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def assert_same(root: Path, tmp_path: Path) -> None:
    """Run both; compare what they say and all that the C program wrote (before v33, no modules.weakdep)."""
    directory = root / "lib/modules" / RELEASE
    inputs = set(os.listdir(directory))
    theirs, ours = c_depmod(root), our_depmod(root, tmp_path / "out")
    assert ours.stderr == theirs.stderr
    written = sorted(set(os.listdir(directory)) - inputs)
    assert len(written) >= 10
    different = [
        name
        for name in written
        if (directory / name).read_bytes() != (tmp_path / "out/lib/modules" / RELEASE / name).read_bytes()
    ]
    assert different == []


def copy_of(
    source: Path, root: Path, part: str = "", pack: Callable[[bytes], bytes] | None = None, suffix: str = ""
) -> Path:
    """Copy a tree, or the part of it below a directory, and compress its modules."""
    directory = root / "lib/modules" / RELEASE
    directory.mkdir(parents=True)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, directory)
    for path in (source / part).rglob("*.ko"):
        target = directory / (str(path.relative_to(source)) + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        if pack is None:
            target.symlink_to(path)
        else:
            target.write_bytes(pack(path.read_bytes()))
    return root


@pytest.mark.slow
def test_the_whole_tree(tmp_path: Path) -> None:
    image = debian.require("depmod")
    assert_same(copy_of(image.modules, tmp_path / "root"), tmp_path)


@pytest.mark.parametrize("part", ["kernel/net", "kernel/drivers/media"])
def test_parts_whose_dependencies_are_missing(tmp_path: Path, part: str) -> None:
    image = debian.require("depmod")
    assert_same(copy_of(image.modules, tmp_path / "root", part), tmp_path)


def zstd(data: bytes) -> bytes:
    from tests.zstandard import zstd as packer

    packed: bytes = packer.compress(data)
    return packed


@pytest.mark.parametrize(("pack", "suffix"), [(lzma.compress, ".xz"), (zstd, ".zst")], ids=["xz", "zst"])
def test_compressed_modules(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    image = debian.require("depmod")
    assert_same(copy_of(image.modules, tmp_path / "root", "kernel/fs", pack, suffix), tmp_path)


def test_gzip_gives_the_same_as_plain(tmp_path: Path) -> None:
    # Debian's kmod is built without zlib, so it is compared with ourselves.
    image = debian.require()
    for name, pack, suffix in (("plain", None, ""), ("gz", gzip.compress, ".gz")):
        our_depmod(
            copy_of(image.modules, tmp_path / name, "kernel/sound", pack, suffix), tmp_path / f"{name}-out"
        )
    outs = [tmp_path / f"{name}-out/lib/modules" / RELEASE for name in ("plain", "gz")]
    for file in sorted(os.listdir(outs[0])):
        contents = [(out / file).read_bytes() for out in outs]
        if file.startswith("modules.dep"):
            assert contents[1].replace(b".ko.gz", b".ko").count(b".ko") == contents[0].count(b".ko")
        else:
            assert contents[0] == contents[1], file


def test_the_c_modprobe_reads_our_indexes(tmp_path: Path) -> None:
    image = debian.require("depmod", "modprobe")
    root = copy_of(image.modules, tmp_path / "root", "kernel/crypto")
    c_depmod(root)
    directory = root / "lib/modules" / RELEASE
    command = ["/sbin/modprobe", "-C", "/dev/null", "-d", str(root), "-S", RELEASE, "-c"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rewritten = []
    for name in ("modules.dep.bin", "modules.alias.bin", "modules.symbols.bin"):
        items = list(Index.open(str(directory / name)).items())
        entries = [(key, at, value) for at, (key, value) in enumerate(items)]
        rewritten.append((name, write_index(entries, preorder=True)))
    publish(str(directory), rewritten)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == theirs
