"""modinfo of every module of a distribution's kernel, in one process."""

from __future__ import annotations

from benchmarks import Row, table
from benchmarks.programs import UKMOD, best, tree


def main() -> list[Row]:
    """Time both programs: the whole listing, and one field of it."""
    rows = []
    with tree() as modules:
        files = modules.files
        for name, options in (("modinfo", ()), ("modinfo -F depends", ("-F", "depends"))):
            ours = best([*UKMOD, "modinfo", *options, *files], runs=5)
            theirs = best(["/sbin/modinfo", *options, *files], runs=5)
            rows.append(Row(name, ours, theirs, "s", f"{len(files)} modules of {modules.release}"))
    return rows


if __name__ == "__main__":
    print(table(main()))
