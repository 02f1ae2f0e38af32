"""The journal of a survey, from which one that was stopped goes on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.limits import largest_file

from ukmod.errors import FormatError, NotFoundError, UsageError
from ukmod.kernel.trace import Request
from ukmod.survey.journal import Journal
from ukmod.survey.verdict import ModuleVerdict, Settings

SETTINGS = Settings("/tree", "/boot/vmlinuz")
REQUEST = Request(
    5, 4, "insmod", "f+0x1/0x2 [a]", "b", wait=True, result=0, resolved=("/b.ko",), loaded=("b",)
)
VERDICT = ModuleVerdict("a", "refuses", "ENODEV", requests=(REQUEST,), seconds=0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def keep(path: Path, *verdicts: ModuleVerdict, settings: Settings = SETTINGS) -> None:
    with Journal(path, settings) as journal:
        for verdict in verdicts:
            journal.add(verdict)


def known(path: Path, settings: Settings = SETTINGS) -> dict[str, ModuleVerdict]:
    with Journal(path, settings) as journal:
        return journal.done


def test_a_verdict_is_read_back_as_it_was(path: Path) -> None:
    keep(path, VERDICT)
    assert known(path) == {"a": VERDICT}


def test_each_verdict_is_in_the_file_at_once(path: Path) -> None:
    with Journal(path, SETTINGS) as journal:
        journal.add(VERDICT)
        assert json.loads(path.read_text().splitlines()[1])["name"] == "a"


def test_a_torn_last_line_is_a_module_to_be_tried_again(path: Path) -> None:
    keep(path, VERDICT)
    with path.open("a") as file:
        file.write('{"name": "b", "ki')
    other = replace(VERDICT, name="c")
    keep(path, other)
    assert known(path) == {"a": VERDICT, "c": other}


def test_a_torn_first_line_is_a_journal_that_begins(path: Path) -> None:
    keep(path)
    path.write_bytes(path.read_bytes()[:20])
    keep(path, VERDICT)
    assert known(path) == {"a": VERDICT}


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    keep(path, VERDICT)
    assert known(path) == {"a": VERDICT}


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (replace(SETTINGS, tree="/other"), "its tree is /tree, not /other"),
        (replace(SETTINGS, image="/other"), "its image is /boot/vmlinuz, not /other"),
        (replace(SETTINGS, seconds=5.0), "its seconds is 1.0, not 5.0"),
    ],
)
def test_the_journal_of_another_survey_is_refused_and_left_alone(
    path: Path, other: Settings, text: str
) -> None:
    keep(path, VERDICT)
    with pytest.raises(FormatError, match=re.escape(f"the journal of another survey: {text}")):
        Journal(path, other)
    assert known(path) == {"a": VERDICT}


@pytest.mark.parametrize(
    "text", ["no json", "no json\n", "{}\n", "[]\n", '{"survey": 1}\n[]\n', "\xff\n", '{"survey": 1}\n\n']
)
def test_what_is_no_journal_is_refused_and_left_alone(path: Path, text: str) -> None:
    path.write_text(text, "latin-1")
    with pytest.raises(FormatError, match="journal"):
        Journal(path, SETTINGS)
    assert path.read_text("latin-1") == text


def test_a_damaged_verdict(path: Path) -> None:
    keep(path, VERDICT)
    with path.open("a") as file:
        file.write('{"name": "a", "what": 1}\n')
    with pytest.raises(FormatError, match="not the journal of a survey"):
        Journal(path, SETTINGS)


def test_two_surveys_do_not_write_the_same_journal(path: Path) -> None:
    with Journal(path, SETTINGS), pytest.raises(UsageError, match="another survey is writing it"):
        Journal(path, SETTINGS)


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot write: Is a directory"):
        Journal(tmp_path, SETTINGS)
    with pytest.raises(NotFoundError, match="cannot write: not a regular file"):
        Journal("/dev/full", SETTINGS)
    with pytest.raises(NotFoundError, match="/proc/self/mem: cannot write: "):
        Journal("/proc/self/mem", SETTINGS)


def test_a_sparse_file_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(FormatError, match="larger than 256 MiB"):
        Journal(path, SETTINGS)
    assert path.stat().st_size == 10 << 30


def test_a_full_disk(path: Path) -> None:
    with (
        Journal(path, SETTINGS) as journal,
        largest_file(path.stat().st_size + 10),
        pytest.raises(NotFoundError, match="cannot write: File too large"),
    ):
        journal.add(VERDICT)
    assert known(path) == {}
