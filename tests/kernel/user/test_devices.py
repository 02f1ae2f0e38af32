"""Modules that a C program uses: each operation, its result, and the log are the real kernel's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.real import debian, devices

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]


def test_a_program_finds_the_devices_of_the_real_kernel(in_machine: InMachine, tmp_path: Path) -> None:
    programs = devices.build(tmp_path)

    def work(k: Kernel) -> dict[str, str]:
        devices.prepare(k, programs, debian.require())
        found = {name: devices.here(k, name) for name in devices.NAMES}
        k.settle()
        assert not k.leaks()
        assert not k.dangling
        assert not k.reports
        return found

    assert in_machine(work) == devices.stored()
