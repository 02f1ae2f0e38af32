"""What is costly to work out of a kernel image, kept on disk: $XDG_CACHE_HOME/ukmod, or ~/.cache/ukmod.

An entry is a file that ends in the SHA-256 of the rest. It is written under another name and renamed, so that
several processes may do the same at once; one that is damaged counts for none.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile

__all__ = ["Cache", "default_directory"]

_DIGEST = 32


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

    def get(self, name: str) -> mmap.mmap | None:
        """Return an entry mapped into memory, its digest at its end; None if it is not there or damaged."""
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                entry = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: it is empty
            return None
        with memoryview(entry) as view:
            if len(view) > _DIGEST and hashlib.sha256(view[:-_DIGEST]).digest() == view[-_DIGEST:]:
                return entry
        return None

    def put(self, name: str, content: bytes) -> None:
        """Keep an entry; where that cannot be done, a full disk say, nothing is kept."""
        temporary = None
        try:
            os.makedirs(self.directory, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.directory)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.write(hashlib.sha256(content).digest())
            os.replace(temporary, os.path.join(self.directory, name))
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
