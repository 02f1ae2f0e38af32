"""Files that are written under a temporary name, and take another's place once they are whole."""

from __future__ import annotations

import os
from contextlib import suppress

from ukmod.kmod.regular import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["remove", "replace_file", "temporary_name", "write_new"]

# Neither through a link that someone else put there, nor into another process's file.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_FLAGS |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_SHOWN = 40
"""Characters of the other name, which may itself be as long as a name can be: 255 bytes."""


def temporary_name(name: str) -> str:
    """Return a new name for a file that is to have another name later on."""
    return f".{name[:_SHOWN]}.{os.getpid()}.{os.urandom(6).hex()}.tmp"


def write_new(
    path: str,
    parts: Iterable[bytes | memoryview],
    mode: int,
    *,
    where: int | None = None,
    masked: bool = True,
) -> int:
    """Write a new file, and return its descriptor. OSError if that fails, or if there is such a file.

    ``where`` is the descriptor of the directory that ``path`` is relative to. ``mode`` is subject to the
    umask if it is ``masked``.
    """
    descriptor = os.open(path, _FLAGS, mode, dir_fd=where)
    try:
        if not masked:
            os.fchmod(descriptor, mode)
        for part in parts:
            write_all(descriptor, part)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def replace_file(
    path: str,
    parts: Iterable[bytes | memoryview],
    *,
    mode: int = 0o666,
    where: int | None = None,
    masked: bool = True,
    sync: bool = False,
) -> None:
    """Write a file that takes the place of the one of that name: whole, or not at all.

    OSError if that fails; then nothing has changed. ``mode``, ``where`` and ``masked`` are as for
    :func:`write_new`. ``sync``: not even a power cut leaves a part of it.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, temporary_name(name))
    try:
        descriptor = write_new(temporary, parts, mode, where=where, masked=masked)
        try:
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)  # where some file systems report that the disk is full
        os.replace(temporary, path, src_dir_fd=where, dst_dir_fd=where)
    except BaseException:
        remove(temporary, where)
        raise


def remove(path: str, where: int | None = None) -> None:
    """Remove a temporary file; it may be renamed by now, or never made."""
    with suppress(OSError):
        os.unlink(path, dir_fd=where)
