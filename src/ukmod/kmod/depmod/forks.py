"""Use a second core without the cost of a pool.

depmod runs for less than half a second, of which importing :mod:`concurrent.futures` and starting its
processes would take a good part. A forked child has all it needs already, and sends back its result.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")
else:
    T = None

    class Generic:
        """typing's, which only a type checker reads."""

        def __class_getitem__(cls, _item):
            return cls


__all__ = ["Fork", "cores"]


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Fork(Generic[T]):
    """A function at work in a child process; its result must be made of what marshal knows.

    Only for programs of one thread: a child inherits locks, but not the threads that hold them.
    """

    __slots__ = ("_function", "_pid", "_pipe")

    def __init__(self, function: Callable[[], T]) -> None:
        """Start it; without a second core, or when no process can be had, it waits for :meth:`result`."""
        self._function = function
        self._pid = 0
        self._pipe = -1
        if cores() < 2:
            return
        reader, writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            return
        if self._pid == 0:
            os.close(reader)
            _work(function, writer)
        os.close(writer)
        self._pipe = reader

    def result(self) -> T:
        """Wait for the result. If the child did not deliver, because it was killed say, do its work here."""
        if self._pid == 0:
            return self._function()
        with open(self._pipe, "rb") as pipe:
            data = pipe.read()
        _pid, status = os.waitpid(self._pid, 0)
        if status:
            return self._function()
        result: T = marshal.loads(data)  # noqa: S302 - of our own child
        return result


def _work(function: Callable[[], Any], writer: int) -> None:
    """Be the child: never return, so that nothing of the parent's is done twice."""
    status = 1
    try:
        with open(writer, "wb") as pipe:
            pipe.write(marshal.dumps(function()))
        status = 0
    finally:
        os._exit(status)
