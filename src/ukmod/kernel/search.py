"""Where a kernel finds modules: the tree it was given, the one beside a module, and its image's own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence

from ukmod.errors import UkmodError
from ukmod.kernel.trees import (
    Loadable,
    ModuleSource,
    completed,
    depends,
    elves,
    module_files,
    needed_files,
    open_tree,
    read_module_file,
    read_modules,
    tree_beside,
)
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tree import Tree


class ModuleSearch:
    """The trees in which one kernel's modules are sought.

    tree: the one it was given; without one it is that of the first module opened from a file.
    own: the directory with the modules of the kernel that the image is named by, for what the tree beside a
    module lacks; "" for none.
    loaded: returns the names of the modules that are loaded, whose dependencies need not be sought.
    """

    def __init__(
        self,
        tree: Tree | str | os.PathLike[str] | None,
        own: str,
        loaded: Callable[[], Collection[str]],
    ) -> None:
        self._tree = tree if isinstance(tree, Tree) or tree is None else open_tree(tree)
        self._own = open_tree(own) if own else None
        self._loaded = loaded
        self._trees: dict[str, Tree | None] = {}
        """The trees that contain modules' files, by directory."""
        self._first = ""
        """The first module opened from a file; its tree is used if none was given."""

    @property
    def tree(self) -> Tree | None:
        """The tree for modprobe; None if none was given and no module has been opened from a file."""
        if self._tree is None and self._first:
            self._tree = self._beside(self._first)
        return self._tree

    @tree.setter
    def tree(self, tree: Tree | None) -> None:
        self._tree = tree

    def tree_for(self, words: Sequence[str]) -> Tree | None:
        """The tree for modprobe with these arguments: the image's own if the other has no such module."""
        tree = self.tree
        if self._own is None or (tree is not None and any(module_files(tree, word) for word in words)):
            return tree
        return self._own

    def open(self, modules: Iterable[ModuleSource | Loadable], *, dependencies: bool) -> list[Loadable]:
        """Read modules and their dependencies, each file once: see ``Kernel.open_modules``."""
        found = read_modules(modules, self._dependencies if dependencies else lambda _: (), self._read)
        self._first = self._first or next((one.path for one in found if one.path), "")
        return found

    def _read(self, path: str) -> ModuleFile:
        return read_module_file(path, self._tree)

    def _dependencies(self, module: ModuleFile) -> tuple[str, ...]:
        """The paths of a module's dependencies, in loading order; none if all are loaded."""
        (elf,) = elves([module]) or (None,)
        if elf is None or set(depends(elf)) <= set(self._loaded()):
            return ()
        tree = self._tree or (self._beside(module.path, (module,)) if module.path else self.tree)
        found = needed_files(tree, elf) if tree is not None else ()
        return found if self._own is None else completed(found, elf, self._own, self._read)

    def _beside(self, module: str, opened: Iterable[ModuleFile] = ()) -> Tree | None:
        """The tree that contains a module's file; None, after a warning, if it cannot be read as one."""
        directory = os.path.dirname(os.path.abspath(module))
        if directory not in self._trees:
            try:
                self._trees[directory] = tree_beside(module, opened)
            except (UkmodError, OSError) as error:
                text = f"no module can be loaded from beside {module}: {error}"
                warnings.warn(text, RuntimeWarning, stacklevel=4)
                self._trees[directory] = None
        return self._trees[directory]
