"""``ukmod shell``: its requirements and its scripts. tests/kernel/user/test_terminal.py has its terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden import RELEASE, modules
from tests.real import debian

from ukmod import cli
from ukmod.cli.host_end import HostInput
from ukmod.cli.static import is_static
from ukmod.kernel.user.line import WindowSize

QUANTA = Path(__file__).parents[1] / "data/devices" / RELEASE / "quanta.ko"


def test_without_busybox_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["ukmod", "shell", str(modules()["exporter"])]) == cli.NOT_RUN
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "install busybox-static, or give a --root" in error


def test_a_program_with_an_interpreter_is_not_static(tmp_path: Path) -> None:
    header = b"\x7fELF\x02\x01\x01".ljust(32, b"\0") + (64).to_bytes(8, "little") + bytes(14)
    header += (56).to_bytes(2, "little") + (2).to_bytes(2, "little")
    kinds = {"static": (1, 4), "dynamic": (1, 3), "text": ()}
    for name, segments in kinds.items():
        table = b"".join(kind.to_bytes(4, "little").ljust(56, b"\0") for kind in segments)
        (tmp_path / name).write_bytes((header.ljust(64, b"\0") + table) if segments else b"#!/bin/sh\n")
    assert [name for name in kinds if is_static(str(tmp_path / name))] == ["static"]


def test_a_parameter_is_not_for_the_shell(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "shell", "--root", str(tmp_path), "./x.ko", "level=3"]) != 0
    assert "Traceback" not in capfd.readouterr().err


def test_input_is_read_as_it_comes_and_ends() -> None:
    reader, writer = os.pipe()
    host = HostInput(reader)
    assert not host.wait(0)
    os.write(writer, b"text")
    assert host.wait(None)
    assert host.read() == b"text"
    os.close(writer)
    assert host.wait(None)
    assert host.read() == b""
    host.close()
    os.close(reader)


def test_a_new_size_of_the_window_comes_before_what_is_typed() -> None:
    reader, writer = os.pipe()
    host = HostInput(reader)
    os.write(writer, b"text")
    host.resized(0, None)
    assert host.read() == WindowSize(24, 80)  # that of something without a size
    assert host.read() == b"text"
    host.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.real
@pytest.mark.slow
def test_a_script_uses_modules_and_its_status_counts() -> None:
    kernel = debian.require("busybox")
    script = "pwd; uname -r; sleep 1000; cat modules.dep ../modules.dep 2>/dev/null\nls\nexit 9\n"
    command = [sys.executable, "-m", "ukmod", "shell", "--kernel", str(kernel.vmlinuz), str(QUANTA)]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    place = f"/lib/modules/{RELEASE}/extra"
    assert done.stdout.splitlines() == [place, RELEASE, "extra/quanta.ko:", "quanta.ko"]
    assert done.returncode == 9
    one = subprocess.run(
        [*command, "-c", "echo to stderr >&2; exit 3"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (one.stdout, one.stderr, one.returncode) == (b"", b"to stderr\n", 3)
