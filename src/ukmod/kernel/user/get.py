"""Files of the emulated machine that a caller takes out of it.

The guest chooses no path of the host. Nothing that its file systems say is believed: there may be names with
slashes, two files of one name, files and directories without an end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from errno import EINVAL
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.user.file import PIECE
from ukmod.kmod.archives.files import MOST_ENTRIES
from ukmod.kmod.regular import MODULE_LIMIT
from ukmod.kmod.temporary import replace_file

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

_FILLED: Final = 0o700
"""The mode of a directory on the host while it is filled."""
_HARMLESS: Final = 0o777
"""The permissions that a file on the host may have: nothing of the guest's is setuid there."""


def get(process: UserProcess, guest: str, host: str) -> None:
    """Copy a file, or a directory with the files, directories and links in it, to the path ``host``.

    Permissions are kept. A file goes into a directory that is there already. Nodes of devices, pipes and
    sockets in a directory are left out. Each file appears on the host when it is whole.

    Raises OSError of either side: EINVAL for a single file that is not a regular one, or that would replace
    one that is not; LimitError for more than 1 GiB or 262,144 files.
    """
    process.run(lambda: _get(process, guest, host))  # as one call of the machine, with one patience


def _get(process: UserProcess, guest: str, host: str) -> None:
    mode = process.stat(guest).st_mode
    copy = _Copy(process)
    if stat.S_ISDIR(mode):
        copy.directory(guest, host)
    elif stat.S_ISREG(mode):
        inside = os.path.isdir(host)  # a link of that name in there may be the guest's, from another copy
        copy.file(guest, os.path.join(host, os.path.basename(guest)) if inside else _target(host), mode)
    else:
        raise OSError(EINVAL, "Not a regular file", guest)


class _Copy:
    """One call of ``get``: what it may still copy."""

    def __init__(self, process: UserProcess) -> None:
        self._process = process
        self._bytes = MODULE_LIMIT
        self._files = MOST_ENTRIES

    def directory(self, guest: str, host: str) -> None:
        """Copy all that is in a directory. What is made on the host is never followed if it is a link."""
        modes: list[tuple[str, int]] = []
        todo = [(guest, host)]
        while todo:
            inside, outside = todo.pop()
            modes.append((outside, self._process.stat(inside).st_mode))
            _make_directory(outside)
            for name in self._process.listdir(inside):
                todo += self._entry(_checked(os.path.join(inside, name), name), os.path.join(outside, name))
        for path, mode in reversed(modes):
            os.chmod(path, mode & _HARMLESS)

    def _entry(self, guest: str, host: str) -> list[tuple[str, str]]:
        """Copy one file, or return the directory that is to be copied."""
        self._files -= 1
        if self._files < 0:
            raise LimitError(f"more than {MOST_ENTRIES} files", subject=guest)
        mode = self._process.lstat(guest).st_mode
        if stat.S_ISDIR(mode):
            return [(guest, host)]
        if stat.S_ISLNK(mode):
            target = self._process.readlink(guest)
            if "\0" in target:
                raise OSError(EINVAL, "the link leads to a name that no file can have", guest)
            _remove(host)
            Path(host).symlink_to(target)
        elif stat.S_ISREG(mode):
            self.file(guest, host, mode)
        return []

    def file(self, guest: str, host: str, mode: int) -> None:
        """Copy the content and the permissions of a regular file, in the place of a file or a link."""
        replace_file(host, self._parts(guest), mode=mode & _HARMLESS, masked=False)

    def _parts(self, guest: str) -> Iterator[bytes]:
        with self._process.open(guest) as file:
            while part := file.read(PIECE):
                self._bytes -= len(part)
                if self._bytes < 0:
                    raise LimitError(f"more than {MODULE_LIMIT} bytes", subject=guest)
                yield part


def _target(host: str) -> str:
    """Where a file is written that the caller names: where a link of the caller's leads. Raises OSError."""
    path = os.path.realpath(host)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(EINVAL, "Not a regular file", host)
    return path


def _checked(path: str, name: str) -> str:
    """Return a path in the machine. Raises OSError if its last part is not a name that a file can have."""
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise OSError(EINVAL, "the directory has a name that no file can have", path)
    return path


def _make_directory(path: str) -> None:
    """Make a directory of the host, unless it is there: itself, not a link to one. Raises OSError."""
    try:
        os.mkdir(path, _FILLED)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def _remove(path: str) -> None:
    """Remove a file of the host that another one is to replace, not what it leads to if it is a link."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
