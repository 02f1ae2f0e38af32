"""Where the Debian kernel is that ``tools/debian.sh`` unpacked; nothing of it is installed on the host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.golden import RELEASE, REPOSITORY

__all__ = [
    "RELEASE",
    "REPOSITORY",
    "SCRIPT",
    "Debian",
    "cache",
    "find",
    "found",
    "missing",
    "others",
    "require",
    "require_other",
    "require_release",
]

SCRIPT = "tools/debian.sh"
PROGRAMS = ("depmod", "modinfo", "modprobe", "qemu-system-x86_64", "busybox", "cpio")
"""What every set-up for comparisons has: the C kmod, QEMU, and what a guest's root is made of."""


@dataclass(frozen=True, slots=True)
class Debian:
    """An unpacked kernel: ``image`` holds boot/ and lib/, or usr/lib/ where its packages are split."""

    image: Path
    release: str

    @property
    def vmlinuz(self) -> Path:
        """The compressed kernel."""
        split = self.modules / "vmlinuz"
        return split if split.is_file() else self.image / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        """The tree of the kernel's own modules; depmod has not run on it."""
        merged = self.image / "usr" / "lib" / "modules" / self.release
        return merged if merged.is_dir() else self.image / "lib" / "modules" / self.release


def cache() -> Path:
    """Where unpacked packages are kept: $UKMOD_DEBIAN_CACHE, or .cache/debian in the repository.

    A test that asks has to be marked ``real``, so that ``make test`` can do without (tests/conftest.py).
    """
    if os.environ.get("UKMOD_REAL_TEST") == "0":
        raise AssertionError("a test that uses the real kernel has to be marked real")
    return Path(os.environ.get("UKMOD_DEBIAN_CACHE") or REPOSITORY / ".cache" / "debian")


def find() -> Debian | None:
    """The unpacked kernel image, or None where the script has not run."""
    debian = Debian(cache() / "image", RELEASE)
    return debian if debian.vmlinuz.is_file() else None


def found() -> Debian:
    """The unpacked kernel image. Raises FileNotFoundError where the script has not run."""
    if (kernel := find()) is None:
        raise FileNotFoundError(f"no Debian kernel under {cache()}: run {SCRIPT}")
    return kernel


def missing() -> list[str]:
    """Name what a machine lacks on which the comparisons are to run."""
    kernel = [] if find() is not None else [f"Debian's kernel {RELEASE} under {cache()}"]
    return kernel + _absent(PROGRAMS)


def _absent(programs: Iterable[str]) -> list[str]:
    path = os.pathsep.join((os.environ.get("PATH", ""), "/sbin", "/usr/sbin"))
    return [program for program in programs if shutil.which(program, path=path) is None]


def others(when: str) -> list[str]:
    """The names of the kernels that tools/kernels lists for ``when``."""
    lines = (REPOSITORY / "tools" / "kernels").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return [row[0] for row in rows if row[1] == when]


def require_other(name: str) -> Debian:
    """Another kernel, by its name in tools/kernels; skips the test if it is absent."""
    image = cache() / "other" / name
    found = sorted(image.glob("lib/modules/*")) or sorted(image.glob("usr/lib/modules/*"))
    if not found:
        pytest.skip(f"no Debian kernel in {image}: run {SCRIPT}{' kernels' * (name in others('more'))}")
    return Debian(image, found[-1].name)


def require_release(release: str) -> Debian:
    """The kernel with this release among those of tools/kernels; skips the test if it is absent."""
    for root in sorted((cache() / "other").glob("*")):
        if (found := Debian(root, release)).modules.is_dir():
            return found
    pytest.skip(f"no Debian kernel {release} in {cache()}: run {SCRIPT} kernels")


def require(*programs: str) -> Debian:
    """The unpacked kernel image; skips the test, saying what to run, where it or a program is absent."""
    debian = find()
    if debian is None:
        pytest.skip(f"no Debian kernel {RELEASE} under {cache()}: run {SCRIPT} (or set UKMOD_DEBIAN_CACHE)")
    if absent := _absent(programs):
        pytest.skip(f"{', '.join(absent)} not installed: run {SCRIPT} as root")
    return debian
