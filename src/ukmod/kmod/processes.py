"""How a process forks, and how it ends at once, without losing or repeating what Python has buffered."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["end", "fork"]


def fork() -> int:
    """Fork, with nothing buffered that both processes would write; returns what fork(2) does.

    Raises OSError if there cannot be another process.
    """
    _flush()
    return os.fork()


def end(status: int) -> NoReturn:
    """End this process at once: what was printed is written, but no exit function and no destructor runs."""
    _flush()
    os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # full, closed, or None
            continue
