"""Where one run of depmod keeps things for the next.

That is only ever a shortcut: a file that is missing, damaged, another user's, of another version or
impossible to write is as good as none. They lie outside the tree, some for each module directory, each
written whole and then renamed, so that of several runs at once the last one's stays.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
import time
import zlib
from contextlib import suppress

from ukmod.kmod.depmod.publish import leave_no_leftovers, make_directory, open_exclusively
from ukmod.kmod.regular import identity
from ukmod.kmod.temporary import remove, replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Identity = tuple[int, ...]

__all__ = ["cache_path", "identities", "load", "load_piece", "prune", "store", "store_pieces"]

# What marshal writes is for one version of Python.
_MAGIC = f"ukmod depmod 5 {sys.implementation.cache_tag} {marshal.version}\n".encode()
_LIMIT = 1 << 28
"""Bytes of a stored file; that of a distribution's tree has 6 MB."""
_OWN_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SYSTEM = "/var/cache"
"""A root without it is not to get it from us: it is an image that is being built, or a test's."""


def cache_path(dirname: str, environ: Mapping[str, str], *, privileged: bool) -> str:
    """Return where things of a module directory are kept: where the environment says, or root's and others'
    usual place.
    """
    usual = _SYSTEM if privileged else f"{environ.get('HOME', '')}/.cache"
    where = environ.get("XDG_CACHE_HOME") or usual
    return f"{where}/ukmod/depmod-{zlib.crc32(os.fsencode(dirname)):08x}"


def identities(paths: Sequence[str]) -> dict[str, Identity]:
    """Return the identity of each file; () where there is no file."""
    now = time.time_ns()
    found: dict[str, Identity] = {}
    for path in paths:
        try:
            found[path] = identity(os.stat(path), now)
        except OSError:
            found[path] = ()
    return found


def load(path: str) -> dict[str, Any]:
    """Return what was stored, or nothing if that is not whole and our own."""
    data = load_piece(path, 0, _LIMIT)
    start = len(_MAGIC) + 4
    content = memoryview(data)[start:]  # megabytes, which are not to be copied
    if not data.startswith(_MAGIC) or zlib.crc32(content).to_bytes(4, "big") != data[start - 4 : start]:
        return {}
    entries: dict[str, Any] = marshal.loads(content)  # noqa: S302 - our own, and whole
    return entries


def load_piece(path: str, start: int, size: int) -> bytes:
    """Return some bytes of a file: fewer if it ends before, and none if it is not our own.

    marshal trusts its input, so nobody else may have had a hand in it.
    """
    directory, _slash, name = path.rpartition("/")
    try:
        where = os.open(directory, os.O_RDONLY | _OWN_DIRECTORY)
        try:
            if not _is_ours(where):
                return b""
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=where)
        finally:
            os.close(where)
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LIMIT or not _is_ours(fd):
                return b""
            file.seek(start)
            return file.readall() if size >= status.st_size else file.read(size)
    except OSError:
        return b""


def store(path: str, entries: dict[str, Any]) -> None:
    """Store what marshal knows, in a directory that is made if need be; nothing happens if that fails."""
    data = marshal.dumps(entries)
    store_pieces(path, (_MAGIC, zlib.crc32(data).to_bytes(4, "big"), data))


def store_pieces(path: str, pieces: Iterable[bytes]) -> None:
    """Store bytes, for :func:`load_piece`; nothing happens if that fails."""
    directory, _slash, name = path.rpartition("/")
    if directory.startswith(_SYSTEM) and not os.path.isdir(_SYSTEM):
        return
    with suppress(OSError):
        make_directory(directory)
        with open_exclusively(directory, flags=_OWN_DIRECTORY) as (where, is_exclusive):
            if not _is_ours(where):
                return
            leave_no_leftovers(where, "depmod-", is_exclusive=is_exclusive)
            replace_file(name, pieces, mode=0o600, where=where)


def _is_ours(fd: int) -> bool:
    """Tell whether a file or directory is this user's, and no other user can write to it."""
    status = os.fstat(fd)
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def prune(path: str) -> None:
    """Forget the runs for trees that were seen longest ago: mkinitramfs makes a new one each time."""
    directory = path.rpartition("/")[0]
    try:
        with os.scandir(directory) as entries:
            runs = [
                (entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".run")
            ]
    except OSError:
        return
    for _time, run in sorted(runs)[:-_TREES]:
        for suffix in SUFFIXES:
            remove(run + suffix)


SUFFIXES = ("", ".facts", ".parts", ".modules.dep.bin", ".modules.alias.bin", ".modules.symbols.bin")
"""The prefix of the files that one run leaves."""

_TREES = 16
"""For so many trees runs are remembered; a distribution's takes some 5 MB."""
