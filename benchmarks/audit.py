"""The questions about a whole tree: by which routes its modules can be loaded, and what asks for them."""

from __future__ import annotations

from benchmarks import Row, table
from benchmarks.programs import UKMOD, copy, in_turn, tree

_RUNS = 3
_COMMANDS = ("audit", "audit surface", "lint")


def main() -> list[Row]:
    """Time each of the commands on a distribution's tree: CPU time, for there is nothing to compare with."""
    with tree() as linked, copy(linked) as modules:
        commands = [[*UKMOD, *name.split(), "-d", str(modules.root)] for name in _COMMANDS]
        took = in_turn(*commands, runs=_RUNS)
        note = f"CPU time, {len(modules.files)} modules of {modules.release}"
        return [
            Row(f"ukmod {name}", one.cpu, None, "s", note) for name, one in zip(_COMMANDS, took, strict=True)
        ]


if __name__ == "__main__":
    print(table(main()))
