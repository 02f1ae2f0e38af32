"""What all tests share: caches go to the checkout; and how much is tried of what hypothesis makes up.

Parsers must take any bytes. The tests that throw them at one are marked ``fuzz``: what hypothesis tests below
the directories of parsers. Each is quick by default; ``--hypothesis-profile=fuzz`` tries ten times as much.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "xdg"
PARSERS = (HERE / "kmod", HERE / "machine", HERE / "kernel" / "image")

settings.register_profile(
    "fuzz", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_configure() -> None:
    """Set where caches go before any test, or a process that one starts, looks."""
    os.environ["XDG_CACHE_HOME"] = str(CACHE)


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the parsers' tests."""
    for item in items:
        test = getattr(item, "function", None)
        if getattr(test, "is_hypothesis_test", False) and any(map(item.path.is_relative_to, PARSERS)):
            item.add_marker(pytest.mark.fuzz)
