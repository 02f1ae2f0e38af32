"""Files of the host, or of an archive, that a caller hands in to the emulated machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from ukmod.kernel.uapi import AT_FDCWD, AT_SYMLINK_NOFOLLOW
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
    top = file_entry(host)
    is_directory = stat.S_ISDIR(top.mode)
    if not is_directory and _is_directory(process, guest):
        guest = os.path.join(guest, os.path.basename(host))
    process.run(lambda: _make_above(process, guest))
    fill(process, [top], guest)
    if is_directory:
        fill(process, directory_entries(host), guest)


def fill(process: UserProcess, entries: Iterable[ArchiveEntry], guest: str) -> None:
    """Make files, each at its path below ``guest``; directories come before what is in them.

    A directory that is there already keeps its mode, and a file is written over. Raises OSError.
    """
    process.run(lambda: _Filling(process).fill(entries, guest))


class _Filling:
    """Files being made, by few system calls each: their modes are those that they are made with."""

    def __init__(self, process: UserProcess) -> None:
        self._process = process
        self._first: dict[Hashable, str] = {}
        """Where the first of several hard links lies."""
        self._is_setgid: dict[str, bool] = {}
        """The directories in which something was made: whether it has inherited their group."""
        self._special: list[tuple[str, int]] = []
        """Directories made, and their modes, whose further bits what is made in them would inherit."""

    def fill(self, entries: Iterable[ArchiveEntry], guest: str) -> None:
        before = self._process.syscall("umask", 0)
        try:
            for entry in entries:
                self._add(os.path.join(guest, entry.path) if entry.path else guest, entry)
            for path, mode in self._special:
                self._process.syscall("chmod", path, mode)
        finally:
            if before:
                self._process.syscall("umask", before)

    def _add(self, path: str, entry: ArchiveEntry) -> None:
        is_linked = stat.S_ISREG(entry.mode) and entry.file is not None
        other = self._first.setdefault(entry.file, path) if is_linked else path
        if other != path:
            _replacing(self._process, path, partial(self._process.link, other, path))
        elif stat.S_ISDIR(entry.mode):
            self._make_directory(path, entry)
        else:
            is_new = self._make(path, entry)
            self._finish(path, entry, is_new=is_new)

    def _make_directory(self, path: str, entry: ArchiveEntry) -> None:
        plain = entry.mode & ~(stat.S_ISUID | stat.S_ISGID)
        if not _made_directory(self._process, path, stat.S_IMODE(plain)):
            return
        self._finish(path, replace(entry, mode=plain), is_new=True)
        self._is_setgid[path] = False  # until all is in it
        if plain != entry.mode:
            self._special.append((path, stat.S_IMODE(entry.mode)))

    def _make(self, path: str, entry: ArchiveEntry) -> bool:
        """Make what is not a directory; False if it was a file already, whose mode stays for now."""
        process = self._process
        if stat.S_ISLNK(entry.mode):
            target = os.fsdecode(bytes(entry.content))
            _replacing(process, path, lambda: process.symlink(target, path))
        elif stat.S_ISREG(entry.mode):
            return self._write(path, entry)
        else:
            number = _encoded(*entry.device)
            _replacing(process, path, lambda: process.mknod(path, entry.mode, number))
        return True

    def _write(self, path: str, entry: ArchiveEntry) -> bool:
        process, content = self._process, bytes(entry.content)
        is_new = True
        try:
            if not content:
                process.mknod(path, entry.mode)
                return True
            file = process.open(path, "xb", permissions=stat.S_IMODE(entry.mode))
        except FileExistsError:
            file, is_new = process.open(path, "wb"), False
        with file:
            file.write_all(content)
        return is_new

    def _finish(self, path: str, entry: ArchiveEntry, *, is_new: bool) -> None:
        """Give a file its owner, and the mode that it may not have, or may have lost."""
        inherits = self._inherits(os.path.dirname(path))
        is_link = stat.S_ISLNK(entry.mode)
        changes_owner = inherits or any(entry.owner)
        if changes_owner:
            flags = AT_SYMLINK_NOFOLLOW if is_link else 0
            self._process.syscall("fchownat", AT_FDCWD, path, *entry.owner, flags)
        if not is_link and (changes_owner or not is_new):
            self._process.syscall("chmod", path, stat.S_IMODE(entry.mode))

    def _inherits(self, directory: str) -> bool:
        """True if a directory's group, and that bit of its mode, are passed on to what is made in it."""
        if directory not in self._is_setgid:
            mode = self._process.stat(directory or ".").st_mode
            self._is_setgid[directory] = bool(mode & stat.S_ISGID)
        return self._is_setgid[directory]


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


def _made_directory(process: UserProcess, path: str, mode: int) -> bool:
    """Make a directory; False if it is there. Raises OSError."""
    try:
        process.mkdir(path, mode)
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
