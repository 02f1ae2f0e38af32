"""depmod of a whole tree, plain and compressed.

Both programs run in turn, so that what else the machine does hits both; the medians are compared. A full run
of ours is two processes: beside the time that passes stands the CPU time of both. After a change, CPU time
alone is taken.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import Row, table
from benchmarks.programs import UKMOD, Tree, copy, in_turn, run, tree

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


def _compare(name: str, modules: Tree, runs: int) -> list[Row]:
    options = ["-b", str(modules.root), modules.release]
    theirs, ours = in_turn(["/sbin/depmod", *options], [*UKMOD, "depmod", "--no-cache", *options], runs=runs)
    note = f"median of {runs}, in turn"
    return [
        Row(f"depmod, {name}", ours.wall, theirs.wall, "s", note),
        Row(f"depmod, {name}, CPU time", ours.cpu, theirs.cpu, "s", note),
    ]


def _after_changes(name: str, modules: Tree) -> list[Row]:
    """Time depmod after a change, with what the run before it left, against C's only way, all of it."""
    options = ["-b", str(modules.root), modules.release]
    ours = [*UKMOD, "depmod", *options]
    run(ours)
    time.sleep(2.5)  # so that the files' time stamps are trusted
    run(ours)
    theirs: list[float] = []
    changes = _changes(modules.root / "lib/modules" / modules.release)
    times: dict[str, list[float]] = {what: [] for what in changes}
    for _ in range(_RUNS):
        theirs.append(run(["/sbin/depmod", *options]).cpu)
        for what, change in changes.items():
            change()
            times[what].append(run(ours).cpu)
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


if __name__ == "__main__":
    print(table(main()))
