"""depmod whose changes to the file system fail in turn: the disk is full, read-only or broken.

The calls are counted in a child, as in test_killed, and the one in turn fails. The old set of files stays
whole, or the new one is complete; no temporary file is left; and the message is kmod's, about the index.
"""

from __future__ import annotations

import errno
import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.kmod.depmod.test_killed import CHANGES, Place, place

from ukmod.kmod.depmod import publish

__all__ = ["place"]

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
FAILED = 99


class Outcome(NamedTuple):
    """How a run ended whose call of this name failed: its exit status, and what it said."""

    call: str
    status: int
    said: str


def run(place: Place, number: int, error: int, *words: str) -> Outcome | None:
    """Run depmod in a child whose change of that number fails with an errno; None if it makes fewer."""
    said, failed = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork() beside the threads of xdist
        pid = os.fork()
    if pid == 0:
        status = FAILED
        try:
            os.dup2(said[1], 2)
            _fail(number, error, lambda name, write=os.write: write(failed[1], name.encode()))
            status = place.run(*words)
        finally:
            os._exit(status)
    for pipe in (said, failed):
        os.close(pipe[1])
    text, call = (b"".join(iter(lambda end=pipe[0]: os.read(end, 4096), b"")) for pipe in (said, failed))
    for pipe in (said, failed):
        os.close(pipe[0])
    _pid, status = os.waitpid(pid, 0)
    return Outcome(call.decode(), os.waitstatus_to_exitcode(status), text.decode()) if call else None


def _fail(number: int, error: int, note: Callable[[str], object]) -> None:
    """Have this process's change of that number fail; reading, and closing what is read, are no changes."""
    calls = itertools.count()
    written = set[object]()

    def failing(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **keywords: object) -> object:
            reads = name == "open" and not int(str(arguments[1])) & os.O_WRONLY
            if reads or (name in ("write", "close") and arguments[0] not in written):
                return call(*arguments, **keywords)
            written.discard(arguments[0] if name == "close" else None)
            if next(calls) == number:
                note(name)
                raise OSError(error, os.strerror(error))
            result = call(*arguments, **keywords)
            if name == "open":
                written.add(result)
            return result

        return wrapper

    for name in CHANGES:
        setattr(os, name, failing(name, getattr(os, name)))
    publish._datasync = os.fdatasync


def outcomes(place: Place, *words: str) -> Iterator[Outcome]:
    """Yield how a run ends whose first change fails, then its second, and so on to the last."""
    for number in itertools.count():
        place.restore()
        outcome = run(place, number, ERRORS[number % len(ERRORS)], *words)
        if outcome is None:
            assert number > 50, "all changes are counted"
            return
        yield outcome


def test_whatever_fails_the_old_or_the_new_set_is_whole_and_the_next_run_is_right(place: Place) -> None:
    words = [] if list(place.cache.iterdir()) else ["--no-cache"]
    old = place.files()
    place.run(*words)
    new = place.files()
    calls = set()
    for outcome in outcomes(place, *words):
        calls.add(outcome.call)
        found = place.files()
        if outcome.status == 0:
            assert found == new, outcome
            assert outcome.said == ""
        else:
            assert outcome.status == 1, outcome
            assert all(content in (old[name], new[name]) for name, content in found.items()), outcome
            assert found == old or outcome.call == "rename", outcome
            head, name, error = outcome.said.rstrip("\n").split("'")
            assert head == "depmod: ERROR: Could not create index "
            assert name in new
            assert error.removeprefix(": ") in map(os.strerror, ERRORS)
        assert [path.name for path in place.root.parent.rglob(".*.tmp")] == [], outcome
        assert place.run(*words) == 0
        assert place.files() == new, outcome
    assert calls >= {"open", "write", "fchmod", "fdatasync", "close", "rename"}
