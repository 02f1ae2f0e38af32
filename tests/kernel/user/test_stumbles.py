"""Faults of the kernel in a program's system call: the log shows how the program called, as the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.real import stumbles

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]


def test_reports_end_in_the_registers_with_which_the_program_called(
    in_machine: InMachine, tmp_path: Path
) -> None:
    program = stumbles.build(tmp_path)
    assert in_machine(lambda k: stumbles.here(k, program)) == stumbles.stored()
