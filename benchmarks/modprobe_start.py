"""``modprobe -q -- NAME``, as the kernel calls it: from the start of the process to its end.

A dry run (``-n``), so that it needs no root and loads nothing; all the rest is done.
"""

from __future__ import annotations

from benchmarks import Row, table
from benchmarks.programs import UKMOD, best, tree

_WORDS = ("net-pf-38", "fs-btrfs", "pci:v00008086d0000100Esv0sd0bc02sc00i00", "crypto-nosuch")


def main() -> list[Row]:
    """Time both programs on an alias, on one with soft dependencies, on a device's, and on one nobody has."""
    rows = [Row("python -c pass", best([UKMOD[0], "-c", "pass"], runs=20) * 1000, None, "ms", "the floor")]
    with tree() as modules:
        options = ["-n", "-q", "-d", str(modules.root), "-S", modules.release, "--"]
        for word in _WORDS:
            # The last one ends with status 1, as it should.
            found = ["sh", "-c", '"$@"; true', "-"] if word.endswith("nosuch") else []
            ours = best([*found, *UKMOD, "modprobe", *options, word], runs=20) * 1000
            theirs = best([*found, "/sbin/modprobe", *options, word], runs=20) * 1000
            rows.append(Row(f"modprobe -q -- {word}", ours, theirs, "ms"))
    return rows


if __name__ == "__main__":
    print(table(main()))
