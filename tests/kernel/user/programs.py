"""The programs of examples/programs, and what becomes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ukmod.kernel.api import Kernel

SOURCES = Path(__file__).parents[3] / "examples/programs"
SUBJECTS = (
    "faults", "signals", "memory", "files", "clocks", "children", "status 3", "status 256", "die 15",
    "die 6", "die 9", "crash", "forge", "nested", "frame", "flags", "no-such",
    "groups", "jobs", "compat",
)  # fmt: skip
"""Trials that need no module, each with its arguments."""
DEVICES = ("quanta", "conduit", "window")
"""Trials that need the module of the same name."""
THREADS = ("locks", "shares", "signals", "ends", "one-by-one", "end exec-by-other", "end crash")
"""Trials of the program "threads", each with its arguments."""
PATH = "/sbin:/usr/sbin:/bin:/usr/bin"
STDIN = b"some input"

Outcome = tuple[int, str, str]
"""A program's status, as a shell's $?, and what it wrote to stdout and stderr."""


def build(directory: Path, name: str = "trial") -> Path:
    """Compile a program, without libraries that are loaded later."""
    program = directory / name
    options = (
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",
        "-Wno-unused-result",
        "-static",
        "-pthread",
    )
    subprocess.run(["gcc", *options, "-o", program, SOURCES / f"{name}.c"], check=True)
    return program


def outcome(k: Kernel, subject: str, name: str = "trial") -> Outcome:
    """What the program, in /bin, does in the emulated machine."""
    done = k.exec([f"/bin/{name}", *subject.split()], stdin=STDIN, timeout=30)
    return done.status, done.stdout.decode(), done.stderr.decode()


def natively(program: Path, subject: str) -> Outcome:
    """What the program does on the host."""
    done = subprocess.run(
        [program, *subject.split()],
        input=STDIN,
        capture_output=True,
        env={"PATH": PATH},
        check=False,
        timeout=60,
    )
    code = done.returncode
    return 128 - code if code < 0 else code, done.stdout.decode(), done.stderr.decode()
