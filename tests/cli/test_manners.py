"""How commands behave on a terminal, in a pipe, on a full disk, and with words that nobody knows."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden import modules

from ukmod import cli
from ukmod.cli.report import Outcome, print_report
from ukmod.errors import MissingExtraError
from ukmod.kmod import visible

COMMANDS = {
    "run": ["run", "--for", "0.01", "{module}"],
    "run as JSON": ["run", "--for", "0.01", "--json", "{module}"],
    "demo": ["demo"],
    "help": ["--help"],
    "help of a command": ["help", "run"],
    "version": ["--version"],
    "closure": ["closure", "--no-firmware", "{module}"],
    "explain": ["explain", "{module}"],
    "tools": ["tools"],
}


def command(name: str) -> list[str]:
    module = str(modules()["ok_dep"])
    return [sys.executable, "-m", "ukmod", *(word.replace("{module}", module) for word in COMMANDS[name])]


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != name}


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_a_line_and_a_status(name: str, buffered: bool) -> None:
    environment = without("PYTHONUNBUFFERED") | ({} if buffered else {"PYTHONUNBUFFERED": "1"})
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(name), stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert done.returncode == cli.NOT_RUN


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_standard_output_is_a_line_and_a_status(name: str) -> None:
    shell = ["sh", "-c", '"$@" >&-', "sh", *command(name)]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Bad file descriptor" in done.stderr
    assert done.returncode == cli.NOT_RUN


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_has_gone_is_no_traceback(name: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command(name), stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.NOT_RUN, "")


def test_a_tool_of_kmods_ends_by_sigpipe_as_in_c() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "ukmod", "modinfo", str(modules()["ok_dep"])]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_any_encoding_will_do(tmp_path: Path) -> None:
    path = tmp_path / "m\u00f6dul.ko"
    path.symlink_to(modules()["ok_dep"])
    for words in (["run", "--for", "0.01", str(path)], ["closure", "--no-firmware", str(path)]):
        done = subprocess.run(
            [sys.executable, "-X", "utf8=0", "-m", "ukmod", *words],
            capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        )  # fmt: skip
        assert b"Traceback" not in done.stderr
        assert done.returncode == 0, done.stderr


def test_control_characters_are_shown_not_obeyed() -> None:
    assert visible.escape("a\x1b[2Jb\x07\x9b\x7f\ttab\nline\r") == "a\\x1b[2Jb\\x07\\x9b\\x7f\ttab\nline\\x0d"


def test_directions_are_shown_not_obeyed() -> None:
    assert visible.escape("a\u202eb\u2066\u2028c") == "a\\u202eb\\u2066\\u2028c"
    assert visible.escape("Ωא中é") == "Ωא中é"


def test_a_name_with_a_newline_forges_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["ukmod", "run", "a\nclean: no failure.ko"]) == 3
    assert capsys.readouterr().err.startswith("ukmod run: a\\x0aclean: no failure.ko: ")


def test_what_a_module_calls_its_request_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "x\nclean: no failure"
    request = {
        "time": 1, "wait": True, "name": forged, "result": 256, "loaded": (forged,), "comm": forged, "pid": 1,
        "caller": "f",
    }  # fmt: skip
    texts = (forged,)
    print_report(
        Outcome(False, texts, (request,), texts, texts, texts, texts, texts, texts, texts, texts, texts, ())
    )
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.lstrip().startswith("clean")]
    assert len([line for line in lines if "x\\x0aclean" in line]) == 12


class Terminal(io.StringIO):
    """A stream that says it is one: not every machine has pseudo-terminals to lend."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "coloured"),
    [
        (Terminal, {"TERM": "xterm"}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (Terminal, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (io.StringIO, {"TERM": "xterm"}, False),
    ],
)
def test_verdicts_are_coloured_on_a_terminal_alone(
    stream: type[io.StringIO],
    variables: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = stream()
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["ukmod", "run", "--for", "0.01", str(modules()["ok_dep"])]) == 0
    assert ("\x1b[32mclean:" in out.getvalue()) is coloured
    assert ("\x1b" in out.getvalue()) is coloured


@pytest.mark.parametrize(("when", "coloured"), [("always", True), ("never", False), ("auto", False)])
def test_color_says_when_verdicts_are_coloured(
    when: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO() if when == "always" else Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["ukmod", "run", f"--color={when}", "--for=0", str(modules()["ok_dep"])]) == 0
    assert ("\x1b[32mclean:" in out.getvalue()) is coloured


@pytest.mark.parametrize(
    "words", [["run"], ["run", "--for=long", "x.ko"], ["survey", "--what"], ["demo", "x"]]
)
def test_a_mistake_on_the_command_line_is_one_without_the_machine_as_well(words: list[str]) -> None:
    code = "import sys; sys.modules['unicorn'] = None; from ukmod.cli import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == cli.MISUSED
    assert "usage: ukmod" in ended.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rnu"], "run"),
        (["modprob"], "modprobe"),
        (["explian", "x"], "explain"),
        (["static-node"], "static-nodes"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_one_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ukmod", *words]) == cli.MISUSED
    assert f"did you mean {meant}" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_and_the_option_say_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in ([name, "--help"], ["help", name]):
        with pytest.raises(SystemExit) as caught:
            cli.main(["ukmod", *words])
        assert caught.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[0].startswith(f"usage: ukmod {name}")
    assert "_" not in shown[0].partition("\n\n")[0], "a metavar is a word, not a variable's name"
    assert "exit status:\n  0   " in shown[0]
    assert f"\n  ukmod {name}" in shown[0].partition("examples:\n")[2]


def test_too_little_memory_is_a_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explain(_arguments: list[str]) -> int:
        raise MemoryError

    monkeypatch.setattr("ukmod.cli.explain.main", explain)
    assert cli.main(["ukmod", "explain", "loop"]) == cli.NOT_RUN
    assert capsys.readouterr().err == "ukmod explain: out of memory\n"


def test_a_library_that_is_there_but_broken_says_itself_what_is_wrong() -> None:
    missing = ModuleNotFoundError("No module named 'unicorn'", name="unicorn")
    within = ModuleNotFoundError("No module named '_cffi_backend'", name="_cffi_backend")
    broken = ImportError("libunicorn.so.2: cannot open shared object file")
    assert str(MissingExtraError("It", "machine", missing)).endswith("pip install 'ukmod[machine]'")
    said = str(MissingExtraError("It", "machine", broken))
    assert said.endswith("cannot be imported: libunicorn.so.2: cannot open shared object file")
    said = str(MissingExtraError("It", "sign", within))
    assert said.endswith("cannot be imported: No module named '_cffi_backend'")
