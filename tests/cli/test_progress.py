"""The line that shows how far a survey is: for people at a terminal who wait more than a second."""

from __future__ import annotations

from collections import Counter
from io import StringIO

import pytest

from ukmod.cli.progress import Progress, line


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("ukmod.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_the_line_counts_and_estimates() -> None:
    text = line("surveying", Counter(clean=30, refused=10), total=400, seconds=8)
    assert text == "40/400 5.0/s, 1:12 left: 30 clean, 10 refused"


def test_before_the_first_result_the_line_says_what_is_done() -> None:
    assert line("bringing up the kernel", Counter(), total=400, seconds=3.2) == "bringing up the kernel, 3 s"


def test_work_of_a_second_says_nothing(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress("working", 2, terminal) as progress:
        clock[0] += 0.9
        progress.add("clean")
        progress.show()
    assert terminal.getvalue() == ""


def test_longer_work_writes_one_line_over_and_over(clock: list[float]) -> None:
    terminal = Terminal()
    progress = Progress("working", 4, terminal)
    for seconds in (0.5, 1.5, 2):
        clock[0] += seconds
        progress.add("clean")
        progress.show()
    progress.__exit__()
    first, second = "2/4 1.0/s, 0:02 left: 2 clean", "3/4 0.8/s, 0:01 left: 3 clean"
    assert terminal.getvalue() == f"\r\x1b[K{first}\r\x1b[K{second}\r\x1b[K"


def test_the_line_appears_while_the_work_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ukmod.cli.progress._FIRST", 0.0)
    monkeypatch.setattr("ukmod.cli.progress._PERIOD", 0.01)
    terminal = Terminal()
    with Progress("bringing up the kernel", stream=terminal):
        while not terminal.getvalue():
            pass
    assert terminal.getvalue().startswith("\r\x1b[Kbringing up the kernel, 0 s")


def test_what_else_is_written_takes_the_place_of_the_line(clock: list[float]) -> None:
    terminal = Terminal()
    progress = Progress("running", stream=terminal)
    clock[0] += 2
    progress.show()
    for text in ("one\n", "two\n"):
        with progress.aside():
            terminal.write(text)
    progress.show()
    assert terminal.getvalue() == "\r\x1b[Krunning, 2 s\r\x1b[Kone\ntwo\n\r\x1b[Krunning, 2 s"


def test_a_file_gets_nothing(clock: list[float]) -> None:
    file = StringIO()
    with Progress("working", 2, file) as progress:
        clock[0] += 5
        progress.add("clean")
    assert file.getvalue() == ""
