"""modinfo of every module of a distribution's kernel.

Ours is two processes: beside the time that passes stands the CPU time of both.
"""

from __future__ import annotations

from benchmarks import Row, table
from benchmarks.programs import UKMOD, in_turn, tree

_RUNS = 9


def main() -> list[Row]:
    """Time both programs: the whole listing, and one field of it."""
    rows = []
    with tree() as modules:
        files = modules.files
        for name, options in (("modinfo", ()), ("modinfo -F depends", ("-F", "depends"))):
            arguments = ["modinfo", *options, *files]
            ours, theirs = in_turn([*UKMOD, *arguments], ["/sbin/modinfo", *arguments[1:]], runs=_RUNS)
            note = f"{len(files)} modules of {modules.release}"
            rows.append(Row(name, ours.wall, theirs.wall, "s", note))
            rows.append(Row(f"{name}, CPU time", ours.cpu, theirs.cpu, "s", note))
    return rows


if __name__ == "__main__":
    print(table(main()))
