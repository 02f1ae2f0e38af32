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


def test_the_line() -> None:
    text = line(Counter(clean=30, refused=10), total=400, seconds=8)
    assert text == "40/400 5.0/s, 1:12 left: 30 clean, 10 refused"


def test_work_of_a_second_says_nothing(clock: list[float]) -> None:
    terminal = Terminal()
    progress = Progress(2, terminal)
    clock[0] += 0.9
    progress.add("clean")
    progress.end()
    assert terminal.getvalue() == ""


def test_longer_work_writes_one_line_over_and_over(clock: list[float]) -> None:
    terminal = Terminal()
    progress = Progress(4, terminal)
    for seconds in (0.5, 1.5, 2):
        clock[0] += seconds
        progress.add("clean")
    progress.end()
    first, second = "2/4 1.0/s, 0:02 left: 2 clean", "3/4 0.8/s, 0:01 left: 3 clean"
    assert terminal.getvalue() == f"\r\x1b[K{first}\r\x1b[K{second}\r\x1b[K"


def test_a_file_gets_nothing(clock: list[float]) -> None:
    file = StringIO()
    progress = Progress(2, file)
    clock[0] += 5
    progress.add("clean")
    progress.end()
    assert file.getvalue() == ""
