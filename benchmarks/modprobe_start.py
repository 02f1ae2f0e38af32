"""The CPU time of ``modprobe -q -- NAME``, as the kernel calls it: the whole process.

A dry run (``-n``), so that it needs no root and loads nothing; all the rest is done.
"""

from __future__ import annotations

from benchmarks import Row, table
from benchmarks.programs import UKMOD, in_turn, tree

_NO_MODULE = "crypto-nosuch"
_WORDS = ("net-pf-38", "fs-btrfs", "pci:v00008086d0000100Esv0sd0bc02sc00i00", _NO_MODULE)
_RUNS = 41


def main() -> list[Row]:
    """Time both programs: an alias, one with soft dependencies, a device's, and one that no module has."""
    rows = []
    with tree() as modules:
        options = ["-n", "-q", "-d", str(modules.root), "-S", modules.release, "--"]
        for word in _WORDS:
            status = 1 if word == _NO_MODULE else 0
            ours, theirs = in_turn(
                [*UKMOD, "modprobe", *options, word],
                ["/sbin/modprobe", *options, word],
                runs=_RUNS,
                status=status,
            )
            rows.append(Row(f"modprobe -q -- {word}", ours.cpu * 1000, theirs.cpu * 1000, "ms", "CPU time"))
        bare = [UKMOD[0], "-c", "pass"]
        found = [*UKMOD, "modprobe", *options, _WORDS[0]]
        ours, floor = in_turn(found, bare, runs=_RUNS)
        name = "the first, beside python -c pass"
        rows.append(Row(name, ours.cpu * 1000, floor.cpu * 1000, "ms", "CPU time"))
    return rows


if __name__ == "__main__":
    print(table(main()))
