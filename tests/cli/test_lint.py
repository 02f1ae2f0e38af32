from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.kmod.predict import images

from ukmod import cli


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images.make(tmp_path)
    images.configure(tmp_path, {"etc/modprobe.d/x.conf": "blacklist user\nblacklist zzz\n"})
    return tmp_path


def lint(root: Path, *arguments: str) -> int:
    return cli.main(["ukmod", "lint", "-d", str(root), *arguments])


def test_notes_are_shown_if_they_are_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(root) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "ukmod lint: 1 line is of no use on this system: see --notes\n"
    assert lint(root, "--notes") == 0
    said = capsys.readouterr()
    assert "x.conf:2: note: this kernel has no module zzz" in said.out
    assert said.err == ""


def test_a_mistake_is_exit_status_1(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(root, "--cmdline", "modprobe.blacklist=dash-name") == 1
    assert capsys.readouterr().out.startswith("--cmdline: error: dash-name matches nothing")


def test_json_has_file_line_words_and_mend(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(root, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.lint/1"
    (finding,) = document["findings"]
    assert (finding["severity"], finding["line"], finding["words"]) == ("note", 2, "blacklist zzz")
    assert finding["file"] == f"{root}/etc/modprobe.d/x.conf"


def test_explain_says_what_is_wrong_with_lines_about_the_module(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.configure(
        root, {"etc/modprobe.d/x.conf": "blacklist usr\n", "etc/modprobe.d/deny": "install user x\n"}
    )
    assert cli.main(["ukmod", "explain", "-d", str(root), "user"]) == 0
    output = capsys.readouterr().out
    assert "there is no module usr; there is user; fix: blacklist user, if that is meant (" in output
    assert "only names that end in .conf are read" in output
    assert cli.main(["ukmod", "explain", "-d", str(root), "lone"]) == 0
    assert "usr" not in capsys.readouterr().out.replace("/usr/", "/")


def test_explain_warns_of_a_link_to_nothing_that_may_hide_the_line(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"usr/lib/modprobe.d/x.conf": "install user /bin/false\n", "etc/modprobe.d/x.conf": "-> /nowhere"}
    images.configure(root, files)
    assert cli.main(["ukmod", "explain", "-d", str(root), "user"]) == 2, "cannot tell"
    assert "old versions of kmod let it hide files of its name" in capsys.readouterr().out


def test_a_release_that_is_not_there_is_no_answer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(root, "-S", "5.5.5") == cli.NOT_RUN
    assert "kernels there: 4.4.4" in capsys.readouterr().err
