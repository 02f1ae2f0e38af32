"""All benchmarks in one table: ``python -m benchmarks``."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks import HEAD, MissingError, line

_NAMES = (
    "demo",
    "start",
    "machine",
    "depmod",
    "lookup",
    "modinfo",
    "modprobe_start",
    "audit",
    "survey",
    "user",
)


def main() -> int:
    """Run them one after the other, and print each when it is done.

    Status 1 if something to compare with was missing.
    """
    print(HEAD, flush=True)
    status = 0
    for name in _NAMES:
        try:
            for row in import_module(f"benchmarks.{name}").main():
                print(line(row), flush=True)
        except MissingError as error:
            print(f"NOT MEASURED: {name}: {error}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
