"""``ukmod run --init``: what it refuses, and its exit status."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden import RELEASE
from tests.real import debian

QUANTA = Path(__file__).parents[1] / "data/devices" / RELEASE / "quanta.ko"


def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ukmod", "run", "--init", *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "give the --root"),
        (("--root", ".", "--json"), "goes without --json"),
        (("--root", ".", "--kernel", "a", "--kernel", "b"), "name one kernel"),
        (("--root", ".", "--exec", "/bin/true"), "goes without --exec"),
    ],
)
def test_what_makes_no_sense_with_an_init(words: tuple[str, ...], text: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.real
def test_a_root_is_booted_with_a_module_at_hand(tmp_path: Path) -> None:
    vmlinuz = str(debian.require("busybox").vmlinuz)
    (tmp_path / "bin").mkdir()
    shutil.copy(shutil.which("busybox") or "", tmp_path / "bin/busybox")
    (tmp_path / "bin/sh").symlink_to("busybox")
    options = ("--kernel", vmlinuz, "--root", str(tmp_path), str(QUANTA))
    commands = f"cd /lib/modules/{RELEASE}/extra\nbusybox insmod quanta.ko && echo loaded\n"
    done = run(*options, typed=commands + "busybox poweroff -f\n")
    assert done.returncode == 0, done.stderr
    assert "\nloaded" in done.stdout
    assert "quanta: loading out-of-tree module" in done.stdout
    assert done.stderr == "ukmod run: the machine was halted\n"
    done = run(*options, typed="exit 3\n")
    assert done.returncode == 1
    assert "Attempted to kill init! exitcode=0x00000300" in done.stderr
    done = run("--for", "5", *options)
    assert done.returncode == 1
    assert "init has not ended" in done.stderr
