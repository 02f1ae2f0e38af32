"""A directory of the host, read as an archive of it would be."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

from ukmod.errors import LimitError
from ukmod.kmod.archives.files import MOST_ENTRIES
from ukmod.kmod.cpio import ArchiveEntry
from ukmod.kmod.regular import MODULE_LIMIT, read_regular
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["directory_entries", "entries_in", "file_entry"]


@record
class HostContent:
    """The content of a file below a directory of the host, which is read when bytes() asks for it.

    bytes() raises OSError: EFBIG for a file of more than 1 GiB, ELOOP or ENOTDIR for what has become a link.
    """

    root: str
    inside: str
    size: int

    def __len__(self) -> int:
        """The file's size when it was found."""
        return self.size

    def __bytes__(self) -> bytes:
        above, _, name = self.inside.rpartition("/")
        with _opened(self.root, above) as directory:
            return read_regular(name, MODULE_LIMIT, dir_fd=directory, follow=False)


def directory_entries(root: str) -> Iterator[ArchiveEntry]:
    """Yield what lies below a directory, its files after it, in the order of their names; all are root's.

    Links are not followed: they are entries themselves. Of a device only its number is read. A file's content
    is read when it is asked for. Raises OSError, and LimitError for more files than an archive may have.
    """
    todo = [""]
    count = 0
    while todo:
        for entry in entries_in(root, todo.pop()):
            if (count := count + 1) > MOST_ENTRIES:
                raise LimitError(f"has more than {MOST_ENTRIES} files", subject=root)
            if stat.S_ISDIR(entry.mode):
                todo.append(entry.path)
            yield entry


def entries_in(root: str, inside: str) -> list[ArchiveEntry]:
    """Return what lies in the directory ``inside`` of a root, in the order of the names.

    No link below the root is followed, whatever has become of the directory since it was found.

    Raises OSError.
    """
    with _opened(root, inside) as directory:
        return [
            _entry_in(directory, root, os.path.join(inside, name)) for name in sorted(os.listdir(directory))
        ]


def file_entry(path: str) -> ArchiveEntry:
    """Return the entry of one file, or of a directory, or of what a link leads to, without a name.

    Raises OSError; EFBIG for a file of more than 1 GiB.
    """
    status = os.stat(path)
    return _entry("", status, read_regular(path, MODULE_LIMIT) if stat.S_ISREG(status.st_mode) else b"")


def _entry_in(directory: int, root: str, inside: str) -> ArchiveEntry:
    name = os.path.basename(inside)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    content: bytes | HostContent = b""
    if stat.S_ISREG(status.st_mode):
        content = HostContent(root, inside, status.st_size)
    elif stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(name, dir_fd=directory))
    return _entry(inside, status, content)


def _entry(name: str, status: os.stat_result, content: bytes | HostContent) -> ArchiveEntry:
    file = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
    device = os.major(status.st_rdev), os.minor(status.st_rdev)
    return ArchiveEntry(name, status.st_mode, content, device=device, file=file)


@contextmanager
def _opened(root: str, inside: str) -> Iterator[int]:
    """A descriptor of a directory, on the way to which no link below the root is followed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    directory = os.open(root, flags)
    try:
        for name in inside.split("/") if inside else ():
            above, directory = directory, os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
            os.close(above)
        yield directory
    finally:
        os.close(directory)
