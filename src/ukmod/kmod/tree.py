"""A module tree: /lib/modules/<release>, as depmod left it, or any directory of modules.

The tree answers questions about names; what modprobe.d makes of them is :mod:`ukmod.kmod.config`'s, and the
order in which to ask is :mod:`ukmod.kmod.lookup`'s.
"""

from __future__ import annotations

import os
import stat

from ukmod.errors import FormatError, NotFoundError, UsageError
from ukmod.kmod.config import CONFIG_DIRECTORIES
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.host import LOG_ERR, silent
from ukmod.kmod.rooted import files_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ukmod.kmod.host import Files, LibraryLog
    from ukmod.kmod.index import Index
    from ukmod.kmod.modfile import ModuleFile

__all__ = [
    "INDEXES",
    "MODULE_DIRECTORY",
    "Tree",
    "archive_above",
    "files_of",
    "module_directory",
    "releases",
    "root_of",
    "with_indexes",
]

MODULE_DIRECTORY = "/lib/modules"
_MERGED_DIRECTORY = "/usr/lib/modules"
"""Where they lie below a root without the link from /lib to /usr/lib."""

INDEXES = ("modules.dep", "modules.alias", "modules.symbols", "modules.builtin.alias", "modules.builtin")
"""In the order in which kmod opens them; each name stands for NAME.bin."""


_INDEX_HEADER = 12
_OF_HEADERS = {"build", "source"}
"""All there is in a directory where only a kernel's headers are installed."""


def module_directory(root: str, release: str, moduledir: str = MODULE_DIRECTORY) -> str:
    """Return a release's directory below a root, spelled as modprobe spells it in its messages."""
    return f"{root.rstrip('/') if root != '/' else ''}{moduledir}/{release}"


def releases(root: str | os.PathLike[str], moduledir: str = MODULE_DIRECTORY) -> list[str]:
    """Return the kernel releases that a root has modules of, sorted.

    A directory that holds but a link to a kernel's headers has none.
    """
    root = os.path.abspath(os.fspath(root))
    return _releases(files_below(root), module_directory(root, "", moduledir))


def _releases(files: Files, directory: str) -> list[str]:
    found = []
    for name in _listed(files, directory) or ():
        content = _listed(files, f"{directory}{name}")
        if content is not None and (not content or set(content) - _OF_HEADERS):
            found.append(name)
    return sorted(found)


def _listed(files: Files, directory: str) -> list[str] | None:
    """Return a directory's entries; None if it cannot be read."""
    try:
        return files.listdir(directory)
    except OSError:
        return None


def root_of(dirname: str) -> str | None:
    """Return the root that a module tree lies in: /srv/image for /srv/image/usr/lib/modules/6.1.0.

    None for a directory that lies elsewhere than where a root has its modules.
    """
    above = os.path.dirname(os.path.normpath(dirname))
    for directory in (_MERGED_DIRECTORY, MODULE_DIRECTORY):
        if above.endswith(directory):
            return above.removesuffix(directory) or "/"
    return None


def _moduledir_of(files: Files, root: str, release: str | None) -> str:
    """Return where a root has its modules: of the two usual directories, the one that has what is asked for.

    ``release`` is that of the modules; None if any will do.
    """
    for wanted in (f"/{release}", "") if release else ("",):
        for moduledir in (MODULE_DIRECTORY, _MERGED_DIRECTORY):
            if _is_directory(files, root.rstrip("/") + moduledir + wanted):
                return moduledir
    return MODULE_DIRECTORY


def _config_of(root: str) -> tuple[str, ...]:
    return tuple(root.rstrip("/") + path for path in CONFIG_DIRECTORIES)


def _meant_release(files: Files, root: str, moduledir: str) -> str:
    """Return the release that is meant where none is named: below / the running one, else the only one."""
    directory = module_directory(root, "", moduledir)
    there = _releases(files, directory)
    running = os.uname().release
    if root == "/" and (running in there or not there):
        return running
    if len(there) == 1:
        return there[0]
    if not there:
        _require_directory(files, root)
        raise NotFoundError("there are no modules of any kernel here", subject=directory)
    text = f"there are modules of several kernels here: name one of {', '.join(there)}"
    raise UsageError(text, subject=directory)


