"""The journal of a survey, from which one that was broken off goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ukmod.errors import FormatError
from ukmod.kernel.journal import Journal
from ukmod.kernel.verdict import Settings, Verdict


def test_a_journal_is_read_back_without_its_torn_last_line(tmp_path: Path) -> None:
    path, settings = tmp_path / "journal", Settings("/tree")
    verdict = Verdict("a", "refuses", "ENODEV")
    Journal(path, settings).add(verdict)
    with path.open("a") as file:
        file.write('{"name": "b", "ki')
    assert Journal(path, settings).done == {"a": verdict}
    assert [json.loads(line) for line in path.read_text().splitlines()][1]["name"] == "a"


def test_the_journal_of_another_survey_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", Settings("/tree"))
    with pytest.raises(FormatError, match="another survey"):
        Journal(tmp_path / "journal", Settings("/other"))


@pytest.mark.parametrize("text", ["", "no json\n", "{}\n[]\n", '{}\n{"name": "a", "what": 1}\n'])
def test_what_is_no_journal_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal").write_text(text)
    with pytest.raises(FormatError):
        Journal(tmp_path / "journal", Settings("/tree"))
