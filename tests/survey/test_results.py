"""Results of surveys in files, what changed between two, and failures that are expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod import __version__
from ukmod.errors import FormatError, NotFoundError, UkmodError
from ukmod.survey.expected import is_expected, passing, read_expected
from ukmod.survey.journal import Journal
from ukmod.survey.results import read_results, verdict_changes
from ukmod.survey.verdict import MEANINGS, ModuleVerdict, Settings

CLEAN = ModuleVerdict("a", "loads", unload="ok")
REFUSED = ModuleVerdict("a", "refuses", "ENODEV")
OOPS = ModuleVerdict("a", "oops", "BUG")


def journal(path: Path, *verdicts: ModuleVerdict) -> str:
    with Journal(path, Settings("/tree")) as file:
        for verdict in verdicts:
            file.add(verdict)
    return str(path)


def test_a_journal_says_what_it_was_made_with(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"")
    path = tmp_path / "journal"
    Journal(path, Settings("/tree", str(image))).close()
    head = json.loads(path.read_text())
    assert head["ukmod"] == __version__
    assert head["date"].endswith("+00:00")
    assert head["image_sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert head["classes"] == MEANINGS
    image.write_bytes(b"another")
    with pytest.raises(FormatError, match="its image_sha256 is e3b0"):
        Journal(path, Settings("/tree", str(image)))


def test_a_journal_of_an_earlier_ukmod_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal(path, CLEAN)
    first, *rest = path.read_text().splitlines()
    old = {name: value for name, value in json.loads(first).items() if name in ("survey", *SETTINGS)}
    path.write_text("\n".join([json.dumps(old), *rest]) + "\n")
    journal(path, replace(OOPS, name="b"))
    found = read_results(str(path))
    assert [one.name for one in found.verdicts] == ["a", "b"]
    assert (found.ukmod, found.date, found.tree) == ("", "", "/tree")


SETTINGS = Settings.__match_args__


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (CLEAN, CLEAN, ""),
        (replace(CLEAN, seconds=1.0), replace(CLEAN, seconds=2.0, log=("x",)), ""),
        (CLEAN, REFUSED, "worse"),
        (OOPS, REFUSED, "better"),
        (REFUSED, replace(REFUSED, cause="EINVAL"), "changed"),
        (OOPS, None, "gone"),
        (None, OOPS, "new"),
    ],
)
def test_kinds_of_changes(before: ModuleVerdict | None, after: ModuleVerdict | None, kind: str) -> None:
    found = verdict_changes([before] if before else [], [after] if after else [])
    assert [one.kind for one in found] == ([kind] if kind else [])


def test_worse_ones_come_first(tmp_path: Path) -> None:
    before = [replace(OOPS, name=name) for name in ("a", "b")]
    after = [replace(CLEAN, name="a"), replace(REFUSED, name="z"), *[replace(OOPS, name="b", cause="other")]]
    assert [(one.kind, one.module) for one in verdict_changes(before, after)] == [
        ("new", "z"),
        ("changed", "b"),
        ("better", "a"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "ukmod.run/1"}',
        '{"survey": 1}\n{"name": "a"}\n',
        '{"survey": 1}\n{"name": "a", "kind": "bogus", "requests": []}\n',
        '{"survey": 1}\n{"name": "a", "kind": "loads", "log": [1], "requests": []}\n',
        '{"schema": "ukmod.survey/1", "settings": {}, "modules": [{"name": [], "requests": []}]}',
        "[" * 100_000,
    ],
)
def test_what_is_neither_is_refused_with_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(FormatError, match="neither a journal nor the JSON") as caught:
        read_results(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(NotFoundError):
        read_results(str(tmp_path / "nowhere"))


@pytest.mark.fuzz
@given(st.binary(max_size=40), st.integers(0, 2000))
def test_any_damage_is_an_error_of_ours_or_none(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "journal"
    journal(path, CLEAN, replace(OOPS, name="b", log=("line",)))
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    try:
        found = read_results(str(path))
    except UkmodError:
        return
    assert all(one.classification in MEANINGS and isinstance(one.reason, str) for one in found.verdicts)


def test_expected_failures(tmp_path: Path) -> None:
    path = tmp_path / "expected"
    path.write_text("# known\n\nsnd-a  oops  see bug 7 # later\nb timeout it is slow\n")
    first, second = read_expected(str(path))
    assert (first.module, first.classification, first.reason, first.line) == ("snd_a", "oops", "see bug 7", 3)
    assert is_expected(replace(OOPS, name="snd_a"), (first, second)) == first
    assert is_expected(replace(OOPS, name="b"), (first, second)) is None, "it fails in another way"
    assert is_expected(replace(CLEAN, name="b"), (first, second)) is None
    assert passing([replace(CLEAN, name="b")], (first, second)) == [(second, replace(CLEAN, name="b"))]


@pytest.mark.parametrize("line", ["a", "a oops", "a clean it is", "a bogus it is"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "expected"
    path.write_text(f"# ok\n{line}\n")
    with pytest.raises(FormatError, match="line 2: "):
        read_expected(str(path))
