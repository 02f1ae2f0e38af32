"""A FIFO, a socket, a device or a sparse file of 10 GB in the place of each file that a command reads.

Nothing blocks, has no end or fills the memory: each command ends at once, with lines that a user can read.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from tests.cli.hostile import Found, assert_sound, in_child, said_by
from tests.elfwriter import module
from tests.golden import modules
from tests.kmod.depmod.trees import RELEASE, make_tree

from ukmod.cli import main

KINDS = ("regular file", "FIFO", "socket", "device", "sparse file")
TREE = "lib/modules/" + RELEASE
INDEXES = (
    *(
        "modules.dep.bin",
        "modules.alias.bin",
        "modules.symbols.bin",
        "modules.builtin.bin",
        "modules.softdep",
    ),
    "modules.builtin.alias.bin",
)
MODPROBE = ["modprobe", "-d", ".", "-S", RELEASE, "-C", "etc/modprobe.d", "-D", "m"]
DEPMOD = ["depmod", "-b", ".", "-C", "etc/depmod.d", RELEASE]
AT = ["-d", ".", "-S", RELEASE]

ROLES: dict[str, tuple[str, list[str]]] = {
    **{f"{name} of modprobe": (f"{TREE}/{name}", MODPROBE) for name in INDEXES},
    **{f"{name} of explain": (f"{TREE}/{name}", ["explain", *AT, "m"]) for name in INDEXES[3:5]},
    "a file of modprobe.d": ("etc/modprobe.d/x.conf", MODPROBE),
    "modprobe -C": ("x", ["modprobe", *AT, "-C", "x", "-D", "m"]),
    "a file of modprobe.d, for explain": ("etc/modprobe.d/x.conf", ["explain", *AT, "m"]),
    "a file of modprobe.d, for lint": ("etc/modprobe.d/x.conf", ["lint", *AT]),
    "explain -C": ("x", ["explain", *AT, "-C", "x", "m"]),
    "explain --cmdline": ("x", ["explain", *AT, "--cmdline", "./x", "m"]),
    "explain --symvers": ("x", ["explain", *AT, "--symvers", "x", "m"]),
    "explain --cert": ("x", ["explain", *AT, "--cert", "x", "m"]),
    "Module.symvers of the tree": (f"{TREE}/build/Module.symvers", ["explain", *AT, "m"]),
    "grub.cfg": ("boot/grub/grub.cfg", ["explain", *AT, "m"]),
    "a loader entry": ("boot/loader/entries/x.conf", ["explain", *AT, "m"]),
    "a unified kernel image": ("boot/EFI/Linux/x.efi", ["explain", *AT, "m"]),
    "config of the kernel": (f"boot/config-{RELEASE}", ["explain", *AT, "m"]),
    "lint --cmdline": ("x", ["lint", *AT, "--cmdline", "./x"]),
    "closure --loaded": ("x", ["closure", *AT, "--loaded", "x"]),
    "closure --modalias": ("x", ["closure", *AT, "--modalias", "x"]),
    "a module, for modinfo": ("x.ko", ["modinfo", "./x.ko"]),
    "a module, for depmod": (f"{TREE}/kernel/x.ko", DEPMOD),
    "a module, for run": ("x.ko", ["run", "--kernel", "none", "x.ko"]),
    "a module of a tree, for run": (f"{TREE}/kernel/m.ko", ["run", *AT, "--kernel", "none", "m"]),
    "a module of a tree, for explain": (f"{TREE}/kernel/m.ko", ["explain", *AT, "m"]),
    "a module of a tree, for closure": (f"{TREE}/kernel/m.ko", ["closure", *AT, "m"]),
    "modules.order of depmod": (f"{TREE}/modules.order", DEPMOD),
    "modules.builtin of depmod": (f"{TREE}/modules.builtin", DEPMOD),
    "modules.builtin.modinfo of depmod": (f"{TREE}/modules.builtin.modinfo", DEPMOD),
    "a file of depmod.d": ("etc/depmod.d/x.conf", DEPMOD),
    "depmod -C": ("x", ["depmod", "-b", ".", "-C", "x", RELEASE]),
    "depmod -F": ("x", ["depmod", "-b", ".", "-e", "-F", "x", RELEASE]),
    "depmod -E": ("x", ["depmod", "-b", ".", "-e", "-E", "x", RELEASE]),
    "an image": ("x", ["run", "--kernel", "x", "exporter.ko"]),
    "an image to be checked": ("x", ["kernel", "check", "x"]),
    "run --btf": ("x", ["run", "--kernel", "none", "--btf", "x", "exporter.ko"]),
    "a file of which a profile is made": ("x", ["profile", "-o", "profile", "x"]),
    **{
        f"an archive as the root of {words[0]}": ("x", [words[0], "-d", "x", "-S", RELEASE, *words[1:]])
        for words in (
            *(["explain", "m"], ["closure", "m"], ["graph", "m"], ["audit"], ["lint"]),
            *(["run", "--kernel", "none", "m"], ["survey", "--kernel", "none", "m"]),
        )
    },
    "an archive as an initramfs, for audit": ("x", ["audit", *AT, "--initramfs", "x", "m"]),
    "a file of modprobe.d, for audit": ("etc/modprobe.d/x.conf", ["audit", *AT, "--html"]),
    "an archive as the root of modprobe": ("x", ["modprobe", "-d", "x", "-S", RELEASE, "-D", "m"]),
    "an archive as the root of modinfo": ("x", ["modinfo", "-b", "x", "-k", RELEASE, "m"]),
    "a module, for fits": ("x.ko", ["fits", *AT, "x.ko"]),
    "policy --keep": ("x", ["policy", "generate", *AT, "--keep", "x"]),
    "survey --expect": ("x", ["survey", *AT, "--kernel", "none", "--expect", "x", "nobody"]),
    "the first of survey diff": ("x", ["survey", "diff", "x", "exporter.ko"]),
    "an image of a survey with a journal": ("x", ["survey", *AT, "--kernel", "x", "--journal", "j", "m"]),
    "kernel check --btf": ("x", ["kernel", "check", "--btf", "x", "exporter.ko"]),
    "fits --symvers": ("x", ["fits", *AT, "--symvers", "x", "exporter.ko"]),
    "an image of fits": ("x", ["fits", "--kernel", "x", "exporter.ko"]),
    "a journal": ("x", ["survey", *AT, "--kernel", "none", "--journal", "x", "m"]),
}  # fmt: skip
"""Where the file is, and the command that reads it."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a module and its indexes, which is the working directory."""
    make_tree(tmp_path, {"kernel/m.ko": module("m", "alias=a*", exports=["m"])})
    for directory in ("etc/modprobe.d", "etc/depmod.d", "boot"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(modules()["exporter"], tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["ukmod", *DEPMOD]) == 0
    return tmp_path


def plant(path: Path, kind: str) -> None:
    """Put a file of this kind where another may have been."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    match kind:
        case "regular file":
            path.write_text("# of no use\n")
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as it:
                it.bind(os.path.relpath(path))
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            with path.open("wb") as file:
                file.truncate(10 << 30)


def attempts(root: Path, role: str) -> Found:
    """Run a role's command on each kind of file: what it says and opens, by line."""
    place, words = ROLES[role]

    def attempt(kind: str) -> list[str]:
        plant(root / place, kind)
        return said_by(words)

    return in_child(lambda: {kind: attempt(kind) for kind in KINDS})


@pytest.mark.parametrize("role", ROLES)
def test_a_command_neither_blocks_nor_fills_the_memory(root: Path, role: str) -> None:
    name = Path(ROLES[role][0]).name
    found = attempts(root, role)
    assert found.keys() == {*KINDS}
    for lines in found.values():
        assert_sound(lines)
    assert name in map(os.path.basename, found["regular file"]), "the command reads it"
