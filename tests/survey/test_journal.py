"""The journal of a survey, from which one that was stopped goes on."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults import ERRORS, failing, killed_at, racing
from tests.limits import largest_file

from ukmod.errors import FormatError, NotFoundError, UsageError
from ukmod.kernel.trace import Request
from ukmod.survey.journal import Journal, journal_head
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


@pytest.mark.parametrize("head", [b"", json.dumps(journal_head(SETTINGS)).encode() + b"\n"])
@pytest.mark.parametrize("text", [b"[", b'{"name":'])
def test_a_line_that_is_nested_without_end_is_refused(path: Path, head: bytes, text: bytes) -> None:
    path.write_bytes(head + text * 100_000 + b"\n")
    with pytest.raises(FormatError, match="not the journal of a survey: "):
        Journal(path, SETTINGS)
    assert path.read_bytes().startswith(head + text), "it is left alone"


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


OTHER = replace(VERDICT, name="b")


def begin(path: Path) -> None:
    keep(path)


def resume(path: Path) -> None:
    keep(path, OTHER)


@pytest.mark.parametrize("work", [begin, resume])
def test_whatever_call_fails_the_verdicts_before_it_survive(path: Path, work: Callable[[Path], None]) -> None:
    failed = set()
    for number in itertools.count():
        path.unlink(missing_ok=True)
        if work is resume:
            keep(path, VERDICT)
        error = ERRORS[number % len(ERRORS)]
        said = ""
        with failing(number, error) as calls:
            try:
                work(path)
            except NotFoundError as found:
                said = str(found)
        if not calls:
            break
        failed |= {*calls}
        assert said == ("" if calls == ["close"] else f"{path}: cannot write: {os.strerror(error)}")
        assert not path.exists() or path.read_bytes()[-1:] in (b"", b"\n"), "no half a line"
        if work is resume:
            assert {name: one for name, one in known(path).items() if name != "b"} == {"a": VERDICT}
        resume(path)
        assert known(path)["b"] == OTHER
    assert failed >= {"open", "fstat", "read", "lseek", "write", "ftruncate", "close"}


def test_a_verdict_that_was_cut_short_is_taken_back_so_that_others_may_follow(path: Path) -> None:
    with Journal(path, SETTINGS) as journal:
        journal.add(VERDICT)
        with largest_file(path.stat().st_size + 10), pytest.raises(NotFoundError):
            journal.add(OTHER)
        assert journal.done == {"a": VERDICT}
        journal.add(replace(VERDICT, name="c"))
    assert known(path).keys() == {"a", "c"}


def test_whenever_it_is_killed_the_verdicts_before_it_survive(path: Path) -> None:
    keep(path, VERDICT)
    for number in itertools.count():
        was_killed = killed_at(number, lambda: resume(path))
        assert known(path)["a"] == VERDICT
        if not was_killed:
            break
    assert number > 8
    assert known(path) == {"a": VERDICT, "b": OTHER}


def test_twenty_writers_of_which_fifty_are_killed_lose_and_double_nothing(path: Path) -> None:
    """The one that has the lock writes; when it is killed, another continues."""

    def write(_number: int) -> None:
        try:
            with Journal(path, SETTINGS) as journal:
                for number in itertools.count(len(journal.done)):
                    journal.add(replace(VERDICT, name=str(number)))
                    time.sleep(0.001)
        except UsageError:  # another writes
            time.sleep(0.005)

    seen = 0
    for _killed in racing(write):
        lines = path.read_bytes().rpartition(b"\n")[0].splitlines()[1:] if path.exists() else []
        assert [json.loads(line)["name"] for line in lines] == [str(number) for number in range(len(lines))]
        assert len(lines) >= seen, "what was saved stays"
        seen = len(lines)
    assert seen > 10
    assert len(known(path)) >= seen


@pytest.mark.real
@pytest.mark.parametrize("call", ["openat", "flock", "read", "write", "ftruncate"])
def test_a_system_call_that_is_interrupted_is_made_again(path: Path, call: str) -> None:
    """As by a signal, at each call in turn: strace has the kernel return EINTR for it."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("apt-get install strace")
    script = "import sys; from tests.survey.test_journal import *; resume(Path(sys.argv[1]))"
    trace = Path(f"{path}.trace")
    for number in itertools.count(1):
        path.unlink(missing_ok=True)
        keep(path, VERDICT)
        traced = [strace, "-o", str(trace), "-P", str(path), "-e", f"inject={call}:error=EINTR:when={number}"]
        subprocess.run([*traced, sys.executable, "-c", script, str(path)], check=True)
        assert known(path) == {"a": VERDICT, "b": OTHER}
        if "INJECTED" not in trace.read_text():
            break
    assert number > 1
