"""Put a set of files into a directory: all of them, or none.

A reader that comes between two of the renames sees some old files and some new ones. libkmod prescribes
their names, so there is no way around that: a window of less than a millisecond is left, and the order of
the renames (``_ORDER``) makes it harmless for most readers. kmod renames each file as soon as it is made: its
readers may see a mixed set for as long as depmod runs, and for ever if it is killed.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress

from ukmod.kmod.temporary import remove, temporary_name, write_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "leave_no_leftovers",
    "make_directory",
    "open_exclusively",
    "publish",
    "touch",
]

_ORDER = (
    "modules.dep.bin",
    "modules.alias.bin",
    "modules.symbols.bin",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
    "modules.softdep",
    "modules.weakdep",
    "modules.devname",
    "modules.alias",
    "modules.symbols",
    "modules.dep",
)
"""The order of the renames. First the modules, then the indexes that name them, so that whatever they name is
there; then the texts, which modprobe does not read. modules.dep is last: ``depmod -A`` goes by its time, and
so repairs what a run that was killed leaves."""
_STALE_SECONDS = 3600
_PATIENCE = 10.0
"""Seconds to wait for another run that writes to the same directory; it takes some milliseconds."""
_datasync = getattr(os, "fdatasync", os.fsync)
_MODE = 0o644  # whatever the umask: everyone may read what modprobe reads


def publish(directory: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) files to a directory, replacing those of the same names.

    All are written to temporary names first, and renamed only when the last is complete, so that an error, an
    interruption or a full disk leaves the old set as it was. OSError, with the name of the file, if that
    fails; then nothing is left behind. A run at the same time waits, so the sets of the two are not mixed,
    and what a run that was killed has left behind is removed.
    """
    written: list[tuple[str, str]] = []
    unsynced: list[tuple[int, str]] = []
    with open_exclusively(directory) as (where, is_exclusive):
        leave_no_leftovers(where, "modules.", is_exclusive=is_exclusive)
        try:
            for name, content in files:
                _refuse_directory(where, name)
                written.append((temporary_name(name), name))
                unsynced.append((_about(name, _write, where, written[-1][0], content), name))
            _sync(unsynced)
            written.sort(key=lambda pair: _ORDER.index(pair[1]) if pair[1] in _ORDER else -1)
            for temporary, name in written:
                _about(name, _rename, where, temporary, name)
        except BaseException:
            for temporary, _name in written:
                remove(temporary, where)
            raise
        finally:
            for fd, _name in unsynced:
                with suppress(OSError):
                    os.close(fd)


@contextmanager
def open_exclusively(directory: str, *, flags: int = 0) -> Iterator[tuple[int, bool]]:
    """Lend a directory's descriptor, and whether no other run has it.

    It may have, where the file system knows no locks or the other run has been stopped. OSError if the
    directory cannot be opened.
    """
    where = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
    try:
        yield where, _lock(where)
    finally:
        with suppress(OSError):  # nothing has been written to it
            os.close(where)  # which ends the lock


def _lock(where: int) -> bool:
    """Wait until no other run has a directory; False if that cannot be, or takes too long."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:
        return False
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            flock(where, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        except OSError:
            return False
        else:
            return True


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


def leave_no_leftovers(where: int, prefix: str, *, is_exclusive: bool) -> None:
    """Remove the temporary files that runs which were killed have left, of names that begin so.

    A run that has the directory for itself knows that all are such. Otherwise they are those of a process
    that is no more, an hour old: the number may be that of a process on another machine or in a container.
    """
    for name in os.listdir(where):
        if name.startswith(f".{prefix}") and name.endswith(".tmp"):
            pid = name.split(".")[-3]
            if not (pid.isascii() and pid.isdigit() and len(pid) < 8):
                continue
            with suppress(OSError):
                if is_exclusive or (_is_old(where, name) and not _is_alive(int(pid))):
                    os.unlink(name, dir_fd=where)


def _is_old(where: int, name: str) -> bool:
    status = os.stat(name, dir_fd=where, follow_symlinks=False)
    return status.st_mtime < time.time() - _STALE_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _write(where: int, temporary: str, content: bytes) -> int:
    return write_new(temporary, (content,), _MODE, where=where, masked=False)


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


def _rename(where: int, temporary: str, name: str) -> None:
    os.rename(temporary, name, src_dir_fd=where, dst_dir_fd=where)


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
