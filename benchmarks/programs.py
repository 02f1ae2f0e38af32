"""How long programs take, and the tree they are tried on."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks import MissingError

__all__ = ["UKMOD", "Took", "Tree", "copy", "in_turn", "median", "run", "tree"]

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


@contextlib.contextmanager
def copy(modules: Tree, command: Sequence[str] = ()) -> Iterator[Tree]:
    """Lend a copy of a tree, of files instead of links; with a command that compresses files, compressed."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "lib/modules" / modules.release
        shutil.copytree(modules.root / "lib/modules" / modules.release, target)
        files = [os.fspath(path) for path in target.rglob("*.ko")]
        for at in range(0, len(files) if command else 0, 500):
            subprocess.run([*command, *files[at : at + 500]], check=True)
        yield Tree(Path(directory), modules.release)


class Took(NamedTuple):
    """Seconds that a program took: those that passed, and those of all its processes on a CPU."""

    wall: float
    cpu: float


def in_turn(*commands: Sequence[str], runs: int, status: int = 0) -> list[Took]:
    """Return the median of what each of some programs took. They run in turn, ``runs`` times each.

    CalledProcessError if one ends with another status.
    """
    taken: list[list[Took]] = [[] for _ in commands]
    for _ in range(runs):
        for command, took in zip(commands, taken, strict=True):
            took.append(run(command, status))
    return [median(took) for took in taken]


def run(command: Sequence[str], status: int = 0) -> Took:
    """Run a program from start to end. CalledProcessError if it ends with another status."""
    start, before = time.perf_counter(), _cpu_time()
    code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    took = Took(time.perf_counter() - start, _cpu_time() - before)
    if code != status:
        raise subprocess.CalledProcessError(code, command)
    return took


def median(took: Sequence[Took]) -> Took:
    """Return the median of each of the two times."""
    return Took(statistics.median(one.wall for one in took), statistics.median(one.cpu for one in took))


def _cpu_time() -> float:
    """Return the CPU time, in seconds, of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
