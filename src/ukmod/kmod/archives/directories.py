"""A directory of the host, read as an archive of it would be."""

from __future__ import annotations

import os
import stat

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
    """What is in a file of the host, which is read when bytes() asks for it.

    bytes() raises OSError; EFBIG for a file of more than 1 GiB.
    """

    path: str
    size: int

    def __len__(self) -> int:
        """The file's size when it was found."""
        return self.size

    def __bytes__(self) -> bytes:
        return read_regular(self.path, MODULE_LIMIT)


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


def entries_in(root: str, inside: str) -> Iterator[ArchiveEntry]:
    """Yield what lies in the directory ``inside`` of a root, in the order of the names. Raises OSError."""
    for name in sorted(os.listdir(os.path.join(root, inside))):
        yield file_entry(os.path.join(root, inside, name), os.path.join(inside, name))


def file_entry(path: str, name: str, *, follow: bool = False) -> ArchiveEntry:
    """The entry of one file, which is called ``name`` there; ``follow``: of what a link leads to.

    Raises OSError.
    """
    status = os.stat(path, follow_symlinks=follow)
    content: bytes | HostContent = b""
    if stat.S_ISREG(status.st_mode):
        content = HostContent(path, status.st_size)
    elif stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(path))
    file = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
    device = os.major(status.st_rdev), os.minor(status.st_rdev)
    return ArchiveEntry(name, status.st_mode, content, device=device, file=file)
