"""How long programs take, and the tree they are tried on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import MissingError

__all__ = ["UKMOD", "Tree", "best", "tree"]

UKMOD = (sys.executable, "-c", "import sys; from ukmod.cli import main; sys.exit(main())")
"""Starts ukmod as its script does; what follows is its command line."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A root with one release's modules, which depmod has indexed."""

    root: Path
    release: str

    @property
    def files(self) -> list[str]:
        """All module files."""
        return sorted(map(str, (self.root / "lib/modules" / self.release / "kernel").rglob("*.ko")))


@contextlib.contextmanager
def tree() -> Iterator[Tree]:
    """Lend an indexed copy, by links, of the modules in $UKMOD_DEBIAN_CACHE (or .cache/debian)."""
    cache = Path(os.environ.get("UKMOD_DEBIAN_CACHE") or Path(__file__).parents[1] / ".cache" / "debian")
    sources = sorted((cache / "image" / "lib" / "modules").glob("*"))
    if not sources:
        raise MissingError(
            f"no kernel's modules under {cache}: run tools/debian.sh (or set UKMOD_DEBIAN_CACHE)"
        )
    if not Path("/sbin/depmod").exists():
        raise MissingError("no kmod: run tools/debian.sh as root")
    source = sources[-1]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "lib" / "modules" / source.name
        target.mkdir(parents=True)
        for entry in source.iterdir():
            if entry.is_dir():
                shutil.copytree(entry, target / entry.name, symlinks=True, copy_function=os.symlink)
            else:
                shutil.copyfile(entry, target / entry.name)
        subprocess.run(["/sbin/depmod", "-b", directory, source.name], check=True)
        yield Tree(Path(directory), source.name)


def best(command: Sequence[str], *, runs: int) -> float:
    """Return the shortest of ``runs`` times, in seconds, that a program takes from start to end."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)
