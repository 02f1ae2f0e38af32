"""depmod of a whole tree, plain and compressed.

Both programs run in turn, so that what else the machine does hits both; the medians are compared. A full run
of ours is two processes: beside the time that passes stands the CPU time of both. After a change, CPU time
alone is taken.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import Row, table
from benchmarks.programs import UKMOD, Tree, copy, cpu_time, tree

_RUNS = 9
_PACKERS = {"xz": ("xz", "-0"), "zst": ("zstd", "-q", "-3", "--rm")}


def main() -> list[Row]:
    """Time both on the plain tree and on compressed ones."""
    with tree() as plain:
        rows = _compare("plain tree", plain, _RUNS)
        with copy(plain) as copied:
            rows += _after_changes("plain tree", copied)
        for kind, command in _PACKERS.items():
            with copy(plain, command) as packed:
                rows += _compare(f"{kind} tree", packed, 3)
                rows += _after_changes(f"{kind} tree", packed)
    return rows


class _Took(NamedTuple):
    """Seconds that a program took: those that passed, and those of all its processes on a CPU."""

    wall: float
    cpu: float


def _compare(name: str, modules: Tree, runs: int) -> list[Row]:
    options = ["-b", str(modules.root), modules.release]
    ours: list[_Took] = []
    theirs: list[_Took] = []
    for _ in range(runs):
        theirs.append(_run(["/sbin/depmod", *options]))
        ours.append(_run([*UKMOD, "depmod", "--no-cache", *options]))
    our, their = _median(ours), _median(theirs)
    note = f"median of {runs}, in turn"
    return [
        Row(f"depmod, {name}", our.wall, their.wall, "s", note),
        Row(f"depmod, {name}, CPU time", our.cpu, their.cpu, "s", note),
    ]


def _median(took: Sequence[_Took]) -> _Took:
    return _Took(statistics.median(one.wall for one in took), statistics.median(one.cpu for one in took))


def _after_changes(name: str, modules: Tree) -> list[Row]:
    """Time depmod after a change, with what the run before it left, against C's only way, all of it."""
    options = ["-b", str(modules.root), modules.release]
    ours = [*UKMOD, "depmod", *options]
    _run(ours)
    time.sleep(2.5)  # so that the files' time stamps are trusted
    _run(ours)
    theirs: list[float] = []
    changes = _changes(modules.root / "lib/modules" / modules.release)
    times: dict[str, list[float]] = {what: [] for what in changes}
    for _ in range(_RUNS):
        theirs.append(_run(["/sbin/depmod", *options]).cpu)
        for what, change in changes.items():
            change()
            times[what].append(_run(ours).cpu)
    full = statistics.median(theirs)
    note = f"CPU time, median of {_RUNS}, in turn"
    return [
        Row(f"depmod, {name}, one module {what}", statistics.median(took), full, "s", note)
        for what, took in times.items()
    ]


def _changes(directory: Path) -> dict[str, Callable[[], object]]:
    """Return what may happen to a module; the contents of one that is compressed are left alone."""
    (driver,) = directory.rglob("e1000e.ko*")
    (library,) = directory.rglob("usbcore.ko*")
    away = driver.with_name("away")
    changes: dict[str, Callable[[], object]] = {"touched": lambda: os.utime(driver)}
    if driver.suffix == ".ko":
        changes["with another alias"] = lambda: _swap(
            driver, b"pci:v00008086d0000105E", b"pci:v00008086d0000005E"
        )
        changes["with another symbol"] = lambda: _swap(library, b"usb_get_descriptor", b"usb_got_descriptor")
    changes["removed"] = lambda: driver.rename(away)
    changes["added"] = lambda: away.rename(driver)
    return changes


def _swap(path: Path, one: bytes, other: bytes) -> None:
    """Replace some bytes of a module by others, as many; or those by these, if that was done before."""
    content = path.read_bytes()
    path.write_bytes(content.replace(one, other) if one in content else content.replace(other, one))


def _run(command: Sequence[str]) -> _Took:
    start, before = time.perf_counter(), cpu_time()
    subprocess.run(command, check=True)
    return _Took(time.perf_counter() - start, cpu_time() - before)


if __name__ == "__main__":
    print(table(main()))
