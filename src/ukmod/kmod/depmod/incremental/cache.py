"""Where one run of depmod keeps things for the next.

That is only ever a shortcut: a file that is missing, damaged, another user's, of another version or
impossible to write is as good as none. They lie outside the tree, some for each module directory, each
written whole and then renamed, so that of several runs at once the last one's stays.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
import zlib

from ukmod.kmod.depmod.publish import make_directory, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Identity = tuple[int, ...]

__all__ = ["UNSETTLED", "cache_path", "identities", "load", "prune", "store"]

# What marshal writes is for one version of Python.
_MAGIC = f"ukmod depmod 4 {sys.implementation.cache_tag} {marshal.version}\n".encode()
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again without a newer time stamp."""
UNSETTLED = (0,)
"""An identity that equals no other, not even itself."""
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
    """Return for each file what is never the same for two files, or for one before and after a change.

    It is () where there is no file, and UNSETTLED for one that has only just changed: its next change may
    leave it the same times.
    """
    settled = time.time_ns() - _SETTLED_NS
    found: dict[str, Identity] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found[path] = ()
            continue
        modified, changed = status.st_mtime_ns, status.st_ctime_ns
        found[path] = (
            (status.st_dev, status.st_ino, status.st_size, modified, changed)
            if modified < settled > changed
            else UNSETTLED
        )
    return found


def load(path: str) -> dict[str, Any]:
    """Return what was stored, or nothing if that is not whole and our own."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            # marshal trusts its input, so nobody else may have had a hand in it.
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return {}
            data = file.read()
    except OSError:
        return {}
    start = len(_MAGIC) + 4
    content = memoryview(data)[start:]  # megabytes, which are not to be copied
    if not data.startswith(_MAGIC) or zlib.crc32(content).to_bytes(4, "big") != data[start - 4 : start]:
        return {}
    entries: dict[str, Any] = marshal.loads(content)  # noqa: S302 - our own, and whole
    return entries


def store(path: str, entries: dict[str, Any]) -> None:
    """Store what marshal knows, in a directory that is made if need be; nothing happens if that fails."""
    directory = path.rpartition("/")[0]
    if directory.startswith(_SYSTEM) and not os.path.isdir(_SYSTEM):
        return
    data = marshal.dumps(entries)
    temporary = f"{path}.{os.getpid()}"
    try:
        make_directory(directory)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        with open(fd, "wb") as file:
            file.write(_MAGIC + zlib.crc32(data).to_bytes(4, "big") + data)
        where = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            names = [name.rpartition("/")[2] for name in (temporary, path)]
            os.rename(*names, src_dir_fd=where, dst_dir_fd=where)
        finally:
            os.close(where)
    except OSError:
        remove(temporary)


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


SUFFIXES = ("", ".facts", ".modules.dep.bin", ".modules.alias.bin", ".modules.symbols.bin")
"""The prefix of the files that one run leaves."""

_TREES = 16
"""For so many trees runs are remembered; a distribution's takes some 5 MB."""
