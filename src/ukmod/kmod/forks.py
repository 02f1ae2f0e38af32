"""Use a second core without the cost of a pool.

depmod and modinfo run for half a second, of which importing :mod:`concurrent.futures` and starting its
processes would take a good part. A forked child has all it needs already; what it says goes through a pipe.
"""

from __future__ import annotations

import marshal
import os
from contextlib import suppress

from ukmod.kmod import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    ForkWork = Generator[Any, Any, None]

__all__ = ["WORTH_A_FORK", "Fork", "cores"]

WORTH_A_FORK = 200
"""Modules; a fork and its result take as long as reading some forty."""


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Fork:
    """A generator at work in a child process: what it yields is received here, what is sent it gets there.

    All of that must be made of what marshal knows. Without a second core, when no process can be had or if
    the child is killed, the generator works here, and nobody can tell but by the time it takes. So it must
    not mind to be begun again.

    Only for programs of one thread: a child inherits locks, but not the threads that hold them.
    """

    __slots__ = ("_begin", "_here", "_pid", "_pipes", "_sent")

    def __init__(self, begin: Callable[[], ForkWork], *, here: bool = False) -> None:
        """Start it; ``begin`` makes the generator. ``here`` is for little work, which a fork would delay."""
        self._begin = begin
        self._here: ForkWork | None = None
        self._sent: list[Any] = [None]
        self._pid = 0
        self._pipes = (-1, -1)
        if here or cores() < 2:
            return
        from_child, to_parent = _pipe()
        from_parent, to_child = _pipe()
        try:
            self._pid = processes.fork()
        except OSError:
            for end in (from_child, to_parent, from_parent, to_child):
                os.close(end)
            return
        if self._pid == 0:
            os.close(from_child)
            os.close(to_child)
            _work(begin, from_parent, to_parent)
        os.close(to_parent)
        os.close(from_parent)
        self._pipes = (from_child, to_child)

    def receive(self) -> Any:
        """Wait for what the generator yields next. Its exceptions are raised here."""
        if self._pid:
            with suppress(OSError, EOFError):
                return _receive(self._pipes[0])
            self.close()
        if self._here is None:
            # What came before is in the caller's hands already, and is done again only to get to this.
            self._here = self._begin()
            for value in self._sent[:-1]:
                self._here.send(value)
        return self._here.send(self._sent[-1])

    def send(self, value: Any) -> None:
        """Give the generator what its last ``yield`` is to return."""
        self._sent.append(value)
        if self._pid:
            try:
                _send(self._pipes[1], value)
            except OSError:
                self.close()

    def close(self) -> None:
        """Need no more of it. A child that is still at work finds out when it next has something to say."""
        if self._pid:
            with suppress(OSError):
                os.write(self._pipes[1], _END)  # another child may hold the pipe open
            for end in self._pipes:
                os.close(end)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _work(begin: Callable[[], ForkWork], reader: int, writer: int) -> None:
    """Be the child: never return, so that nothing of the parent's is done twice."""
    try:
        work = begin()
        value = None
        while True:
            _send(writer, work.send(value))
            value = _receive(reader)
    finally:
        processes.end(0)


def _pipe() -> tuple[int, int]:
    """Return a pipe's two ends; a roomy one, so that neither side waits for the other at every 64 KiB."""
    ends = os.pipe()
    with suppress(OSError, ImportError, AttributeError):
        from fcntl import F_SETPIPE_SZ, fcntl

        fcntl(ends[1], F_SETPIPE_SZ, _ROOM)
    return ends


_ROOM = 1 << 20
"""Bytes; more than this only root may ask for."""
_LENGTH = 8
_END = b"\xff" * _LENGTH


def _send(fd: int, value: Any) -> None:
    data = marshal.dumps(value)
    view = memoryview(len(data).to_bytes(_LENGTH, "little") + data)
    while view:
        view = view[os.write(fd, view) :]


def _receive(fd: int) -> Any:
    """Return what the other side sent. EOFError if it has gone, or wants no more."""
    length = _read(fd, _LENGTH)
    if length == _END:
        raise EOFError
    return marshal.loads(_read(fd, int.from_bytes(length, "little")))  # noqa: S302 - our own, as it was sent


def _read(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
