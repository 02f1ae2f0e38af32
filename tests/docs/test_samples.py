"""Every sample on the documentation site is run: what a page shows is what comes out.

The README's samples are run by tests/test_packaging.py, where nothing but the wheel is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.docs.samples import Session
from tests.golden import REPOSITORY

PAGES = [
    *sorted((REPOSITORY / "docs" / "how-to").glob("*.md")),
    *sorted((REPOSITORY / "docs" / "tutorial").glob("*.md")),
]
NEEDS_A_COMPILER = ("make",)
"""Commands of the tutorial: the modules that they compile come with ukmod as well."""


def stand_in(session: Session, command: str) -> bool:
    """What a test does in place of a command: compiled examples instead of compiling them."""
    if command.startswith(NEEDS_A_COMPILER):
        for module in (REPOSITORY / "src/ukmod/data/examples").glob("*/*.ko"):
            (session.directory / module.name).write_bytes(module.read_bytes())
        return True
    return command.startswith(("pip install", "git clone", "python -m venv"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_the_samples_of_a_page_do_what_it_shows(page: Path, tmp_path: Path) -> None:
    directory = tmp_path / "reader"
    directory.mkdir()
    programs = Path(sys.executable).parent
    environment = {"PYTHONPATH": f"{REPOSITORY / 'src'}"}
    Session(page, directory, programs, stand_in, environment=environment).run()
