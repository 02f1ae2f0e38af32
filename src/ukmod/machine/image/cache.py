"""A cache of expensive results about kernel images, in $XDG_CACHE_HOME/ukmod or ~/.cache/ukmod.

A cache is a directory of the user's own, of mode 0700, with a secret key in it. Every entry is authenticated
with the key, its name and the directory's name. A file from elsewhere (planted by another user, unpacked from
an archive, moved from another place) is therefore no entry. Links are not followed. A file is written under a
temporary name and renamed, so that several processes may write the same entry at once and readers see only
complete ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import mmap
import os
import stat
import time
from collections.abc import Iterable, Iterator
from io import BufferedReader

from ukmod.kmod.regular import UNSETTLED
from ukmod.kmod.temporary import remove, replace_file

__all__ = ["MAC_SIZE", "Cache", "default_directory"]

MAC_SIZE = 32
"""The size of an entry's HMAC-SHA-256 in bytes."""
_KEY = "key"
_KEY_SIZE = 32
_ABANDONED = 3600
"""The age in seconds at which a temporary file is considered abandoned."""
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and hasattr(os, "geteuid")
"""True if files can be opened relative to a directory's descriptor without following links.

Windows cannot do that, so nothing is cached there.
"""


def default_directory() -> str:
    """Return the user's cache directory (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ukmod")


class Cache:
    """Named entries in a directory, which is created for the first entry.

    Nothing here raises OSError: a cache that cannot be used is empty and saves nothing.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def mac(self, name: str) -> hmac.HMAC | None:
        """Begin the MAC of an entry's content; None if there is no key.

        It covers the names of the directory and the entry, so it is valid for no other entry.
        """
        with contextlib.suppress(OSError), self._opened() as place:
            return self._mac(place, name)
        return None

    def _mac(self, place: int, name: str) -> hmac.HMAC | None:
        if (key := _read_key(place)) is None:
            return None
        return hmac.new(key, f"{os.path.basename(self.directory)}/{name}\0".encode(), hashlib.sha256)

    # An entry in bytes ends in the MAC of its content.

    def get(self, name: str) -> mmap.mmap | None:
        """Return an entry mapped into memory, its MAC at its end; None if it is missing or not authentic."""
        if (mac := self.mac(name)) is None or (file := self.open(name)) is None:
            return None
        try:
            with file:
                entry = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: it is empty
            return None
        with memoryview(entry) as view:
            mac.update(view[:-MAC_SIZE])
            return entry if hmac.compare_digest(mac.digest(), view[-MAC_SIZE:]) else None

    def put(self, name: str, content: bytes) -> None:
        """Save an entry; if that is impossible (for example, the disk is full), save nothing."""
        if self.prepare() and (mac := self.mac(name)) is not None:
            mac.update(content)
            self.write(name, (content, mac.digest()))

    # What was found out about a file holds until the file changes.

    def remember(self, name: str, identity: tuple[int, ...], found: bytes = b"") -> None:
        """Save what was found in a file; ``identity`` is ``identity()`` of it before it was read."""
        if identity != UNSETTLED:
            self.put(name, f"{identity}\n".encode() + found)

    def recall(self, name: str, identity: tuple[int, ...]) -> bytes | None:
        """Return what was remembered of a file, unless it has changed since."""
        if identity == UNSETTLED or (entry := self.get(name)) is None:
            return None
        head, _, found = entry[:-MAC_SIZE].partition(b"\n")
        return found if head == str(identity).encode() else None

    # An entry in a file has its own format.

    def prepare(self) -> bool:
        """Create the directory and its key if they are missing; False if no cache is possible here."""
        try:
            os.makedirs(os.path.dirname(self.directory), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.directory, 0o700)
            with self._opened() as place:
                if _read_key(place) is None:
                    _make_key(place)
            return True
        except OSError:
            return False

    def open(self, name: str) -> BufferedReader | None:
        """Open an entry; None if it is missing, or not a file that only this user can write."""
        try:
            with self._opened() as place:
                return os.fdopen(_open_private(place, name), "rb")
        except OSError:
            return None

    def write(self, name: str, parts: Iterable[bytes | memoryview]) -> bool:
        """Save an entry given in parts, in a directory that ``prepare`` has created.

        Returns False, and saves nothing, if that is impossible.
        """
        try:
            with self._opened() as place:
                replace_file(name, parts, mode=0o600, where=place)
        except OSError:
            return False
        return True

    def trim(self, prefix: str, count: int) -> None:
        """Remove all but the latest ``count`` entries with this prefix, and files left by killed writers."""
        with contextlib.suppress(OSError), self._opened() as place:
            written = {name: _written(place, name) for name in os.listdir(place)}
            entries = [name for name in written if name.startswith(prefix)]
            for name in sorted(entries, key=written.__getitem__, reverse=True)[count:]:
                remove(name, place)
            for name, when in written.items():
                if name.startswith(f".{prefix}") and when < time.time() - _ABANDONED:
                    remove(name, place)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory's descriptor. Raises OSError if it is missing, a link, or not this user's own."""
        if not _HAS_DESCRIPTORS:
            raise OSError("this system has no directory descriptors")
        place = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _make_private(place)
            yield place
        finally:
            with contextlib.suppress(OSError):
                os.close(place)


def _make_private(place: int) -> None:
    """Check that a directory belongs to this user, and that no other user can have written to it.

    A directory that others could write to is made private and loses its key, as none of its entries is
    trustworthy.
    """
    status = os.fstat(place)
    if status.st_uid != os.geteuid():
        raise PermissionError("the directory belongs to another user")
    if status.st_mode & 0o077:
        os.fchmod(place, 0o700)
        if status.st_mode & 0o022:
            remove(_KEY, place)


def _open_private(place: int, name: str) -> int:
    """Open a regular file of the directory that only this user can have written. Raises OSError otherwise.

    Through a second link, others could write to it. Opening a FIFO does not block.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=place)
    try:
        status = os.fstat(descriptor)
        if (
            stat.S_ISREG(status.st_mode)
            and status.st_uid == os.geteuid()
            and status.st_nlink <= 1  # 0: it has been replaced since it was opened
            and not status.st_mode & 0o022
        ):
            return descriptor
        raise PermissionError(f"{name} is not a regular file that only this user can write")
    except BaseException:
        os.close(descriptor)
        raise


def _read_key(place: int) -> bytes | None:
    """Read the key; None if it is missing, or others may have read it."""
    try:
        descriptor = _open_private(place, _KEY)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            return None
        key = os.read(descriptor, _KEY_SIZE + 1)
    finally:
        os.close(descriptor)
    return key if len(key) == _KEY_SIZE else None


def _make_key(place: int) -> None:
    """Make the key. Of several processes at once, one does so, where a directory can be locked."""
    with contextlib.suppress(ImportError, OSError):
        from fcntl import LOCK_EX, flock

        flock(place, LOCK_EX)  # until it is closed
    if _read_key(place) is None:
        replace_file(_KEY, (os.urandom(_KEY_SIZE),), mode=0o600, where=place)


def _written(place: int, name: str) -> float:
    """When a file was written, in seconds since the epoch; 0 if it is gone."""
    try:
        return os.stat(name, dir_fd=place, follow_symlinks=False).st_mtime
    except OSError:
        return 0
