"""The files of an archive in memory, seen as the files of a root."""

from __future__ import annotations

import errno
import os
import stat

from ukmod.errors import LimitError
from ukmod.kmod.cpio import DIRECTORY, ArchiveEntry
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.regular import TEXT_LIMIT, status_in_memory
from ukmod.kmod.rooted import resolve_in_root
from ukmod.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ukmod.kmod.host import Followed

__all__ = ["ArchiveFiles"]

MOST_ENTRIES = 1 << 18
"""The entries of an archive, counting those that replace each other, and its files with all directories."""
_MOST_BYTES = 1 << 28
"""Bytes of all paths that are looked for, and of directories that are made, to put entries in place."""
LONGEST_PATH = 4096
"""Bytes of a path, of a link's target, and of the path that they lead to."""


class ArchiveFiles:
    """The files of an archive, below ``root``, its own path. A later entry of a path replaces an earlier one.

    Links are followed as in the system that the archive holds: none leads out of it.
    """

    __slots__ = ("_below", "_entries", "_room", "_root")

    def __init__(self, root: str, entries: Iterable[ArchiveEntry]) -> None:
        """LimitError if there are too many entries, or paths of too many parts."""
        self._root = root.rstrip("/")
        self._entries: dict[str, ArchiveEntry] = {self._root: ArchiveEntry("", DIRECTORY)}
        self._below: dict[str, dict[str, None]] = {self._root: {}}
        self._room = _MOST_BYTES
        for number, entry in enumerate(entries):
            if number >= MOST_ENTRIES:
                raise LimitError(f"has more than {MOST_ENTRIES} entries", subject=self._root)
            self._add(entry)

    def read(self, path: str) -> bytes:
        """Return the content of a regular file of at most TEXT_LIMIT bytes."""
        entry = self._regular(path)
        if len(entry.content) > TEXT_LIMIT:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return bytes(entry.content)

    paged = read

    def entries_in(self, inside: str) -> Iterator[ArchiveEntry]:
        """Yield what lies in a directory of the archive, each with its path below the root."""
        above = f"{self._root}/{inside}".rstrip("/")
        for name in self._below[above]:
            path = f"{above}/{name}"
            yield replace(self._entries[path], path=path[len(self._root) + 1 :])

    def listdir(self, path: str) -> list[str]:
        """Return a directory's entries, in the order of the archive."""
        found = self._find(path)
        if not stat.S_ISDIR(found.mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return list(self._below[self.real(path)])

    def stat(self, path: str) -> os.stat_result:
        """Return what the archive says of a file: its mode and its size."""
        entry = self._find(path)
        return status_in_memory(entry.mode, len(entry.content))

    def real(self, path: str) -> str:
        """Return where a path leads in the archive: no place of this machine."""
        return self.follow(path)[1]

    def follow(self, path: str) -> Followed:
        """Return the links on the way that a path takes, and where it ends."""
        if path != self._root and not path.startswith(f"{self._root}/"):
            return [], path
        links: list[tuple[str, str]] = []
        end = resolve_in_root(path, self._root, self._readlink, links)
        return links, end if end != "/" else self._root

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file. OSError as :class:`ModuleFile` raises it."""
        content = self._regular(path).content
        return ModuleFile.packed(content if isinstance(content, memoryview) else bytes(content), path)

    def _regular(self, path: str) -> ArchiveEntry:
        entry = self._find(path)
        if stat.S_ISDIR(entry.mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(entry.mode) and self.real(path) != f"{self._root}/dev/null":
            raise OSError(errno.EINVAL, "Not a regular file", path)
        return entry

    def _find(self, path: str) -> ArchiveEntry:
        real = self.real(path)
        found = self._entries.get(real)
        if found is None and real == f"{self._root}/dev/null":
            return ArchiveEntry("dev/null", stat.S_IFCHR | 0o666)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def _readlink(self, path: str) -> str:
        entry = self._entries.get(path)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if not stat.S_ISLNK(entry.mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return os.fsdecode(bytes(entry.content))

    def _next_link(self, path: str) -> str:
        """The same, within the limit on all entries' paths."""
        self._pay(len(path))
        return self._readlink(path)

    def _pay(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise LimitError("has too many files in directories too deep", subject=self._root)

    def _add(self, entry: ArchiveEntry) -> None:
        """Put an entry in its place: where its directory's links lead, as unpacking it would."""
        parts = [part for part in entry.path.split("/") if part not in ("", ".")]
        if not parts or ".." in parts or len(entry.path) > LONGEST_PATH or "\0" in entry.path:
            return  # the root itself, or a path that no system unpacks
        if stat.S_ISLNK(entry.mode) and len(entry.content) > LONGEST_PATH:
            return  # such a link cannot be made
        above = self._directory("/".join(parts[:-1]))
        if above is None:
            return  # something else than a directory is in the way: it cannot be unpacked there
        path = f"{above}/{parts[-1]}"
        there = self._entries.get(path)
        if there is not None and stat.S_ISDIR(there.mode):
            if not stat.S_ISDIR(entry.mode) and self._below[path]:
                return  # a directory with files in it cannot be replaced
            if stat.S_ISDIR(entry.mode):
                return
        self._put(path, entry)

    def _directory(self, inside: str) -> str | None:
        """Return where a directory really is, and make those that are missing; None if that cannot be."""
        try:
            real = resolve_in_root(f"{self._root}/{inside}", self._root, self._next_link).rstrip("/")
        except OSError:
            return None
        if len(real) > len(self._root) + LONGEST_PATH:
            return None
        missing: list[str] = []
        while real not in self._entries:
            self._pay(len(real))
            missing.append(real)
            real = real.rpartition("/")[0]
        if not stat.S_ISDIR(self._entries[real].mode):
            return None
        for path in reversed(missing):
            self._put(path, ArchiveEntry(path, DIRECTORY))
        return missing[0] if missing else real

    def _put(self, path: str, entry: ArchiveEntry) -> None:
        if len(self._entries) >= MOST_ENTRIES:
            raise LimitError(f"has more than {MOST_ENTRIES} files", subject=self._root)
        self._entries[path] = entry
        above, _, name = path.rpartition("/")
        self._below[above][name] = None
        if stat.S_ISDIR(entry.mode):
            self._below.setdefault(path, {})
