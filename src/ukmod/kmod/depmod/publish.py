"""Put a set of files into a directory: all of them, or none."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["make_directory", "publish", "remove", "touch"]

_STALE_SECONDS = 3600
_datasync = getattr(os, "fdatasync", os.fsync)
_MODE = 0o644  # whatever the umask: everyone may read what modprobe reads


def publish(directory: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) files to a directory, replacing those of the same names.

    All are written to temporary names first, and renamed only when the last is complete, so that an error, an
    interruption or a full disk leaves the old set as it was. OSError, with the name of the file, if that
    fails; then nothing is left behind.
    """
    where = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    written: list[tuple[str, str]] = []
    unsynced: list[tuple[int, str]] = []
    try:
        _remove_stale(where)
        for name, content in files:
            _refuse_directory(where, name)
            temporary = f".{name}.{os.getpid()}.tmp"
            written.append((temporary, name))
            unsynced.append((_about(name, _write, where, temporary, content), name))
        _sync(unsynced)
        # modules.dep last: `depmod -A` goes by it, and so repairs what an interruption from here on leaves.
        for temporary, name in reversed(written):
            os.rename(temporary, name, src_dir_fd=where, dst_dir_fd=where)
    except BaseException:
        for temporary, _name in written:
            remove(temporary, where)
        raise
    finally:
        for fd, _name in unsynced:
            with suppress(OSError):
                os.close(fd)
        os.close(where)


def touch(path: str) -> None:
    """Set a file's times to now. OSError, with its name, if that fails.

    It is opened first, for whatever plays another root to a tool by libraries in LD_PRELOAD, as kmod's own
    test-suite does, knows open() and not utimensat().
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.utime(descriptor if os.utime in os.supports_fd else path)
    finally:
        os.close(descriptor)


def _remove_stale(where: int) -> None:
    """Remove the temporary files of runs that were killed: an hour old, and of a process that is no more.

    Both, because the number may be that of a process on another machine or in another container.
    """
    for name in os.listdir(where):
        if name.startswith(".modules.") and name.endswith(".tmp"):
            pid = name.removesuffix(".tmp").rpartition(".")[2]
            if pid.isascii() and pid.isdigit() and len(pid) < 8 and not _is_alive(int(pid)):
                with suppress(OSError):
                    status = os.stat(name, dir_fd=where, follow_symlinks=False)
                    if status.st_mtime < time.time() - _STALE_SECONDS:
                        os.unlink(name, dir_fd=where)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _write(where: int, temporary: str, content: bytes) -> int:
    """Write a file; return its descriptor."""
    # Neither through a link that someone else put there, nor into another run's file.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, _MODE, dir_fd=where)
    except FileExistsError:  # of a run that was killed, whose process id is ours now
        os.unlink(temporary, dir_fd=where)
        fd = os.open(temporary, flags, _MODE, dir_fd=where)
    try:
        os.fchmod(fd, _MODE)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _sync(files: list[tuple[int, str]]) -> None:
    """Have the content of all files on the disk, and close them.

    Before any name leads to it, so that a power cut leaves a whole set. Once all are written, that takes 6 ms
    on an SSD; one by one it would be 10.
    """
    for fd, name in files:
        _about(name, _datasync, fd)
    while files:
        fd, name = files.pop()
        _about(name, os.close, fd)  # where some file systems report that the disk is full


def _about(name: str, call: Callable[..., T], *arguments: object) -> T:
    """Call a function. If that is an OSError, it is about the file that is to have this name."""
    try:
        return call(*arguments)
    except OSError as error:
        error.filename = name
        raise


def _refuse_directory(where: int, name: str) -> None:
    """Find out now, and not between two renames, that a name is taken by what cannot be replaced."""
    try:
        status = os.stat(name, dir_fd=where, follow_symlinks=False)
    except OSError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)


def remove(name: str, where: int | None = None) -> None:
    """Remove a temporary file, in a directory that is open; it may be renamed by now, or never made."""
    with suppress(OSError):
        os.unlink(name, dir_fd=where)


def make_directory(path: str) -> None:
    """Make a directory and those above it, if they are missing; OSError if that fails."""
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = path.rstrip("/").rpartition("/")[0].rstrip("/")
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            if not os.path.isdir(directory):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory) from None
