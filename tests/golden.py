"""Where the stored transcripts of the real kernel are, and how they are read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.steps import Case, Outcome
from tests.transcript import parse

REPOSITORY = Path(__file__).resolve().parents[1]
RELEASE = (REPOSITORY / "tools" / "release").read_text().strip()
"""The kernel that the stored transcripts and the compiled modules belong to. ``make golden`` changes it."""

DIRECTORY = REPOSITORY / "tests" / "golden" / RELEASE
MODULES = (
    REPOSITORY / "src" / "ukmod" / "data" / "demo" / RELEASE,
    REPOSITORY / "tests" / "data" / "cases" / RELEASE,
)


def path(case: Case) -> Path:
    """The file of a case's transcript."""
    return DIRECTORY / f"{case.name}.txt"


def load(case: Case) -> tuple[Outcome, ...]:
    """What the real kernel did with a case."""
    return parse(path(case).read_text())


def cache(name: str) -> Path:
    """A directory of the repository's for what making a transcript leaves."""
    directory = REPOSITORY / ".cache" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def write(file: Path, header: Sequence[str], text: str) -> None:
    """Store what a real kernel did, below the lines that say where it came from; say so."""
    file.write_text("\n".join((*header, text)))
    sys.stdout.write(f"{file}: written\n")


def modules() -> dict[str, Path]:
    """Every compiled module that a case may name: its name, and its file."""
    return {file.stem: file for directory in MODULES for file in sorted(directory.glob("*.ko"))}
