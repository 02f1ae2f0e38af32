"""The outcomes of the kernel's own functions for the first cases of each table, for runs without an image.

A file is a section for each twin: its name, and the digest of the arguments; then a line for each case, in
the form of ``twin.outcomes``. ``python -m tests.real.computed`` makes them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from tests import golden
from tests.kernel.twins.tables import TABLES

DIRECTORY = golden.DIRECTORY / "computed"
_SECTION = "== "


@cache
def _sections() -> dict[str, tuple[str, list[str]]]:
    return {name: section for table in TABLES for name, section in _read(table)}


def _read(table: str) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    text = (DIRECTORY / f"{table}.txt").read_text()
    for section in text.split(_SECTION)[1:]:
        title, *lines = section.splitlines()
        name, digest = title.split()
        yield name, (digest, lines)


def outcomes() -> dict[str, list[str]]:
    """The outcomes of each twin's first cases."""
    return {name: lines for name, (_, lines) in _sections().items()}


def digest(name: str) -> str:
    """The digest of the arguments that a twin's outcomes belong to, or "" if there are none."""
    return _sections().get(name, ("", []))[0]


def store(found: Mapping[str, list[str]]) -> None:
    """Write the outcomes of each twin's first cases."""
    DIRECTORY.mkdir(exist_ok=True)
    for table, twins in TABLES.items():
        sections = ["\n".join([f"{_SECTION}{twin} {twin.digest}", *found[str(twin)]]) for twin in twins]
        (DIRECTORY / f"{table}.txt").write_text("\n".join(sections) + "\n")
