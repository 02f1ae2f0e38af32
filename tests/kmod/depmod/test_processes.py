"""depmod as a process: killed, in a full or read-only place, and several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.elfwriter import module
from tests.kmod.depmod.trees import RELEASE, make_tree
from tests.processes import unmeasured

COMMAND = (sys.executable, "-c", "import sys; from ukmod.cli import main; sys.exit(main(sys.argv))", "depmod")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    modules = {
        f"kernel/m{n}.ko": module(f"m{n}", *[f"alias=pci:v{n}d{i}*" for i in range(20)], exports=[f"s{n}"])
        for n in range(400)
    }
    return make_tree(tmp_path, modules)


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    """Start depmod on a tree, without configuration."""
    command = [*COMMAND, "--no-cache", "-b", str(root), "-C", str(root / "none"), *words, RELEASE]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=unmeasured())


def finish(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a run; return its status and what it said."""
    _, said = run.communicate()
    return run.returncode, said


def outputs(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_four_at_once(tmp_path: Path, tree: Path) -> None:
    finish(start(tmp_path))
    alone = outputs(tree)
    runs = [start(tmp_path) for _ in range(4)]
    assert [finish(run) for run in runs] == [(0, "")] * 4
    assert outputs(tree) == alone


@pytest.mark.parametrize("delay", [0, 0.003, 0.01])
def test_interrupted_it_dies_as_by_the_signal_and_leaves_a_set(
    tmp_path: Path, tree: Path, delay: float
) -> None:
    finish(start(tmp_path))
    before = outputs(tree)
    run = start(tmp_path)
    while run.poll() is None and not list(tree.glob(".modules.*")):
        time.sleep(0.001)
    time.sleep(delay)
    run.send_signal(signal.SIGINT)
    status, said = finish(run)
    assert status in (0, -signal.SIGINT)
    assert said == ""
    assert outputs(tree) == before


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small tmpfs")
@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_place_that_is_full_or_read_only_keeps_the_old_set(
    tmp_path: Path, tree: Path, options: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", out], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr}")
    try:
        there = out / "lib/modules" / RELEASE
        there.mkdir(parents=True)
        (there / "modules.dep").write_bytes(b"old")
        if options == "ro":
            subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        status, said = finish(start(tmp_path, "-o", str(out)))
        assert status == 1
        assert "Could not create index" in said
        assert outputs(there) == {"modules.dep": b"old"}
    finally:
        subprocess.run(["umount", out], check=True)
