"""A program's environment: its process, and the system calls that it can make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    environ: Sequence[str] = ()
    """Its environment as execve() was given it, in which a name may be there more than once."""
    cwd: str = "/"
    output: list[str] = field(default_factory=list)
    """The text written to standard output and error, which a usermode helper does not have."""


def environ_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """The strings of an environment: NAME=VALUE."""
    return tuple(f"{name}={value}" for name, value in env.items())


def variables_of(environ: Iterable[str]) -> dict[str, str]:
    """The variables that getenv(3) finds: of several with a name the first, and no string without a value."""
    found: dict[str, str] = {}
    for text in environ:
        name, is_variable, value = text.partition("=")
        if is_variable:
            found.setdefault(name, value)
    return found


Program = Callable[[Process], int]
"""A program's main(): returns the exit status, 0 to 255."""
