"""A machine may be interrupted anywhere: timers and other tasks run at each of many blocks of a program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.user import programs
from tests.machine.stops import Stops

from ukmod.kernel import watchdog
from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
EVERY = 211
"""So many blocks are between two interruptions."""
SHORT = 1_000_000
"""Nanoseconds of virtual time for each, so that no program takes too long."""


@pytest.mark.parametrize("subject", ["files", "children", "signals"])
def test_a_program_that_is_interrupted_anywhere_does_what_it_does(
    in_machine: InMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    monkeypatch.setattr(watchdog, "SLICE_NS", SHORT)
    program = programs.build(tmp_path)

    def interrupted(k: Kernel, first: int) -> list[object]:
        core = k.core
        core.cpu.on_stuck = lambda registers, _silent: watchdog.used_up(core, registers)
        stops = Stops(core.cpu, EVERY, first)
        outcome = programs.outcome(k, subject)
        assert len(stops.places) > 100
        return [*outcome, *map(str, (*k.oopses, *k.warnings))]

    def work(k: Kernel) -> None:
        k.put(program, "/bin/trial")
        usual = list(programs.outcome(k, subject))
        for first in range(0, EVERY, 42):
            assert in_a_copy(k, lambda first=first: interrupted(k, first)) == usual, first

    in_machine(work)
