"""A directory of the host, read as an archive of it would be."""

from __future__ import annotations

import os
import stat

from ukmod.errors import LimitError
from ukmod.kmod.archives.files import MOST_ENTRIES
from ukmod.kmod.cpio import ArchiveEntry
from ukmod.kmod.regular import MODULE_LIMIT, read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["directory_entries", "file_entry"]


def directory_entries(root: str) -> Iterator[ArchiveEntry]:
    """Yield what lies below a directory, its files after it, in the order of their names; all are root's.

    Links are not followed: they are entries themselves. Of a device only its number is read. A file's content
    is read when its turn comes. Raises OSError, and LimitError for more files than an archive may have.
    """
    todo = [""]
    count = 0
    while todo:
        inside = todo.pop()
        names = sorted(os.listdir(os.path.join(root, inside)))
        if (count := count + len(names)) > MOST_ENTRIES:
            raise LimitError(f"has more than {MOST_ENTRIES} files", subject=root)
        for name in names:
            entry = file_entry(os.path.join(root, inside, name), os.path.join(inside, name))
            if stat.S_ISDIR(entry.mode):
                todo.append(entry.path)
            yield entry


def file_entry(path: str, name: str, *, follow: bool = False) -> ArchiveEntry:
    """The entry of one file, which is called ``name`` there; ``follow``: of what a link leads to.

    Raises OSError; EFBIG for a file of more than 1 GiB.
    """
    status = os.stat(path, follow_symlinks=follow)
    content = b""
    if stat.S_ISREG(status.st_mode):
        content = read_regular(path, MODULE_LIMIT)
    elif stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(path))
    file = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
    device = os.major(status.st_rdev), os.minor(status.st_rdev)
    return ArchiveEntry(name, status.st_mode, content, device=device, file=file)
