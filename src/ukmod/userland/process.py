"""A program's environment: its process, and the system calls that it can make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ukmod.record import field, mutable


class Syscalls(Protocol):
    """The kernel, from user space. A call may block; a failure is an OSError with the kernel's errno."""

    def uname_release(self) -> str:
        """Return uname(2)'s release."""

    def finit_module(self, path: str, image: bytes, params: str, flags: int) -> None:
        """Load a module: finit_module(2). ``path`` names the file in messages."""

    def delete_module(self, name: str, flags: int) -> None:
        """Unload a module: delete_module(2)."""

    def read_proc(self, path: str) -> str:
        """Return what a file of /proc or /sys holds."""

    def list_proc(self, path: str) -> list[str]:
        """Return the entries of a directory of /proc or /sys."""

    def write_proc(self, path: str, text: str) -> None:
        """Write to a file of /proc or /sys."""

    def spawn(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """Run a program in a child process and wait for it; the wait status."""

    def kill(self, pid: int, signal: int) -> None:
        """Send a signal: kill(2)."""

    def getpid(self) -> int:
        """Return the process's id."""

    def nanosleep(self, nanoseconds: int) -> None:
        """Sleep, in virtual time."""

    def clock(self) -> int:
        """Return CLOCK_MONOTONIC in nanoseconds."""

    def log(self, text: str) -> None:
        """Write a line to the kernel log, as through /dev/kmsg."""


@mutable
class Process:
    """A running program."""

    argv: Sequence[str]
    env: Mapping[str, str]
    sys: Syscalls
    cwd: str = "/"
    output: list[str] = field(default_factory=list)
    """The text written to standard output and error, which a usermode helper does not have."""


Program = Callable[[Process], int]
"""A program's main(): returns the exit status, 0 to 255."""