def _require_directory(files: Files, root: str) -> None:
    """Raise NotFoundError for a root that is not there: a word that was mistyped."""
    try:
        files.stat(root)
    except OSError as error:
        raise NotFoundError(f"cannot be read: {error.strerror}", subject=root) from error


def _is_directory(files: Files, path: str) -> bool:
    try:
        return stat.S_ISDIR(files.stat(path).st_mode)
    except OSError:
        return False


def archive_above(path: str) -> str:
    """Return the regular file that a path leads through, as if it were a directory; empty without one."""
    while path.strip("/"):
        path = path.rstrip("/").rpartition("/")[0]
        if os.path.exists(path):
            return path if os.path.isfile(path) else ""
    return ""


def files_of(root: str) -> Files:
    """Return the files of a root: a directory, or an archive, which is read. What that raises, is raised."""
    if os.path.isfile(root):
        from ukmod.kmod.archives import open_archive

        return open_archive(root)
    return files_below(root)


def with_indexes(tree: Tree) -> Tree:
    """Return a tree in an archive with indexes: its own, or such as depmod would make."""
    try:
        tree.files.stat(f"{tree.dirname}/modules.dep.bin")
    except OSError:
        pass
    else:
        return tree
    if not _is_directory(tree.files, tree.dirname):
        return tree
    from ukmod.kmod.indexing import index_files
    from ukmod.kmod.overlay import OverlayFiles

    files = OverlayFiles(tree.files, index_files(tree))
    return Tree(tree.dirname, files, config_paths=tree.config_paths)


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
        moduledir: str | None = None,
        *,
        host_config: bool = False,
        files: Files | None = None,
    ) -> Tree:
        """Return the tree of a release below a root.

        release: by default the only kernel that the root has modules of, and below / the running one's.
        moduledir: where they lie below the root: by default lib/modules, or usr/lib/modules if the former is
        missing or has no such release.
        host_config: take this machine's modprobe.d, as ``modprobe -d`` does, not the root's own.
        files: the root's, if they have been opened.

        Symbolic links below the root are followed as in the system that it holds, see :class:`RootedFiles`.
        The root may be an archive, see :func:`ukmod.kmod.archives.open_archive`. If its modules have no
        indexes, those are made in memory.

        Raises NotFoundError if no release was named and there is none, UsageError if there are several.
        """
        root = os.path.abspath(os.fspath(root))
        files = files_of(root) if files is None else files
        if moduledir is None:
            moduledir = _moduledir_of(files, root, release)
        moduledir = f"/{moduledir.strip('/')}"
        dirname = module_directory(root, release or _meant_release(files, root, moduledir), moduledir)
        tree = cls(dirname, files, config_paths=_config_of("/" if host_config else root))
        return tree if os.path.isdir(root) else with_indexes(tree)

    @classmethod
    def at(cls, directory: str | os.PathLike[str], made: Mapping[str, bytes] | None = None) -> Tree:
        """Return the tree at an indexed directory, with the configuration of the root it lies in.

        A directory elsewhere than a root's lib/modules has no configuration. The path may lead into an
        archive, see :meth:`open`. ``made`` are the :meth:`made_indexes` of such a tree: none are looked for.
        """
        dirname = os.path.abspath(os.fspath(directory))
        root = root_of(dirname)
        config_paths = () if root is None else _config_of(root)
        archive = archive_above(dirname)
        if made:
            from ukmod.kmod.overlay import OverlayFiles

            files = OverlayFiles(files_of(archive) if archive else DirectoryFiles(), made)
            return cls(dirname, files, config_paths=config_paths)
        if archive:
            return with_indexes(cls(dirname, files_of(archive), config_paths=config_paths))
        return cls(dirname, None if root is None else files_below(root), config_paths=config_paths)

    @classmethod
    def from_directory(
        cls,
        directory: str | os.PathLike[str],
        *,
        config_paths: tuple[str, ...] = (),
        recursive: bool = True,
        cycles: bool = False,
        opened: Iterable[ModuleFile] = (),
    ) -> Tree:
        """Index a directory of module files in memory, as depmod would; nothing is written.

        OSError if the directory cannot be read, UkmodError if modules need each other in a circle, unless
        ``cycles`` asks to leave those out. Other files are passed over, those of an earlier depmod included.
        ``opened`` are modules that the caller has read: their files are not opened again.
        """
        from ukmod.kmod.overlay import OverlayFiles, index_directory

        dirname = os.path.abspath(os.fspath(directory))
        indexes = index_directory(dirname, recursive=recursive, cycles=cycles, opened=opened)
        files = OverlayFiles(DirectoryFiles(), indexes)
        return cls(dirname, files, config_paths=config_paths)

    def made_indexes(self) -> Mapping[str, bytes]:
        """Return the indexes that were made in memory, by their paths; empty for a tree with its own."""
        from ukmod.kmod.overlay import OverlayFiles

        return self.files.contents if isinstance(self.files, OverlayFiles) else {}

    def through(self, files: Files) -> Tree:
        """Return this tree with its files seen through ``files``, which may show less of them.

        The two share the indexes that have been opened.
        """
        tree = Tree(self.dirname, files, config_paths=self.config_paths)
        tree._indexes = self._indexes
        return tree

    def files_at(self, path: str) -> Files:
        """Return what a path is read by: if it lies in the archive that the tree is in, the tree's files.

        Any other path is this machine's own.
        """
        archive = archive_above(self.dirname)
        return self.files if archive and path.startswith(f"{archive}/") else DirectoryFiles()

    @property
    def release(self) -> str:
        """The kernel release that the modules are for: the directory's name."""
        return os.path.basename(self.dirname)

    def require_indexes(self) -> None:
        """Raise NotFoundError, with what to do, if the tree has no indexes: nothing can be looked up in it.

        kmod's tools do not care: to them a tree without indexes is a tree without modules.
        """
        if self._index("modules.dep") is not None:
            return
        root = root_of(self.dirname)
        if _is_directory(self.files, self.dirname):
            where = f" -b {self.files.real(root)}" if root is not None and root != "/" else ""
            text = f"has no modules.dep.bin: run depmod {self.release}{where}, or ukmod.kmod.depmod(), on it"
        else:
            text = "there is no such directory of modules"
            if root is not None:
                moduledir = os.path.dirname(self.dirname).removeprefix(root.rstrip("/"))
                there = _releases(self.files, module_directory(root, "", moduledir))
                text += f" (kernels there: {', '.join(there) or 'none'})"
        raise NotFoundError(text, subject=self.dirname)

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

    def module_path(self, module: str) -> str:
        """Return the path of a module's file as modules.dep spells it; empty if it names no such module."""
        return (self.dependency_line(module) or "").partition(":")[0]

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

    def builtin_alias_items(self) -> Iterator[tuple[str, str]]:
        """Yield (pattern, module) of modules.builtin.alias in key order."""
        yield from self._items("modules.builtin.alias")

    def modules(self) -> Iterator[tuple[str, str]]:
        """Yield the name of every loadable module, sorted, and its path as modules.dep has it."""
        for name, line in self._items("modules.dep"):
            yield name, line.partition(":")[0]

    def module_names(self) -> Iterator[str]:
        """Yield the name of every loadable module, sorted."""
        for name, _path in self.modules():
            yield name

    def builtin_names(self) -> Iterator[str]:
        """Yield the name of every module in the kernel image, sorted."""
        for name, _value in self._items("modules.builtin"):
            yield name

    def path(self, spelled: str) -> str:
        """Return a path of modules.dep in full: relative ones are below ``dirname``."""
        return spelled if spelled.startswith("/") else f"{self.dirname}/{spelled}"

    def open_module(self, spelled: str) -> ModuleFile:
        """Open a module's file by its path, see :meth:`path`. Raises OSError as :class:`ModuleFile` does."""
        return self.files.open_module(self.path(spelled))

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
            content = self.files.paged(path)
            # depmod leaves an empty file where it had nothing to go by, a missing modules.builtin say.
            opened = Index(content, path) if len(content) >= _INDEX_HEADER else None
        except OSError:
            pass  # not there: kmod continues without it, in silence
        except FormatError as error:
            log(LOG_ERR, "index_mm_open", error.message)
        self._indexes[name] = opened
        return opened
