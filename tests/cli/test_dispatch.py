"""One program, many names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ukmod import cli
from ukmod.cli import tools
from ukmod.errors import UsageError


def test_by_the_name_it_is_called(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["/usr/sbin/modprobe", "-V"]) == 0
    assert capfd.readouterr().out.startswith("kmod version 34\n")


def test_by_the_first_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["/usr/bin/ukmod", "modprobe", "--nonsense"]) == 1
    assert capfd.readouterr().err == "modprobe: unrecognized option '--nonsense'\n"


def test_a_command_of_kmods_is_one_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "static-nodes", "-h"]) == 0
    assert "static-nodes" in capfd.readouterr().out


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("argv", [["ukmod"], ["ukmod", "nonsense"]])
def test_no_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.MISUSED
    assert "usage: ukmod" in capsys.readouterr().err


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "tools", "link"]) == cli.MISUSED
    assert capsys.readouterr().err == "ukmod tools: name a directory to link them in\n"


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['unicorn'] = None; from ukmod.cli import main; "
        "sys.exit(main(['ukmod', 'run', 'a.ko']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == cli.NOT_RUN
    assert result.stderr.startswith("ukmod run: ")
    assert result.stderr.endswith("pip install 'ukmod[machine]'\n")
    assert result.stderr.count("\n") == 1


class TestLinks:
    def test_each_tool_has_one(self, tmp_path: Path) -> None:
        paths = tools.link_tools(str(tmp_path / "sbin"), "/usr/bin/ukmod")
        assert sorted(os.listdir(tmp_path / "sbin")) == sorted(os.path.basename(path) for path in paths)
        assert "modprobe" in os.listdir(tmp_path / "sbin")
        assert {os.readlink(path) for path in paths} == {"/usr/bin/ukmod"}

    def test_linking_twice_replaces_the_links(self, tmp_path: Path) -> None:
        tools.link_tools(str(tmp_path), "/old")
        (path, *_rest) = tools.link_tools(str(tmp_path), "/new")
        assert os.readlink(path) == "/new"

    def test_a_real_program_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "modprobe").write_text("mine")
        with pytest.raises(UsageError, match="in the way"):
            tools.link_tools(str(tmp_path), "/usr/bin/ukmod")
        assert os.listdir(tmp_path) == ["modprobe"]


@pytest.mark.parametrize(("root", "status"), [("lib/modules/6.1.0", 0), ("elsewhere", 1)])
def test_a_process_ends_with_its_tool_as_it_should(tmp_path: Path, root: str, status: int) -> None:
    """depmod ends its process itself: its status is true, and what was registered for the end is done."""
    (tmp_path / root).mkdir(parents=True)
    code = "import atexit, sys, ukmod.cli as cli; atexit.register(print, 'at the end'); sys.exit(cli.main())"
    command = [sys.executable, "-c", code, "depmod", "-b", str(tmp_path), "6.1.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "at the end\n")
    assert (tmp_path / root / "modules.dep").exists() is (status == 0)
