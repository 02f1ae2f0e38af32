"""The README names what is really there. tests/test_packaging.py runs its samples."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_make_has_the_targets() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_files_that_it_links_to_are_there() -> None:
    for link in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (REPOSITORY / link).is_file(), link


def test_public_names_that_it_uses_are_there() -> None:
    import ukmod
    from ukmod import kmod

    (names,) = re.findall(r"from ukmod\.kmod import ([\w, ]+)", README)
    assert {name.strip() for name in names.split(",")} <= set(kmod.__all__)
    for name in set(re.findall(r"\bk\.(\w+)\(", README)):
        assert hasattr(ukmod.Kernel, name), name
