"""A module that does all it can to reach the host opens nothing but the tree that the user handed in.

The attacks run in a process that hears of each file that it opens, of each socket and of each process
(sys.addaudithook), and again under strace, which misses nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.golden import REPOSITORY
from tests.userland import attacks


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with files that no guest may reach."""
    attacks.make_host(tmp_path)
    return tmp_path


def run(host: Path, *before: str) -> dict[str, Any]:
    """Run the attacks, by another program if that is given."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}/src:{REPOSITORY}"}
    command = [*before, sys.executable, "-m", "tests.userland.attacks", str(host)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment
    )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_module_s_attacks_reach_no_file_socket_or_process_of_the_host(host: Path) -> None:
    before = {path: path.read_bytes() for path in host.iterdir() if path.is_file()}
    found = run(host)
    image = f"{host}/image/"
    assert attacks.foreign(found["events"], image) == []
    assert any(path.startswith(image) for _event, path, _is_written in found["events"]), "it was watched"
    assert attacks.CANARY not in " ".join(found["brought"])
    assert "ok_dep" not in found["loaded"]
    assert {path: path.read_bytes() for path in host.iterdir() if path.is_file()} == before


@pytest.mark.real
@pytest.mark.skipif(shutil.which("strace") is None, reason="apt-get install strace")
def test_strace_sees_no_file_of_the_host(host: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All system calls that name a file, make a socket or start a program, from first to last."""
    log = tmp_path_factory.mktemp("strace") / "log"
    calls = (
        "trace=openat,open,openat2,creat,execve,execveat,socket,connect,unlink,unlinkat,rename,renameat,mkdir"
    )
    run(host, "strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", str(log))
    lines = [line.split(None, 1)[1] for line in log.read_text().splitlines()]
    assert [line for line in lines if line.startswith(("socket", "connect"))] == []
    assert len([line for line in lines if line.startswith("execve")]) == 1, "Python itself"
    outside = [line for line in lines if str(host) in line and f"{host}/image/" not in line]
    assert [line for line in outside if not line.startswith("execve")] == []
    made = [
        line for line in lines if line.startswith(("creat", "unlink", "rename", "mkdir")) or "O_CREAT" in line
    ]
    assert [line for line in made if "/dev/null" not in line] == []
