"""Runs commands on hostile files, in a child with limits."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

from ukmod.cli import main

SECONDS = 120
"""A command that waits for ever is ended after so many, on a busy machine."""
CPU_SECONDS = 60
"""What all of a child's commands may take together."""
HOST_BYTES = 6 << 30
"""What a child may map besides what the process of the tests has mapped, machines of other tests among it."""

Found = dict[str, list[str]]


def in_child(work: Callable[[], Found]) -> Found:
    """Return what ``work`` does, in a child that neither blocks nor fills the memory."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork() beside the threads of xdist
        pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            most = mapped() + HOST_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            answer = json.dumps(work())
            with os.fdopen(write, "w") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "it blocked, or a signal ended it"
    found: Found = json.loads(answer)
    return found


def mapped() -> int:
    """Return the bytes of address space that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def said_by(words: list[str]) -> list[str]:
    """What a command of ukmod says and opens, by line."""
    said = sys.stdout = sys.stderr = io.StringIO()
    opened: list[str] = []
    sys.addaudithook(lambda event, about: opened.append(str(about[0])) if event == "open" else None)
    call(words)
    return [*said.getvalue().splitlines(), *opened]


def call(words: list[str]) -> None:
    """Run a command; of an exception that it does not catch there is a traceback on sys.stderr."""
    try:
        main(["ukmod", *words])
    except SystemExit:
        pass
    except BaseException:  # noqa: BLE001 - that is the finding
        traceback.print_exc()


def assert_sound(lines: list[str], most: int = 10_000) -> None:
    """Fail for a traceback, and for a flood of lines."""
    assert not [line for line in lines if line.startswith("Traceback")], "\n".join(lines)
    assert len(lines) < most
