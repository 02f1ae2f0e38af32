"""A process that forks or ends at once prints all of its output, and prints it once."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORKS = """
import os, sys
from ukmod.kmod import processes
sys.stdout.write("before ")
if (pid := processes.fork()) == 0:
    sys.stdout.write("child ")
    processes.end(0)
os.waitpid(pid, 0)
sys.stdout.write("parent")
"""


@pytest.mark.parametrize("options", [(), ("-u",)], ids=["buffered", "unbuffered"])
def test_what_both_processes_print_comes_once(options: tuple[str, ...]) -> None:
    command = [sys.executable, *options, "-c", FORKS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "before child parent"


@pytest.mark.parametrize("setup", ["sys.stdout = None", "sys.stdout.close()", "os.close(1)", "pass"])
def test_a_process_ends_with_its_status_whatever_its_output_is(setup: str) -> None:
    code = f"import os, sys; from ukmod.kmod import processes; print('x'); {setup}; processes.end(5)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 5
