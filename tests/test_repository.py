"""Rules for the repository as a whole."""

from __future__ import annotations

import re
from contextlib import suppress

from tests.golden import RELEASE, REPOSITORY

REGISTRIES = re.compile(
    r"\b(?:deb|ftp|security|archive|snapshot|ports)\.(?:debian|ubuntu)\.(?:org|com)\b"
    r"|\bpypi\.(?:org|python)\b|pythonhosted"
)
MADE = {".git", ".venv", ".cache", "dist", "build", "site"}
"""Directories that are no part of the repository; so are other caches, whose names begin with a dot."""


def texts() -> dict[str, str]:
    """The text files of the repository, without the licence and what a real kernel printed."""
    found = {}
    for path in REPOSITORY.rglob("*"):
        name = path.relative_to(REPOSITORY)
        made = any(part in MADE or part.endswith("_cache") or part == "__pycache__" for part in name.parts)
        if made or not path.is_file() or path.suffix in (".ko", ".gz", ".verdicts") or path.name == "LICENSE":
            continue
        with suppress(UnicodeDecodeError):
            found[str(name)] = path.read_text()
    return found


def test_no_file_names_a_registry() -> None:
    """Packages come from wherever the system's own configuration says, a mirror at work for example."""
    there = {name for name, text in texts().items() if REGISTRIES.search(text)}
    assert there == {"tests/test_repository.py"}


def test_the_release_that_the_golden_data_belong_to_is_named_once() -> None:
    """Code that names it breaks on the day it is replaced: scripts and tests read tools/release."""
    code = {name: text for name, text in texts().items() if name.endswith((".sh", "Makefile", "run"))}
    assert len(code) > 4
    assert [name for name, text in code.items() if RELEASE in text] == []
