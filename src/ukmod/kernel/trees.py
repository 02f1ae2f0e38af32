"""The modules that a kernel's modprobe can load, and those that a module's file needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from errno import EINVAL

from ukmod.errors import FormatError, NotFoundError, UkmodError
from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import modname_from_path, normalize_alias
from ukmod.kmod.tree import MODULE_DIRECTORY, Tree, archive_above
from ukmod.record import record

ModuleSource = str | os.PathLike[str] | bytes | ModuleFile
"""A module: the path of its file, compressed or not; its bytes; or its file, which is not opened again."""
ModuleReader = Callable[[str], ModuleFile]
"""Reads a module's file, as :func:`read_module_file` does."""
_INDEX = "modules.dep.bin"


@record
class Loadable:
    """A module's file and those of its dependencies, in the order of loading; each has been read."""

    file: ModuleFile
    needs: tuple[ModuleFile, ...] = ()

    @property
    def path(self) -> str:
        """The path of the module's own file; empty for a module that was given as bytes."""
        return self.file.path


def open_tree(path: str | os.PathLike[str], made: Mapping[str, bytes] | None = None) -> Tree:
    """The module tree in a directory: one indexed by depmod, or any directory of .ko files.

    The path may lead into an archive, see ``Tree.open``. ``made`` are the indexes that another process has
    made for it, see ``Tree.made_indexes``. Raises NotFoundError if there is no such directory.
    """
    return Tree.at(path, made) if made else indexed(Tree.at(path))


def indexed(tree: Tree) -> Tree:
    """A tree in which modules can be looked up: if depmod has not indexed it, the indexes are in memory.

    Raises NotFoundError if it is not a directory.
    """
    if not os.path.isdir(tree.dirname):
        tree.require_indexes()  # those of an archive are there
    if archive_above(tree.dirname) or os.path.exists(f"{tree.dirname}/{_INDEX}"):
        return tree
    return Tree.from_directory(tree.dirname, config_paths=tree.config_paths)


def tree_of_root(root: str) -> Tree | None:
    """The modules in a root file system; None without those of exactly one kernel."""
    try:
        return indexed(Tree.open(root))
    except UkmodError:  # an archive that is damaged: whoever fills the file system from it says so
        return None


def tree_beside(module: str, opened: Iterable[ModuleFile] = ()) -> Tree:
    """The tree that contains a module's file.

    It is the indexed lib/modules/RELEASE above the file, or else the modules in the same directory, of which
    those that are ``opened`` are not opened again. Raises
    OSError if the directory cannot be read, UkmodError if its modules depend on each other in a cycle.
    """
    path = os.path.abspath(module)
    above, is_below, rest = path.partition(f"{MODULE_DIRECTORY}/")
    release = f"{above}{MODULE_DIRECTORY}/{rest.partition('/')[0]}"
    if is_below and os.path.exists(f"{release}/{_INDEX}"):
        return open_tree(release)
    directory = os.path.dirname(path)
    if os.path.exists(f"{directory}/{_INDEX}"):
        return open_tree(directory)
    return Tree.from_directory(directory, recursive=False, cycles=True, opened=opened)


def modules_of(tree: Tree | None) -> Iterator[Elf]:
    """The modules of a tree that can be read, by name."""
    for name in tree.module_names() if tree is not None else ():
        assert tree is not None
        path = _file(tree, tree.dependency_line(name) or "")
        try:
            yield read_module_file(path, tree).elf()
        except UkmodError:
            continue  # the loader is to say so


def depends(module: Elf) -> tuple[str, ...]:
    """The names of a module's dependencies, as it states them, with underscores."""
    values = [value for key, value in module.modinfo() if key == "depends"]
    return tuple(name.replace("-", "_") for value in values for name in value.split(",") if name)


def needed_files(tree: Tree, module: Elf) -> tuple[str, ...]:
    """The files of a module's dependencies, direct and indirect, in loading order.

    That is modprobe's order if the tree contains the module itself. Dependencies missing from the tree are
    omitted.
    """
    name = modname_from_path(module.path) if module.path else ""
    own = tree.dependency_line(name) if name else None
    if own is not None and _file(tree, own) == os.path.abspath(module.path):
        return _files(tree, reversed(own.partition(":")[2].split()))
    known = [name for name in depends(module) if tree.dependency_line(name) is not None]
    return _files(tree, (file for name in known for file in load_order(tree, name)))


