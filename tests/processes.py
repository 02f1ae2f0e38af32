"""Processes: which there are, as /proc has it, for tests that must leave none; and how some are started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_SECONDS = 20
"""That a process which was killed may take to be gone, on a busy machine."""


def children(pid: int) -> list[int]:
    """The processes that a process has started, by any of its threads, and not waited for."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # a thread, or all of it, has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Its children, and theirs."""
    found = children(pid)
    return found + [other for child in found for other in descendants(child)]


def all_end(pids: Iterable[int]) -> bool:
    """Wait for processes that have been killed."""
    deadline = time.monotonic() + _SECONDS
    while any(map(runs, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def runs(pid: int) -> bool:
    """Is there such a process, and not only what is left of it for its parent to see?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def unmeasured() -> dict[str, str]:
    """The environment of a process that coverage.py leaves alone: it imports modules, and handles signals."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
