"""The C modprobe run for real, in a root of its own, on a kernel that keeps nothing but /sys/module.

The root has the host's modprobe, a shell and a few programs. ``judge.c`` is the kernel: it takes a module if
those whose symbols it needs are there. It wants a chroot, and so root; the modules are made by elfwriter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.kmod.predict.images import RELEASE

_SOURCE = Path(__file__).with_name("judge.c")
_PROGRAMS = (
    *("sh", "true", "false", "echo", "cat", "grep", "env", "nice", "test", "sleep", "logger", "printf"),
    *("cp", "touch"),
)
_KMOD = ("modprobe", "insmod", "rmmod", "depmod", "lsmod", "modinfo")


@dataclass(frozen=True)
class Judge:
    """A root in which the C modprobe runs."""

    root: Path

    def loaded_by(self, *words: str, cmdline: str = "") -> set[str]:
        """Return the modules that are loaded by ``modprobe WORD...``, from none."""
        self._unload()
        self._modprobe(*words, cmdline=cmdline)
        return self._loaded()

    def loaded_by_all(self, words: Sequence[str], cmdline: str = "") -> set[str]:
        """Return the modules that are loaded if all words are asked for twice, from none.

        A few at a time: judge.c lets a modprobe start only so many processes.
        """
        self._unload()
        for start in range(0, 2 * len(words), 4):
            self._modprobe("-a", *[*words, *words][start : start + 4], cmdline=cmdline)
        return self._loaded()

    def _unload(self) -> None:
        for entry in (self.root / "sys/module").iterdir():
            shutil.rmtree(entry)

    def _loaded(self) -> set[str]:
        return {entry.name for entry in (self.root / "sys/module").iterdir()}

    def meant(self, word: str, cmdline: str = "") -> set[str]:
        """Return the modules that a word stands for, also where an install line has the name of an alias."""
        names = self._modprobe("-R", word, cmdline=cmdline).split()
        aliased = (
            (name, self._modprobe("-C", "/dev/null", "-R", name, cmdline="").split()) for name in names
        )
        return {one for name, modules in aliased for one in modules or [name]}

    def _modprobe(self, *words: str, cmdline: str) -> str:
        (self.root / "proc/cmdline").write_text(cmdline + "\n")
        (self.root / "processes").write_text("")
        environment = ["PATH=/sbin:/usr/sbin:/bin:/usr/bin", "LD_PRELOAD=/judge.so"]
        return subprocess.run(
            ["chroot", self.root, "/bin/env", *environment, "/sbin/modprobe", *words],
            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=60,
        ).stdout  # fmt: skip


def require() -> None:
    """Skip the test where the judge cannot sit."""
    missing = [name for name in ("modprobe", "depmod", "gcc", "chroot") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install kmod gcc libc6-dev")
    if os.geteuid():
        pytest.skip("chroot is for root")


def make(root: Path, modules: Mapping[str, bytes], builtin: tuple[str, ...] = ()) -> Judge:
    """Make a root with programs and modules, indexed by the C depmod."""
    tree = root / "lib/modules" / RELEASE
    for name in ("bin", "sbin", "etc", "proc", "sys/module", "dev", f"usr/lib/modules/{RELEASE}/kernel"):
        (root / name).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")  # kmod 30 does not look into /usr/lib
    for name, data in modules.items():
        (tree / "kernel" / f"{name}.ko").write_bytes(data)
    (tree / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in builtin))
    (tree / "modules.builtin.modinfo").write_bytes(
        b"".join(b"%s.license=GPL\0" % name.encode() for name in builtin)
    )
    (tree / "modules.order").write_text("".join(f"kernel/{name}.ko\n" for name in modules))
    subprocess.run(["depmod", "-b", root, RELEASE], check=True, capture_output=True)
    (root / "dev/null").write_text("")
    programs = {name: shutil.which(name) for name in _PROGRAMS}
    for name, path in programs.items():
        assert path is not None, name
        _install(root, path, f"bin/{name}")
    _install(root, shutil.which("kmod") or "/bin/kmod", "bin/kmod")
    for name in _KMOD:
        (root / "sbin" / name).symlink_to("/bin/kmod")
    subprocess.run(["gcc", "-O1", "-w", "-shared", "-fPIC", "-o", root / "judge.so", _SOURCE], check=True)
    return Judge(root)


def _install(root: Path, program: str, name: str) -> None:
    shutil.copy(os.path.realpath(program), root / name)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for word in listed.split():
        if word.startswith("/") and not (root / word[1:]).exists():
            (root / word[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(word), root / word[1:])