def completed(files: Sequence[str], module: Elf, tree: Tree, read: ModuleReader) -> tuple[str, ...]:
    """A module's dependencies from elsewhere, preceded by those that they and it lack, from another tree."""
    known = {modname_from_path(file) for file in files}
    wanted = (name for elf in (*_elves_of(files, read), module) for name in depends(elf) if name not in known)
    lacking = [name for name in dict.fromkeys(wanted) if tree.dependency_line(name) is not None]
    return (*_files(tree, (file for name in lacking for file in load_order(tree, name))), *files)


def _elves_of(files: Iterable[str], read: ModuleReader) -> list[Elf]:
    with suppress(UkmodError):  # the loader is to say so
        return elves(map(read, files))
    return []


def module_files(tree: Tree, word: str) -> tuple[str, ...]:
    """The files that modprobe would load for a module name or alias, in its order; empty for none."""
    alias = normalize_alias(word) or word
    known = [name for name in (alias, *tree.aliases(alias)) if tree.dependency_line(name) is not None]
    return _files(tree, (file for name in known for file in load_order(tree, name)))


def load_order(tree: Tree, name: str) -> tuple[str, ...]:
    """The files of a module and its dependencies, as in modules.dep, in loading order.

    Raises NotFoundError if the tree has no such module.
    """
    line = tree.dependency_line(name)
    if line is None:
        raise NotFoundError("no such module in the tree", subject=name)
    module, _, needed = line.partition(":")
    return (*reversed(needed.split()), module)


def _file(tree: Tree, line: str) -> str:
    return tree.files.real(tree.path(line.partition(":")[0]))


def _files(tree: Tree, files: Iterable[str]) -> tuple[str, ...]:
    return tuple(tree.files.real(tree.path(file)) for file in dict.fromkeys(files))


def read_module_file(path: str, tree: Tree | None = None) -> ModuleFile:
    """A module's file, read and closed: one of this machine, or one in the archive that the tree is in.

    Raises NotFoundError with the errno if it cannot be read.
    """
    try:
        with ModuleFile(path) if tree is None else tree.files_at(path).open_module(path) as file:
            file.contents()
            return file
    except OSError as error:
        why = "it is too short for a module" if error.errno == EINVAL else f"cannot read it: {error.strerror}"
        raise NotFoundError(why, subject=path, errno=error.errno) from error


def read_modules(
    modules: Iterable[ModuleSource | Loadable],
    dependencies: Callable[[ModuleFile], Iterable[str]],
    read: ModuleReader = read_module_file,
) -> list[Loadable]:
    """Read modules and their dependencies, each file once. ``dependencies`` returns a module's, in order.

    Raises NotFoundError for a file that cannot be read, UkmodError for one that cannot be unpacked.
    """
    files: dict[str, ModuleFile] = {}

    def file_at(path: str) -> ModuleFile:
        place = os.path.abspath(path)
        if place not in files:
            files[place] = read(path)
        return files[place]

    def file_of(module: ModuleSource | Loadable) -> ModuleFile:
        if isinstance(module, bytes):
            return ModuleFile.of(module)
        if isinstance(module, Loadable):
            return module.file
        return module if isinstance(module, ModuleFile) else file_at(os.fspath(module))

    sources = list(modules)
    named = [file_of(module) for module in sources]  # first, for messages call them by the caller's paths
    files.update({os.path.abspath(file.path): file for file in named if file.path})
    return [
        module if isinstance(module, Loadable) else Loadable(file, tuple(map(file_at, dependencies(file))))
        for module, file in zip(sources, named, strict=True)
    ]


def elves(files: Iterable[ModuleFile]) -> list[Elf]:
    """These modules as ELF files, each once. Those that are not ELF files are for the loader to report."""
    found = []
    for file in dict.fromkeys(files):
        with suppress(FormatError):
            found.append(file.elf())
    return found
