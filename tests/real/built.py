"""Where the kernels are that ``tools/built-kernels.sh`` built from the rows of ``tools/configurations``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.golden import REPOSITORY
from tests.real.debian import Debian

__all__ = ["SCRIPT", "cache", "require"]

SCRIPT = "tools/built-kernels.sh"


def cache() -> Path:
    """Where they are kept: $UKMOD_BUILT_CACHE, or .cache/built in the repository."""
    return Path(os.environ.get("UKMOD_BUILT_CACHE") or REPOSITORY / ".cache" / "built")


def require(name: str) -> Debian:
    """A kernel by its name in tools/configurations, laid out as a package is; skips the test if absent."""
    place = cache() / name
    if not (place / "key").is_file():  # written last
        pytest.skip(f"no kernel in {place}: run {SCRIPT} {name}")
    return Debian(place, next((place / "lib" / "modules").iterdir()).name)
