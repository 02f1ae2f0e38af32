"""What is costly to work out of a kernel image, kept on disk: $XDG_CACHE_HOME/ukmod, or ~/.cache/ukmod.

An entry is written under another name and renamed, so that several processes may do the same at once. It is
read only if it is ours and nobody else may write it; one that is damaged, or that was put in the place of
another, counts for none.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

__all__ = ["Cache", "default_directory"]

_DIGEST = 32
_ABANDONED = 3600
"""Seconds after which nobody goes on writing a file."""


def default_directory() -> str:
    """Return the user's cache directory (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ukmod")


class Cache:
    """Entries by name in a directory, which is made when the first is kept."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def digest(self, name: str) -> hashlib._Hash:
        """Begin the SHA-256 of an entry's content. It is of the directory's name and the entry's too, so that
        it is right for no other.
        """
        return hashlib.sha256(f"{os.path.basename(self.directory)}/{name}\0".encode())

    # An entry as bytes ends in the digest of the rest.

    def get(self, name: str) -> mmap.mmap | None:
        """Return an entry mapped into memory, its digest at its end; None if it is not there or damaged."""
        if (file := self.open(name)) is None:
            return None
        try:
            with file:
                entry = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: it is empty
            return None
        with memoryview(entry) as view:
            digest = self.digest(name)
            digest.update(view[:-_DIGEST])
            return entry if digest.digest() == view[-_DIGEST:] else None

    def put(self, name: str, content: bytes) -> None:
        """Keep an entry; where that cannot be done, a full disk say, nothing is kept."""
        digest = self.digest(name)
        digest.update(content)
        self.write(name, (content, digest.digest()))

    # An entry as a file has a form of its own.

    def open(self, name: str) -> BufferedReader | None:
        """Open an entry; None if there is none, or if another user may have written it."""
        try:
            file = open(os.path.join(self.directory, name), "rb", opener=_open)  # noqa: SIM115 - the caller closes it
        except OSError:
            return None
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and _is_ours(status):
            return file
        file.close()
        return None

    def write(self, name: str, parts: Iterable[bytes | memoryview]) -> bool:
        """Keep an entry that is written part by part; false where that cannot be done."""
        temporary = None
        try:
            os.makedirs(self.directory, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.directory)
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
            os.replace(temporary, os.path.join(self.directory, name))
        except OSError:
            if temporary is not None:
                _remove(temporary)
            return False
        return True

    def trim(self, prefix: str, count: int) -> None:
        """Remove all but the latest ``count`` entries whose names begin so, and what a writer that was killed
        has left of such.
        """
        with contextlib.suppress(OSError):
            entries = sorted(Path(self.directory).glob(f"{prefix}*"), key=_written, reverse=True)
            for entry in entries[count:]:
                _remove(str(entry))
            for entry in Path(self.directory).glob(f".{prefix}*"):
                if _written(entry) < time.time() - _ABANDONED:
                    _remove(str(entry))


def _open(path: str, flags: int) -> int:
    """Open a file; if it is a FIFO, without waiting for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _is_ours(status: os.stat_result) -> bool:
    """Did we write it, and nobody else? Where files have no owners, their directory has to do."""
    owner = getattr(os, "geteuid", lambda: status.st_uid)()
    return status.st_uid == owner and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _written(path: Path) -> float:
    """When a file was written; 0 if it has gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
