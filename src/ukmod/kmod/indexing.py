"""depmod's files for modules wherever they are: in a part of a tree, or in an archive."""

from __future__ import annotations

import errno
import stat
from contextlib import suppress
from tempfile import TemporaryDirectory

from ukmod.kmod.depmod.analysis import analyse
from ukmod.kmod.depmod.facts import Facts, facts_of
from ukmod.kmod.depmod.library import refuse_cycles
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.depmod.output import Output
from ukmod.kmod.depmod.scan import Candidate
from ukmod.kmod.names import is_module_file, modname_from_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ukmod.kmod.tree import Tree

__all__ = ["LISTS", "index_files", "index_modules"]


LISTS = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
"""The files that kbuild leaves in a tree for depmod."""


def index_modules(modules: Mapping[str, tuple[str, str]], tree: Tree) -> list[tuple[str, bytes]]:
    """Return depmod's files, (name, content), for some modules of a tree and the lists of kbuild's in it.

    ``modules`` has for each name the file and the path that modules.dep is to have. UkmodError with ELOOP if
    modules need each other in a circle.
    """

    def read(path: str) -> Facts:
        try:
            with tree.open_module(path) as file:
                return facts_of(file)
        except OSError as error:
            return Facts(failure=error.errno or errno.EIO)

    with TemporaryDirectory(prefix="ukmod-") as place:  # depmod reads the lists in a directory
        for name in LISTS:
            with suppress(OSError):
                content = tree.files.read(f"{tree.dirname}/{name}")
                with open(f"{place}/{name}", "wb") as file:
                    file.write(content)
        candidates = [Candidate(name, path, shown) for name, (path, shown) in modules.items()]
        ordered = module_order(candidates, place)
        analysis = analyse(ordered, [read(module.path) for module in ordered])
        refuse_cycles(analysis, tree.dirname)
        return Output(analysis, place).files()


def index_files(tree: Tree) -> dict[str, bytes]:
    """Return the files that depmod would write for a tree, by their paths, whatever its files are in.

    Of two modules of a name, the one below updates counts, else the first. Raises as index_modules() does.
    """
    found: dict[str, tuple[str, str]] = {}
    skip = len(tree.dirname) + 1
    todo, seen = [tree.dirname], set()
    while todo:
        directory = todo.pop()
        if (real := tree.files.real(directory)) in seen:
            continue
        seen.add(real)
        for name in sorted(tree.files.listdir(directory)):
            path = f"{directory}/{name}"
            with suppress(OSError):
                if stat.S_ISDIR(tree.files.stat(path).st_mode):
                    if name not in ("build", "source"):
                        todo.append(path)
                elif is_module_file(name):
                    module = modname_from_path(name)
                    if module not in found or path[skip:].startswith("updates/"):
                        found[module] = path, path[skip:]
    return {f"{tree.dirname}/{name}": content for name, content in index_modules(found, tree)}
