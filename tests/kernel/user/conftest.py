"""A Debian kernel that was brought up once, for tests of the user's side. Each works on a copy of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.golden import RELEASE
from tests.kernel.image.conftest import booted, in_a_copy, kernel_package

from ukmod.kernel.api import Kernel

__all__ = ["booted", "kernel_package"]
DEVICES = Path(__file__).parents[2] / "data/devices"


@pytest.fixture
def in_machine(booted: Kernel) -> Callable[[Callable[[Kernel], Any]], Any]:
    """Calls a function with a copy of the machine, and returns its result."""
    return lambda work: in_a_copy(booted, lambda: work(booted))


def device(name: str) -> str:
    """The path of a module of examples/devices."""
    return str(DEVICES / RELEASE / f"{name}.ko")
