"""A survey: each module in a copy of the machine, and a journal that a broken survey goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from tests.golden import modules

from ukmod.errors import FormatError
from ukmod.kernel.survey import Journal, Settings, Verdict, survey, survey_batch


class Inline(Executor):
    """Does the work at once, here."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "modules"
    directory.mkdir()
    for name in ("ok_dep", "ret_enodev", "needs_missing_symbol"):
        (directory / f"{name}.ko").symlink_to(modules()[name])
    return directory


def test_a_module_that_loads_and_unloads(tree: Path) -> None:
    (verdict,) = survey_batch(Settings(str(tree)), ["ok_dep"])
    assert (verdict.name, verdict.kind, verdict.unload) == ("ok_dep", "loads", "ok")
    assert verdict.fine


def test_modules_that_do_not_load(tree: Path) -> None:
    refuses, unknown = survey_batch(Settings(str(tree)), ["ret_enodev", "needs_missing_symbol"])
    assert (refuses.kind, refuses.cause, refuses.fine) == ("refuses", "ENODEV", True)
    assert (unknown.kind, unknown.fine) == ("unknown symbol", False)


def test_a_module_leaves_nothing_for_the_next(tree: Path) -> None:
    first, second = survey_batch(Settings(str(tree)), ["ok_dep", "ok_dep"])
    assert first.kind == second.kind == "loads"


def test_the_executor_is_a_parameter(tree: Path) -> None:
    verdicts = list(survey(Inline(), Settings(str(tree)), ["ok_dep"], batch=1))
    assert [verdict.name for verdict in verdicts] == ["ok_dep"]


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
