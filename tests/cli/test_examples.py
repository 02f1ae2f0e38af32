"""ukmod examples: what is copied, and what is not overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.faults import ERRORS, failing

from ukmod.cli import NOT_RUN, main


def test_the_examples_are_copied_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "a place" / "of mine"
    assert main(["ukmod", "examples", str(place)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(path) for path in sorted(place.iterdir())]
    names = {path.name for path in place.iterdir()}
    assert {"Makefile", "ticker.c", "bell.c", "faults.c"} <= names
    assert {f"{path.stem}.ko" for path in place.glob("*.c")} < {path.name for path in place.glob("*.ko")}


def test_no_file_is_overwritten_and_none_is_left_half_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "ticker.c"
    mine.write_text("mine\n")
    assert main(["ukmod", "examples", str(tmp_path)]) != 0
    assert "ticker.c: exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["ticker.c"]
    assert mine.read_text() == "mine\n"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["write", "close"])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_if_one_file_cannot_be_copied_none_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: int, call: str, number: int
) -> None:
    with failing(number, error, [call]):
        assert main(["ukmod", "examples", str(tmp_path)]) == NOT_RUN
    said = f"ukmod examples: {tmp_path}: cannot copy the examples: {os.strerror(error)}\n"
    assert capsys.readouterr().err == said
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_nothing_is_not_written_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "ticker.c").symlink_to(tmp_path / "elsewhere")
    assert main(["ukmod", "examples", str(place)]) != 0
    assert "ticker.c: exists already" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()
    assert [path.name for path in place.iterdir()] == ["ticker.c"]


def test_a_directory_that_cannot_be_made_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["ukmod", "examples", str(tmp_path / "file" / "below")]) != 0
    assert "cannot copy the examples: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        (
            "use_after_free",
            "use-after-free: write of 1 bytes in faults_init+0x8c/0x1000 [faults] (faults.c:28)",
        ),
        ("overflow", "slab-out-of-bounds: write in faults_init+0x71/0x1000 [faults] (faults.c:26)"),
        ("leak", "1 object of kmalloc-128, 100 bytes, from faults_init+0x1d/0x1000 [faults] (faults.c:18)"),
        ("null_pointer", "in faults_init+0xb0/0x1000 [faults] (faults.c:31)"),
    ],
)
def test_each_fault_is_found_at_its_source_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, report: str
) -> None:
    main(["ukmod", "examples", str(tmp_path)])
    assert main(["ukmod", "run", str(tmp_path / "faults.ko"), f"fault={fault}"]) == 1
    assert report in capsys.readouterr().out
