"""Files of the host, or of an archive, that a caller hands in to the emulated machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Hashable, Iterable
from errno import ENOMEM, ENOSPC
from functools import partial
from typing import TYPE_CHECKING

from ukmod.errors import LimitError
from ukmod.kernel.uapi import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from ukmod.kmod.archives import open_archive
from ukmod.kmod.archives.directories import directory_entries, file_entry
from ukmod.kmod.cpio import ArchiveEntry
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess


def put(process: UserProcess, host: str, guest: str) -> None:
    """Copy a file, or a directory with all that is in it, to the path ``guest``; it becomes root's.

    Modes are kept. Directories that are missing on the way are made. A file goes into a directory that is
    there already. Raises OSError of either side; LimitError for too many files.
    """
    top = file_entry(host, "", follow=True)
    is_directory = stat.S_ISDIR(top.mode)
    if not is_directory and _is_directory(process, guest):
        guest = os.path.join(guest, os.path.basename(host))
    process.run(lambda: _make_above(process, guest))
    fill(process, [top], guest)
    if is_directory:
        fill(process, directory_entries(host), guest)


def root_entries(path: str) -> Iterable[ArchiveEntry]:
    """The files of a root: those below a directory, or in an archive (kmod.archives.open_archive).

    Raises NotFoundError if there is no such file, FormatError if it is not an archive, LimitError.
    """
    if os.path.isdir(path):
        return directory_entries(path)
    return (replace(entry, path=inside) for inside, entry in open_archive(path).walk())


def fill_root(process: UserProcess, path: str) -> None:
    """Fill the root file system. Raises LimitError if the machine's memory is too small for it."""
    try:
        fill(process, root_entries(path), "/")
    except OSError as error:
        if error.errno not in (ENOSPC, ENOMEM):
            raise
        text = "does not fit into the machine, half of whose memory files may take: give it more"
        raise LimitError(text, errno=error.errno, subject=path) from error


def fill(process: UserProcess, entries: Iterable[ArchiveEntry], guest: str) -> None:
    """Make files, each at its path below ``guest``; directories come before what is in them.

    A directory that is there already keeps its mode, and a file is written over. Raises OSError.
    """
    first: dict[Hashable, str] = {}

    def make() -> None:
        for entry in entries:
            path = os.path.join(guest, entry.path) if entry.path else guest
            is_linked = stat.S_ISREG(entry.mode) and entry.file is not None
            other = first.setdefault(entry.file, path) if is_linked else path
            if other == path:
                _make(process, path, entry)
            else:
                _replacing(process, path, partial(process.link, other, path))

    process.run(make)


def _make(process: UserProcess, path: str, entry: ArchiveEntry) -> None:
    mode, is_link = stat.S_IMODE(entry.mode), stat.S_ISLNK(entry.mode)
    if stat.S_ISDIR(entry.mode):
        if not _made_directory(process, path):
            return
    elif is_link:
        target = os.fsdecode(bytes(entry.content))
        _replacing(process, path, lambda: process.symlink(target, path))
    elif stat.S_ISREG(entry.mode):
        with process.open(path, "wb") as file:
            file.write_all(bytes(entry.content))
    else:
        _replacing(process, path, lambda: process.mknod(path, entry.mode, _encoded(*entry.device)))
    if any(entry.owner):
        process.syscall("fchownat", AT_FDCWD, path, *entry.owner, AT_SYMLINK_NOFOLLOW if is_link else 0)
    if not is_link:
        process.syscall("chmod", path, mode)  # the umask, and chown(2), have taken bits away


def _replacing(process: UserProcess, path: str, make: Callable[[], object]) -> None:
    """Make a file, in the place of one that is there."""
    try:
        make()
    except FileExistsError:
        process.unlink(path)
        make()


def _make_above(process: UserProcess, path: str) -> None:
    """mkdir -p of the directory that a path lies in."""
    above = os.path.dirname(path.rstrip("/"))
    if above.strip("/") and not _is_directory(process, above):
        _make_above(process, above)
        process.mkdir(above, 0o755)


def _made_directory(process: UserProcess, path: str) -> bool:
    """Make a directory; False if it is there. Raises OSError."""
    try:
        process.mkdir(path)
    except FileExistsError:
        if not _is_directory(process, path):
            raise
        return False
    return True


def _is_directory(process: UserProcess, path: str) -> bool:
    try:
        return stat.S_ISDIR(process.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _encoded(major: int, minor: int) -> int:
    """new_encode_dev(): the number of a device as mknod(2) takes it."""
    return minor & 0xFF | (major & 0xFFF) << 8 | (minor & 0xFFF00) << 12
