"""A file of expected failures: modules whose verdict is known to be another than clean or refused, and why.

A line has a module's name, one of a survey's words for verdicts, and the reason, which everything after the
second word is. ``#`` begins a comment, and empty lines are passed over::

    test_bpf    timeout   its self-test takes longer than a minute
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from ukmod.errors import FormatError
from ukmod.kmod.regular import read_named
from ukmod.record import record
from ukmod.survey.verdict import CLASSES, FINE, ModuleVerdict

__all__ = ["ExpectedFailure", "is_expected", "passing", "read_expected"]


_FAILURES = tuple(name for name in CLASSES if name not in FINE)


@record
class ExpectedFailure:
    """A line of the file."""

    module: str
    classification: str
    reason: str
    line: int


def read_expected(path: str) -> tuple[ExpectedFailure, ...]:
    """Return the lines of a file. Raises NotFoundError if it cannot be read, FormatError for a bad line."""
    found = []
    for number, line in enumerate(os.fsdecode(read_named(path)).splitlines(), 1):
        words = line.partition("#")[0].split(None, 2)
        if not words:
            continue
        if len(words) < 3:
            raise FormatError(f"line {number}: a module, a verdict and a reason belong there", path=path)
        name, classification, reason = words
        if classification not in _FAILURES:
            text = f"line {number}: {classification} is no failure; these are: {', '.join(_FAILURES)}"
            raise FormatError(text, path=path)
        found.append(ExpectedFailure(name.replace("-", "_"), classification, reason.strip(), number))
    return tuple(found)


def is_expected(verdict: ModuleVerdict, expected: Iterable[ExpectedFailure]) -> ExpectedFailure | None:
    """Return the line that expects this verdict; None if there is none, or if nothing is wrong with it."""
    if verdict.fine:
        return None
    key = (verdict.name, verdict.classification)
    return next((one for one in expected if (one.module, one.classification) == key), None)


def passing(
    verdicts: Iterable[ModuleVerdict], expected: Iterable[ExpectedFailure]
) -> list[tuple[ExpectedFailure, ModuleVerdict]]:
    """Return the expected failures of modules that are fine, with their verdicts."""
    fine = {one.name: one for one in verdicts if one.fine}
    return [(one, fine[one.module]) for one in expected if one.module in fine]
