"""A module tree: /lib/modules/<release>, as depmod left it, or any directory of modules.

The tree answers questions about names; what modprobe.d makes of them is :mod:`ukmod.kmod.config`'s, and the
order in which to ask is :mod:`ukmod.kmod.lookup`'s.
"""

from __future__ import annotations

import os

from ukmod.errors import FormatError
from ukmod.kmod.config import CONFIG_DIRECTORIES
from ukmod.kmod.host import LOG_ERR, silent
from ukmod.kmod.linux import DirectoryFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ukmod.kmod.host import Files, LibraryLog
    from ukmod.kmod.index import Index

__all__ = ["INDEXES", "MODULE_DIRECTORY", "Tree", "module_directory"]

MODULE_DIRECTORY = "/lib/modules"

INDEXES = ("modules.dep", "modules.alias", "modules.symbols", "modules.builtin.alias", "modules.builtin")
"""In the order in which kmod opens them; each name stands for NAME.bin."""


_INDEX_HEADER = 12


def module_directory(root: str, release: str, moduledir: str = MODULE_DIRECTORY) -> str:
    """Return a release's directory below a root, spelled as modprobe spells it in its messages."""
    return f"{root.rstrip('/') if root != '/' else ''}{moduledir}/{release}"


class Tree:
    """One kernel release's modules.

    ``dirname`` is the directory as messages and paths show it, ``config_paths`` where its configuration lies.
    """

    __slots__ = ("_indexes", "config_paths", "dirname", "files")

    def __init__(
        self,
        dirname: str,
        files: Files | None = None,
        *,
        config_paths: tuple[str, ...] = CONFIG_DIRECTORIES,
    ) -> None:
        """Stand for a directory; nothing is read before it is asked for."""
        self.dirname = dirname
        self.files: Files = DirectoryFiles() if files is None else files
        self._indexes: dict[str, Index | None] = {}
        self.config_paths = config_paths

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str] = "/",
        release: str | None = None,
        moduledir: str = MODULE_DIRECTORY,
        *,
        sysroot_config: bool = False,
    ) -> Tree:
        """Return the tree of a release below a root; ``release`` defaults to the running kernel's.

        The configuration is this machine's, as with ``modprobe -d``; ``sysroot_config`` takes the root's own.
        """
        root = os.path.abspath(os.fspath(root))
        dirname = module_directory(root, os.uname().release if release is None else release, moduledir)
        prefix = root.rstrip("/") if sysroot_config else ""
        return cls(dirname, config_paths=tuple(prefix + path for path in CONFIG_DIRECTORIES))

    @classmethod
    def from_directory(
        cls,
        directory: str | os.PathLike[str],
        *,
        config_paths: tuple[str, ...] = (),
        recursive: bool = True,
    ) -> Tree:
        """Index a directory of module files in memory, as depmod would; nothing is written.

        OSError if the directory cannot be read, UkmodError if modules need each other in a circle. Other
        files are passed over, those of a depmod that ran there included.
        """
        from ukmod.kmod.overlay import OverlayFiles, index_directory

        dirname = os.path.abspath(os.fspath(directory))
        files = OverlayFiles(DirectoryFiles(), index_directory(dirname, recursive=recursive))
        return cls(dirname, files, config_paths=config_paths)

    def through(self, files: Files) -> Tree:
        """Return this tree with its files seen through ``files``, which may show less of them.

        The two share the indexes that have been opened.
        """
        tree = Tree(self.dirname, files, config_paths=self.config_paths)
        tree._indexes = self._indexes
        return tree

    def load(self, log: LibraryLog = silent) -> None:
        """Open all indexes now, and say which of them are corrupt; kmod stops at the first that is amiss."""
        for name in INDEXES:
            if self._index(name, log) is None and name != "modules.builtin.alias":
                break

    def unload(self) -> None:
        """Close the indexes; each is opened again when it is next asked."""
        self._indexes.clear()

    def dependency_line(self, module: str) -> str | None:
        """Return the line of modules.dep for a module: ``path: dep dep``; None if there is none."""
        return self._lookup("modules.dep", module)

    def is_builtin(self, name: str) -> bool:
        """Tell whether the kernel image holds the module."""
        return self._lookup("modules.builtin", name) is not None

    def aliases(self, name: str) -> list[str]:
        """Return the modules that claim a name in modules.alias, by rising priority."""
        return self._lookup_wild("modules.alias", name)

    def symbols(self, name: str) -> list[str]:
        """Return the modules that export ``symbol:NAME``."""
        return self._lookup_wild("modules.symbols", name)

    def builtin_aliases(self, name: str) -> list[str]:
        """Return the built-in modules that claim a name."""
        return self._lookup_wild("modules.builtin.alias", name)

    def alias_items(self) -> Iterator[tuple[str, str]]:
        """Yield (pattern, module) of modules.alias in key order."""
        yield from self._items("modules.alias")

    def symbol_items(self) -> Iterator[tuple[str, str]]:
        """Yield (``symbol:NAME``, module) of modules.symbols in key order."""
        yield from self._items("modules.symbols")

    def module_names(self) -> Iterator[str]:
        """Yield the name of every loadable module, sorted."""
        for name, _line in self._items("modules.dep"):
            yield name

    def path(self, spelled: str) -> str:
        """Return a path of modules.dep in full: relative ones are below ``dirname``."""
        return spelled if spelled.startswith("/") else f"{self.dirname}/{spelled}"

    def _lookup(self, index: str, key: str) -> str | None:
        opened = self._index(index)
        return None if opened is None else opened.lookup(key)

    def _lookup_wild(self, index: str, key: str) -> list[str]:
        opened = self._index(index)
        return [] if opened is None else opened.lookup_wild(key)

    def _items(self, index: str) -> Iterable[tuple[str, str]]:
        opened = self._index(index)
        return () if opened is None else opened.items()

    def _index(self, name: str, log: LibraryLog = silent) -> Index | None:
        if name in self._indexes:
            return self._indexes[name]
        from ukmod.kmod.index import Index

        opened: Index | None = None
        path = f"{self.dirname}/{name}.bin"
        try:
            content = self.files.read(path)
            # depmod leaves an empty file where it had nothing to go by, a missing modules.builtin say.
            opened = Index(content, path) if len(content) >= _INDEX_HEADER else None
        except OSError:
            pass  # not there: kmod goes on without it, in silence
        except FormatError as error:
            log(LOG_ERR, "index_mm_open", error.message)
        self._indexes[name] = opened
        return opened
