"""All benchmarks in one table: ``python -m benchmarks``."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks import MissingError, Row, table

_NAMES = ("demo", "start", "machine", "depmod", "lookup", "modinfo", "modprobe_start", "survey")


def main() -> int:
    """Run them one after the other; status 1 if something to compare with was missing."""
    rows: list[Row] = []
    missing = []
    for name in _NAMES:
        sys.stderr.write(f"{name}...\n")
        try:
            rows += import_module(f"benchmarks.{name}").main()
        except MissingError as error:
            missing.append(f"NOT MEASURED: {name}: {error}")
    print("\n".join([table(rows), *missing]))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
