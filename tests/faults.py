"""Makes one call to the operating system fail, or kills the process there: each in turn, for tests of files.

The calls are those that Python's ``os`` makes. What is tested uses no others for the files in question.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EINTR)
CALLS = (
    *("open", "read", "write", "lseek", "ftruncate", "fstat", "fchmod", "fsync", "close"),
    *("rename", "replace", "unlink", "mkdir", "listdir", "stat"),
)

Wrapper = Callable[[str, Callable[..., object]], Callable[..., object]]


@contextmanager
def wrapped(wrapper: Wrapper, names: Sequence[str] = CALLS) -> Iterator[None]:
    """Within this, each of the functions of ``os`` is what the wrapper makes of it, in this thread."""
    real = {name: getattr(os, name) for name in names}
    thread = threading.get_ident()

    def of_this_thread(name: str) -> Callable[..., object]:
        ours = wrapper(name, real[name])

        def call(*arguments: object, **keywords: object) -> object:
            function = ours if threading.get_ident() == thread else real[name]
            return function(*arguments, **keywords)

        return call

    for name in names:
        setattr(os, name, of_this_thread(name))
    try:
        yield
    finally:
        for name in names:
            setattr(os, name, real[name])


@contextmanager
def failing(number: int, error: int, names: Sequence[str] = CALLS) -> Iterator[list[str]]:
    """Within this, the call of that number fails. Yields a list, in which the name of that call then is."""
    calls = itertools.count()
    failed: list[str] = []

    def wrapper(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **keywords: object) -> object:
            if next(calls) != number:
                return call(*arguments, **keywords)
            failed.append(name)
            if name == "close":
                call(*arguments, **keywords)  # the descriptor is gone, whatever close(2) returns
            raise OSError(error, os.strerror(error))

        return counted

    with wrapped(wrapper, names):
        yield failed


def killed_at(number: int, work: Callable[[], object], names: Sequence[str] = CALLS) -> bool:
    """Do some work in a child that is killed before its call of that number; False if it makes fewer."""
    calls = itertools.count()

    def wrapper(_name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **keywords: object) -> object:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return counted

    def counting() -> None:
        with wrapped(wrapper, names):
            work()

    _pid, status = os.waitpid(_child(counting), 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def racing(work: Callable[[int], object], writers: int = 20, kills: int = 50) -> Iterator[int]:
    """Have so many children do some work again and again; kill and replace one after the other.

    Yields the number of each kill, while the others are at work. ``work`` has the number of its child.
    """
    children = [_child(partial(_for_ever, work, number)) for number in range(writers)]
    try:
        for number in range(kills):
            time.sleep(0.02)
            _kill(children.pop(0))
            yield number
            children.append(_child(partial(_for_ever, work, writers + number)))
    finally:
        for child in children:
            _kill(child)


def _for_ever(work: Callable[[int], object], number: int) -> None:
    while True:
        work(number)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _child(work: Callable[[], object]) -> int:
    """Do some work in a child, whose number is returned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork() beside the threads of xdist
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid
