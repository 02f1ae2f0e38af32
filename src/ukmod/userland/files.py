"""The file system of an emulated process: the module tree and its configuration, and nothing else.

A module chooses the arguments, the environment and the paths of the programs it starts. Here they are only
data: a path means a file of the tree that the user handed in, or no file at all.
"""

from __future__ import annotations

import os
from errno import ENOENT
from typing import TYPE_CHECKING

from ukmod.kmod.config import CONFIG_DIRECTORIES
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import is_module_file
from ukmod.kmod.rooted import RootedFiles, resolve_in_root
from ukmod.kmod.tree import archive_above, root_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.host import Files, Followed
    from ukmod.kmod.paged import PagedFile
    from ukmod.kmod.tree import Tree


class TreeFiles:
    """The files below some directories of another file system. Everything else does not exist (ENOENT).

    Symbolic links are followed as they would be if the root that the tree lies in were the machine's own: an
    absolute one begins there, and none leads out of it. Only a module's file may also be a link to anywhere,
    as in a directory of links that the user made: its content reaches the guest only if it is a module that
    the kernel accepts.
    """

    def __init__(self, files: Files, directories: Iterable[str], *, contained: bool = False) -> None:
        """``contained``: no link of these files leads out of them, as in an archive."""
        self._files = files
        self._contained = contained
        self._directories = tuple(os.path.normpath(directory) for directory in directories)

    @classmethod
    def of(cls, tree: Tree) -> TreeFiles:
        """Return the files of a tree and of its configuration."""
        # Links are followed here: the root's own files would not show a link to a module elsewhere.
        files = DirectoryFiles() if isinstance(tree.files, RootedFiles) else tree.files
        contained = bool(archive_above(tree.dirname))
        return cls(files, (tree.dirname, *tree.config_paths), contained=contained)

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return self._files.read(self._inside(path))

    def paged(self, path: str) -> bytes | PagedFile:
        """Return a file's content, or what reads a few places of it."""
        return self._files.paged(self._inside(path))

    def listdir(self, path: str) -> list[str]:
        """Return a directory's entries."""
        return self._files.listdir(self._inside(path))

    def stat(self, path: str) -> os.stat_result:
        """Return a file's status."""
        return self._files.stat(self._inside(path))

    def real(self, path: str) -> str:
        """Return where a file lies on the host."""
        return self._files.real(self._inside(path))

    def follow(self, path: str) -> Followed:
        """Return where a path leads. Links are not shown: a module may be a link to anywhere."""
        return [], self._inside(path)

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file."""
        if self._contained:
            return self._files.open_module(self._inside(path))
        return ModuleFile(path, self.real(path))

    def _inside(self, path: str) -> str:
        """The path, if it leads to a file below the directories. FileNotFoundError if not."""
        clean = os.path.normpath(os.path.join("/", path))
        directory = next((it for it in self._directories if clean == it or clean.startswith(f"{it}/")), None)
        if directory is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
        if self._contained:
            return clean
        resolved = resolve_in_root(clean, _root(directory).rstrip("/"), self._readlink)
        if os.path.realpath(self._files.real(clean)) == os.path.realpath(self._files.real(resolved)):
            return clean
        if os.path.exists(self._files.real(resolved)):
            return resolved
        if is_module_file(clean):
            return clean
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)

    def _readlink(self, path: str) -> str:
        return os.readlink(self._files.real(path))


class NoFiles:
    """A file system without files."""

    def read(self, path: str) -> bytes:
        """There is nothing to read."""
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)

    paged = read

    def listdir(self, path: str) -> list[str]:
        """There is nothing to list."""
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)

    def stat(self, path: str) -> os.stat_result:
        """There is nothing."""
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)

    def real(self, path: str) -> str:
        """There is no file on the host either."""
        return os.devnull + path

    def follow(self, path: str) -> Followed:
        """There are no links."""
        return [], path

    def open_module(self, path: str) -> ModuleFile:
        """There is no module."""
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)


def _root(directory: str) -> str:
    """The root that a directory of modules or of configuration lies in; of any other directory, itself."""
    if (root := root_of(directory)) is not None:
        return root
    for known in CONFIG_DIRECTORIES:
        if directory.endswith(known):
            return directory.removesuffix(known) or "/"
    return directory
