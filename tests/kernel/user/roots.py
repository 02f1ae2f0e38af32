"""Root file systems made of programs of this machine, with the libraries that they need."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.golden import RELEASE, modules

LIBRARY = re.compile(r"(/\S+) \(0x")
KMOD = ("modprobe", "depmod", "lsmod", "insmod", "rmmod", "modinfo")
MODULES = f"lib/modules/{RELEASE}"


def add_programs(root: Path, programs: Mapping[str, str]) -> None:
    """Copy programs of this machine to paths in the root, each with what ldd(1) lists."""
    for path, source in programs.items():
        copy(source, root / path)
        linked = subprocess.run(["ldd", source], capture_output=True, text=True, check=False).stdout
        for library in LIBRARY.findall(linked):
            copy(library, root / library.lstrip("/"))


def copy(source: str, target: Path) -> None:
    """Copy a file, with its mode, into a directory that is made if it is missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def with_kmod(root: Path) -> Path:
    """A root with the C kmod, busybox's sh and every compiled module of the cases, indexed."""
    add_kmod(root)
    add_modules(root, RELEASE, modules().values())
    return root


def add_kmod(root: Path) -> None:
    """Add the C kmod under the names of its tools, and busybox's sh."""
    add_programs(root, {"bin/kmod": shutil.which("kmod") or "/bin/kmod", "bin/busybox": "/bin/busybox"})
    (root / "sbin").mkdir()
    for name in KMOD:
        (root / "sbin" / name).symlink_to("/bin/kmod")
    (root / "bin/sh").symlink_to("busybox")


def add_modules(root: Path, release: str, files: Iterable[Path]) -> None:
    """Add modules, and index them."""
    directory = root / "lib/modules" / release
    for file in files:
        copy(str(file), directory / "extra" / file.name)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (directory / name).touch()
    subprocess.run(["depmod", "-b", root, release], check=True)
