"""What all tests share: caches go to the checkout, not to the user's or the system's."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "xdg"


def pytest_configure() -> None:
    """Set it before any test, or a process that one starts, looks."""
    os.environ["XDG_CACHE_HOME"] = str(CACHE)
