"""The files below a directory of this machine."""

from __future__ import annotations

import errno
import os

from ukmod.kmod.paged import open_paged
from ukmod.kmod.regular import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Followed
    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.paged import PagedFile

__all__ = ["DirectoryFiles", "possible"]


def possible(path: str) -> str:
    """Return a path that a file may have.

    OSError with ENOENT for one with a NUL, which a boot loader's file, or another text, can name.
    """
    if "\0" in path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return path


class DirectoryFiles:
    """Files below a directory that stands for ``/``."""

    __slots__ = ("_root",)

    def __init__(self, root: str = "") -> None:
        self._root = root.rstrip("/")

    def real(self, path: str) -> str:
        """Return where an absolute path lies; a relative one means what it means to this process.

        OSError with ENOENT for what is no path.
        """
        path = possible(path)
        return self._root + path if self._root and path.startswith("/") else path

    def read(self, path: str) -> bytes:
        """Return the content of a regular file of at most TEXT_LIMIT bytes."""
        return read_regular(self.real(path))

    def paged(self, path: str) -> bytes | PagedFile:
        """Return a file of at most TEXT_LIMIT bytes, of which a few places are to be read."""
        return open_paged(self.real(path), path)

    def listdir(self, path: str) -> list[str]:
        """Return a directory's entries."""
        return os.listdir(self.real(path))

    def stat(self, path: str) -> os.stat_result:
        """Return a file's status, symbolic links followed."""
        return os.stat(self.real(path))

    def follow(self, path: str) -> Followed:
        """Return the links on the way that a path takes, and where it ends."""
        from ukmod.kmod.rooted import resolve_in_root

        links: list[tuple[str, str]] = []
        skip = len(self._root)
        end = resolve_in_root(self.real(path), self._root, passed=links)
        return [(where[skip:], target) for where, target in links], end[skip:]

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file. OSError as :class:`ukmod.kmod.modfile.ModuleFile` raises it."""
        from ukmod.kmod.modfile import ModuleFile

        return ModuleFile(path, self.real(path))
