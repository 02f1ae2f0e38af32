"""Find the module files of a tree, one for each module name.

Directories are read in the order the file system gives them: where two files of one name have the same rank,
which one wins depends on it, in kmod too.
"""

from __future__ import annotations

import os
import stat
from collections import namedtuple

from ukmod.kmod.depmod.config import BUILT_IN, DEFAULT, EXTERNAL, DepmodConfig
from ukmod.kmod.depmod.log import silent
from ukmod.kmod.host import LOG_ERR
from ukmod.kmod.names import KO_SUFFIXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ukmod.kmod.depmod.log import DepmodLog

    _Level = tuple[str, Iterator[os.DirEntry[str]]]
    """A directory and what is still to be read of it."""
    Real = Callable[[str], str]
    """Returns where a path leads, as :meth:`ukmod.kmod.host.Files.real` does."""

__all__ = ["Candidate", "scan_tree", "shown_path"]

_NEVER = frozenset({"build", "source"})


if TYPE_CHECKING:
    from typing import NamedTuple

    class Candidate(NamedTuple):
        """A module file: the module's name, the file's path, and the path as modules.dep has it.

        ``shown`` is relative to the module directory for files below it.
        """

        name: str
        path: str
        shown: str
else:
    # There are thousands, so it is what is made fastest; typing takes longer to import than it saves.
    Candidate = namedtuple("Candidate", "name path shown")  # noqa: PYI024


def scan_tree(
    dirname: str, config: DepmodConfig = DEFAULT, log: DepmodLog = silent, *, real: Real = str
) -> list[Candidate]:
    """Return the modules below ``dirname`` and the external directories, in no particular order.

    ``real`` says where symbolic links lead; by default they are left to the system.

    OSError if ``dirname`` cannot be read; all that is amiss below it is logged and passed over.
    """
    rank = _Ranking(dirname, config)
    chosen: dict[str, str] = {}
    skip = _NEVER | config.excludes
    for directory in (dirname, *config.externals):
        try:
            for where, files in _walk(directory, skip, log, real):
                for file in files:
                    name = file.partition(".")[0].replace("-", "_")  # modname_from_path(), with no call
                    path = f"{where}/{file}"
                    if name not in chosen or not rank.keeps(chosen[name], path, len(where) + 1, name):
                        chosen[name] = path
        except OSError as error:
            log(LOG_ERR, f"could not open directory {directory}: {error.strerror}")
            if directory is dirname:
                raise
    inside, start = f"{dirname}/", len(dirname) + 1
    return [
        Candidate(name, real(path), path[start:] if path.startswith(inside) else path)
        for name, path in chosen.items()
    ]


def shown_path(path: str, dirname: str) -> str:
    """Return how modules.dep shows a path."""
    return path[len(dirname) + 1 :] if path.startswith(dirname + "/") else path


def _walk(top: str, skip: frozenset[str], log: DepmodLog, real: Real) -> Iterator[tuple[str, list[str]]]:
    """Yield (directory, names of module files in it) from ``top`` down, in the order they are found.

    A directory comes again where there are files behind another one in it. OSError if ``top`` cannot be read.
    """
    # Directories still to be read are iterators on a stack, so that a deep tree needs no deep recursion.
    levels: list[_Level] = [(top, os.scandir(real(top)))]
    while levels:
        directory, entries = levels[-1]
        files: list[str] = []
        for entry in entries:
            name = entry.name
            if name in skip:
                continue
            if name.endswith(".ko") and name != ".ko" and entry.is_file(follow_symlinks=False):
                files.append(name)  # most are such: no need to look closer
                continue
            kind = _kind(entry, f"{directory}/{name}", levels, log, real)
            if kind == stat.S_IFREG and name.endswith(KO_SUFFIXES) and name not in KO_SUFFIXES:
                files.append(name)
            elif kind == stat.S_IFDIR:
                try:
                    levels.append((f"{directory}/{name}", os.scandir(real(f"{directory}/{name}"))))
                except OSError as error:
                    log(LOG_ERR, f"openat({_fd(levels)}, {name}, O_RDONLY): {error.strerror}")
                else:
                    break
        else:
            levels.pop()
        yield directory, files


def _kind(entry: os.DirEntry[str], path: str, levels: Sequence[_Level], log: DepmodLog, real: Real) -> int:
    """Return S_IFREG or S_IFDIR for what is to be looked at, links followed; 0 for what is logged."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    try:
        status = os.stat(real(path))
    except OSError as error:
        log(LOG_ERR, f"fstatat({_fd(levels)}, {entry.name}): {error.strerror}")
        return 0
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR and _is_loop(status, levels, real):
        log(LOG_ERR, f"{path} leads back to a directory it is in, and is passed over")
        return 0
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        log(LOG_ERR, f"unsupported file type {path}: {kind:o}")
        return 0
    return kind


def _fd(levels: Sequence[_Level]) -> int:
    """Return the descriptor that kmod's messages name for the innermost directory: they have one a level."""
    return 2 + len(levels)


def _is_loop(status: os.stat_result, levels: Sequence[_Level], real: Real) -> bool:
    """Tell whether a symbolic link leads to a directory that is being read.

    kmod follows it again and again until descriptors or symbolic links run out, to find the same files.
    """
    return any(os.path.samestat(status, os.stat(real(directory))) for directory, _entries in levels)


class _Ranking:
    """Which of two files of one module name wins: depmod.d(5)'s override and search lines."""

    __slots__ = ("_config", "_prefix")

    def __init__(self, dirname: str, config: DepmodConfig) -> None:
        self._config = config
        self._prefix = dirname

    def keeps(self, old: str, new: str, base: int, name: str) -> bool:
        """Tell whether the file found before stays; ``base`` is the length of the new one's directory."""
        new_stem = new[: base + len(name)]
        old_stem = old[: old.rindex("/") + 1 + len(name)]
        new_shown, old_shown = self._relative(new_stem), self._relative(old_stem)
        for override in self._config.overrides:
            if new_shown == override:
                return False
            if old_shown == override:
                return True
        new_rank, old_rank = self._ranks(new_stem, old_stem)
        return new_rank <= old_rank

    def _relative(self, stem: str) -> str:
        return stem[len(self._prefix) + 1 :] if stem.startswith(self._prefix) else ""

    def _ranks(self, new: str, old: str) -> tuple[int, int]:
        """Return the ranks of both; the higher wins.

        When both are in the same directory of a search line, kmod looks no further than the new one, which
        therefore outranks the old.
        """
        new_shown, old_shown = self._relative(new), self._relative(old)
        built_in = new_rank = old_rank = -1
        rank = 0
        for search in self._config.searches:
            if search == BUILT_IN:
                built_in = rank
            elif search == EXTERNAL:
                for directory in self._config.externals:
                    if new.startswith(directory + "/"):
                        new_rank = rank
                    if old.startswith(directory + "/"):
                        old_rank = rank
                    rank += 1
            elif new_shown.startswith(search + "/"):
                new_rank = rank
            elif old_shown.startswith(search + "/"):
                old_rank = rank
            rank += 1
        return (new_rank if new_rank >= 0 else built_in), (old_rank if old_rank >= 0 else built_in)
