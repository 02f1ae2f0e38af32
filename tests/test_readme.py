"""The README shows what is really printed, and names what is really there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import golden
from tests.real import debian

from ukmod.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def shown(command: str) -> list[str]:
    """The lines that the README shows under ``$ command``, those that are cut (...) left out."""
    block = re.search(rf"^    \$ {re.escape(command)}\n((?:    .*\n|\n(?=    ))+)", README, re.MULTILINE)
    assert block is not None, f"the README does not show {command}"
    return [line.strip() for line in block[1].splitlines() if line.strip() not in ("", "...")]


def test_what_a_run_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ukmod", "run", str(golden.modules()["signal_handling"])]) == 0
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    missing = [line for line in shown("ukmod run signal_handling.ko") if line not in printed]
    assert not missing


@pytest.mark.real
def test_what_a_survey_prints(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = debian.require()
    command = f"ukmod survey -d /srv/image -S {kernel.release} e1000e ext4 kvm_intel libcrc32c nls_cp850"
    assert main(command.replace("/srv/image", str(kernel.image)).split()) == 0
    out = capsys.readouterr().out
    printed = [line.strip() for line in out.partition(" seconds")[0].splitlines() if line]
    text = shown(command)
    assert text[: len(printed)] == printed
    assert text[len(printed)].split() == ["seconds", "class", "module"]


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
