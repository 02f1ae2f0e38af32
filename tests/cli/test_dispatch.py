"""One program, many names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.golden import REPOSITORY
from tests.machine.btfwriter import small_kernel

import ukmod
from ukmod import cli
from ukmod.cli import tools
from ukmod.errors import UsageError
from ukmod.kmod.tools import TOOLS
from ukmod.machine.types import read_profile


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


class TestDocuments:
    """Commands that make files list them for programs, too."""

    def test_tools(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "bin/ukmod"
        program.parent.mkdir()
        program.touch(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        assert cli.main(["ukmod", "tools", "--json"]) == 0
        listed = document(capsys, "tools")
        assert (listed["tools"], listed["links"]) == (list(TOOLS), [])
        assert cli.main(["ukmod", "tools", "--json", "link", str(tmp_path / "sbin")]) == 0
        made = document(capsys, "tools")["links"]
        assert made == [str(tmp_path / "sbin" / name) for name in TOOLS]
        assert all(map(os.path.islink, made))

    def test_examples(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["ukmod", "examples", "--json", str(tmp_path / "new")]) == 0
        files = document(capsys, "examples")["files"]
        assert sorted(files) == sorted(str(path) for path in (tmp_path / "new").iterdir())

    def test_profile(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "vmlinux").write_bytes(small_kernel().data())
        output = str(tmp_path / "profile.json")
        words = [str(tmp_path / "vmlinux"), "-o", output, "--vermagic", "6.2 SMP "]
        assert cli.main(["ukmod", "profile", "--json", *words]) == 0
        found = document(capsys, "profile")
        stamp = read_profile(output).stamp
        assert found["profile"] == output
        assert (found["release"], found["vermagic"]) == (stamp.release, stamp.vermagic) == ("6.2", "6.2 SMP ")
        assert found["digest"] == stamp.digest == hashlib.sha256(small_kernel().data()).hexdigest()


def document(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, Any]:
    """The document that was printed. Its members are those that the reference has for its schema."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found.pop("schema") == f"ukmod.{command}/1"
    assert found.pop("ukmod") == ukmod.__version__
    page = (REPOSITORY / "docs/reference/json.md").read_text()
    part = page.partition(f"## ukmod.{command}/1")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    assert set(found) == set(re.findall("`([^`]+)`", "".join(rows)))
    return found


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
