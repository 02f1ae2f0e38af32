"""Files in memory laid over those of a file system: depmod's output for a tree it never wrote to."""

from __future__ import annotations

import os
import stat

from ukmod.kmod.regular import status_in_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ukmod.kmod.host import Files, Followed
    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.paged import PagedFile

__all__ = ["OverlayFiles", "index_directory"]


class OverlayFiles:
    """``base`` with other contents for some paths: a :class:`ukmod.kmod.host.Files`."""

    __slots__ = ("_base", "_contents")

    def __init__(self, base: Files, contents: Mapping[str, bytes]) -> None:
        self._base = base
        self._contents = dict(contents)

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The files in memory, by their paths."""
        return self._contents

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return self._contents[path] if path in self._contents else self._base.read(path)

    def paged(self, path: str) -> bytes | PagedFile:
        """Return a file's content, or what reads a few places of it."""
        return self._contents[path] if path in self._contents else self._base.paged(path)

    def listdir(self, path: str) -> list[str]:
        """Return a directory's entries, those that are in memory included."""
        added = [os.path.basename(one) for one in self._contents if os.path.dirname(one) == path]
        try:
            there = self._base.listdir(path)
        except FileNotFoundError:
            if not added:
                raise
            there = []
        return [*there, *(name for name in added if name not in there)]

    def stat(self, path: str) -> os.stat_result:
        """Return the status of a file; of one in memory it says the type and the size."""
        if path in self._contents:
            return status_in_memory(stat.S_IFREG | 0o644, len(self._contents[path]))
        try:
            return self._base.stat(path)
        except FileNotFoundError:
            if not any(one.startswith(f"{path}/") for one in self._contents):
                raise
            return status_in_memory(stat.S_IFDIR | 0o755, 0)

    def real(self, path: str) -> str:
        """Return where a path of the file system lies."""
        return self._base.real(path)

    def follow(self, path: str) -> Followed:
        """Return the links of a path in the file system."""
        return self._base.follow(path)

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file in the file system."""
        return self._base.open_module(path)


def index_directory(
    dirname: str, *, recursive: bool = True, cycles: bool = False, opened: Iterable[ModuleFile] = ()
) -> dict[str, bytes]:
    """Return the files that depmod would write for the modules below a directory, by their paths; without
    ``recursive`` for those right in it.

    OSError if the directory cannot be read; UkmodError with ELOOP if modules need each other in a circle, for
    then there is no order to load them in. With ``cycles`` such modules are left out instead. ``opened`` are
    modules that the caller has read: their files are not opened again.
    """
    from ukmod.kmod.depmod.analysis import analyse
    from ukmod.kmod.depmod.config import DepmodConfig
    from ukmod.kmod.depmod.facts import facts_of, read_facts
    from ukmod.kmod.depmod.library import refuse_cycles
    from ukmod.kmod.depmod.order import module_order
    from ukmod.kmod.depmod.output import Output
    from ukmod.kmod.depmod.scan import scan_tree

    names = () if recursive else os.listdir(dirname)
    below = [name for name in names if os.path.isdir(f"{dirname}/{name}")]
    modules = module_order(scan_tree(dirname, DepmodConfig(excludes=frozenset(below))), dirname)
    known = {os.path.abspath(file.path): file for file in opened}
    facts = [facts_of(known[one.path]) if one.path in known else read_facts(one.path) for one in modules]
    analysis = analyse(modules, facts)
    while analysis.cycles and cycles:
        involved = {index for cycle in analysis.cycles for index in cycle}
        left = [pair for index, pair in enumerate(zip(modules, facts, strict=True)) if index not in involved]
        modules, facts = [module for module, _ in left], [said for _, said in left]
        analysis = analyse(modules, facts)
    refuse_cycles(analysis, dirname)
    return {f"{dirname}/{name}": content for name, content in Output(analysis, dirname).files()}
