"""Cases, compiled modules and stored transcripts belong together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import golden
from tests.cases import BY_NAME, CASES, NOT_ON_A_REAL_KERNEL
from tests.steps import Case, Insmod, Start, Step
from tests.transcript import describe

_ON_DEMAND = {"send_signal", "ring_b"}
_LEFT_BEHIND = {"leaves", "registers", "hooks", "hooked"}
"""What they leave when they are unloaded is named by tests of the fixture and of tests/kernel."""
"""Modules that no case loads by itself: others ask for them."""


def _modules_of(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        match step:
            case Insmod(module) | Start(Insmod(module)):
                yield module


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_its_transcript(case: Case) -> None:
    """One outcome a step; fewer only where the machine died."""
    steps = [describe(step) for step in case.steps]
    found = [outcome.step for outcome in golden.load(case)]
    assert found == (steps[: len(found)] if case.dies else steps)
    assert all(outcome.result for outcome in golden.load(case)) != case.dies


def test_every_transcript_has_its_case() -> None:
    assert {file.stem for file in golden.DIRECTORY.glob("*.txt")} == set(BY_NAME)


def test_every_module_is_compiled_and_used() -> None:
    named = {module for case in (*CASES, *NOT_ON_A_REAL_KERNEL) for module in _modules_of(case.steps)}
    assert named | _ON_DEMAND | _LEFT_BEHIND == set(golden.modules())
