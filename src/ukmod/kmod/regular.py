"""Files that are read: regular ones, of a bounded size.

A path may lead to anything. A FIFO or a terminal blocks for ever, /dev/zero has no end, a sparse file of 10
GB fills the memory. So whatever ukmod reads, it opens here.
"""

from __future__ import annotations

import errno
import os
import stat

from ukmod.errors import NotFoundError

__all__ = [
    "MODULE_LIMIT",
    "TEXT_LIMIT",
    "UNSETTLED",
    "identity",
    "open_regular",
    "open_with_status",
    "read_all",
    "read_named",
    "read_regular",
    "status_in_memory",
    "write_all",
]

TEXT_LIMIT = 1 << 28
"""Bytes of a configuration file, an index, or another file that depmod and modprobe read. The largest that
distributions ship, modules.alias.bin, has some 2 MB."""

MODULE_LIMIT = 1 << 30
"""Bytes of a module's file, packed or not: ten times the largest with all their debug information."""

UNSETTLED = (0,)
"""An identity that equals no other, not even itself."""
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again without a newer time stamp."""
_NULL_DEVICE = (1, 3)
_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
"""Files that the caller's shell has opened already, as in ``modprobe -C <(echo options x y=1)``."""


def open_regular(path: str, limit: int = TEXT_LIMIT, *, dir_fd: int | None = None) -> int:
    """Open a regular file of at most ``limit`` bytes for reading; return its descriptor.

    /dev/null is let pass as an empty file, as is a pipe that the shell has opened. Raises OSError: what
    open(2) gives; EISDIR for a directory; EINVAL for a FIFO, a socket or a device; EFBIG for a file that is
    too large.
    """
    return open_with_status(path, limit, dir_fd=dir_fd)[0]


def open_with_status(
    path: str, limit: int, *, dir_fd: int | None = None, follow: bool = True
) -> tuple[int, os.stat_result]:
    """Open a file as ``open_regular`` does; return its status, too, which has its size in bytes.

    Without ``follow``, a link is an error: ELOOP.
    """
    is_pipe = path.startswith(_PIPES)
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if is_pipe else getattr(os, "O_NONBLOCK", 0))
    flags |= 0 if follow else os.O_NOFOLLOW
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        if status.st_size <= limit:
            return descriptor, status
        error = OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    elif (is_pipe and stat.S_ISFIFO(status.st_mode)) or _is_null(status):
        return descriptor, status
    elif stat.S_ISDIR(status.st_mode):
        error = OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    else:
        error = OSError(errno.EINVAL, "Not a regular file", path)
    os.close(descriptor)
    raise error


def read_regular(
    path: str, limit: int = TEXT_LIMIT, *, dir_fd: int | None = None, follow: bool = True
) -> bytes:
    """Return the content of a regular file. Raises OSError as ``open_with_status`` does, and what read(2)
    gives.
    """
    descriptor, status = open_with_status(path, limit, dir_fd=dir_fd, follow=follow)
    try:
        # Files of /proc and /sys say that they are empty; others are read at one go, and may grow meanwhile.
        return read_all(descriptor, limit, max(status.st_size + 1, 1 << 12), path)
    finally:
        os.close(descriptor)


def read_named(path: str) -> bytes:
    """Return the content of a regular file that a user has named. NotFoundError if it cannot be read."""
    try:
        return read_regular(path)
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), errno=error.errno, subject=path) from error


def read_all(descriptor: int, limit: int, size: int = 1 << 20, path: str | None = None) -> bytes:
    """Read a file from where it stands to its end, ``size`` bytes at a time.

    Raises OSError: EFBIG, about ``path``, if that is more than ``limit`` bytes, and what read(2) gives.
    """
    parts: list[bytes] = []
    room = limit
    try:
        while part := os.read(descriptor, size):
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    except OSError as error:
        error.filename = path
        raise
    return b"".join(parts)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of the content, in the parts that write(2) takes. Raises OSError, when some are written."""
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def status_in_memory(mode: int, size: int) -> os.stat_result:
    """Return the status of a file that is only in memory: its type and permissions, and its size in bytes."""
    return os.stat_result((mode, 0, 0, 1, 0, 0, size, 0, 0, 0))


def identity(status: os.stat_result, now: int) -> tuple[int, ...]:
    """Return what is never the same for two files, or for one before and after a change.

    ``now``: when the status was read, in ns since the epoch. It is UNSETTLED for a file that had only just
    changed: its next change may leave it the same times.
    """
    modified, changed = status.st_mtime_ns, status.st_ctime_ns
    if modified < now - _SETTLED_NS > changed:
        return status.st_dev, status.st_ino, status.st_size, modified, changed
    return UNSETTLED


def _is_null(status: os.stat_result) -> bool:
    device = os.major(status.st_rdev), os.minor(status.st_rdev)
    return stat.S_ISCHR(status.st_mode) and device == _NULL_DEVICE
