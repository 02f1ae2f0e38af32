"""depmod as a function: index a tree of modules, from a program."""

from __future__ import annotations

import errno
import os

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.depmod.analysis import analyse
from ukmod.kmod.depmod.config import CONFIG_DIRECTORIES, load_config
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.depmod.output import Output
from ukmod.kmod.depmod.publish import make_directory, publish
from ukmod.kmod.depmod.reader import read_all
from ukmod.kmod.depmod.scan import scan_tree
from ukmod.kmod.tree import Tree
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.depmod.analysis import Analysis

__all__ = ["Indexed", "depmod", "refuse_cycles"]


@record
class Indexed:
    """A tree that depmod has indexed.

    ``directory`` is where the files were written, ``files`` are their names, ``modules`` the names of the
    modules in depmod's order. ``messages`` are what the program would have printed, a line each: modules that
    could not be read, duplicates, lists of kbuild's that are missing.
    """

    directory: str
    modules: tuple[str, ...]
    files: tuple[str, ...]
    messages: tuple[str, ...]


def depmod(
    root: str | os.PathLike[str] = "/",
    release: str | None = None,
    moduledir: str | None = None,
    *,
    outdir: str | os.PathLike[str] | None = None,
    config_paths: Sequence[str] | None = None,
) -> Indexed:
    """Write modules.dep and the other indexes of a tree, as ``depmod -b ROOT RELEASE`` does: the same bytes.

    root, release, moduledir: which tree, as in :meth:`Tree.open`.
    outdir: the root to write below, if it is another (``depmod -o``).
    config_paths: files and directories of depmod.d(5); by default those of the root itself.

    All files are replaced, or none. Raises NotFoundError if there is no such tree; UkmodError with ELOOP if
    modules need each other in a circle, and with another errno if the files cannot be written;
    MissingExtraError for modules compressed with zstd, if this Python cannot unpack them.
    """
    root = os.path.abspath(os.fspath(root))
    tree = Tree.open(root, release, moduledir)
    below = tree.dirname.removeprefix(root.rstrip("/"))
    directory = tree.dirname if outdir is None else os.path.abspath(os.fspath(outdir)) + below
    messages: list[str] = []

    def log(_priority: int, text: str) -> None:
        messages.append(text)

    paths = [root.rstrip("/") + path for path in CONFIG_DIRECTORIES] if config_paths is None else config_paths
    try:
        config = load_config(tree.release, [tree.files.real(path) for path in paths], log)
        found = scan_tree(tree.dirname, config, log, real=tree.files.real)
    except OSError as error:
        text = f"cannot search for modules: {error.strerror}"
        raise NotFoundError(text, errno=error.errno, subject=tree.dirname) from error
    place = tree.files.real(tree.dirname)
    modules = module_order(found, place, log)
    facts = read_all(modules)
    for module, fact in zip(modules, facts, strict=True):
        if fact.failure:
            messages.append(f"failed to load symbols from {module.path}: {os.strerror(fact.failure)}")
    analysis = analyse(modules, facts)
    refuse_cycles(analysis, tree.dirname)
    files = Output(analysis, place, log=log).files()
    try:
        to = tree.files.real(directory)
        make_directory(to)
        publish(to, files)
    except OSError as error:
        raise UkmodError(
            f"cannot be written: {error.strerror}", errno=error.errno, subject=directory
        ) from error
    names = tuple(module.name for module in modules)
    return Indexed(directory, names, tuple(name for name, _ in files), tuple(messages))


def refuse_cycles(analysis: Analysis, dirname: str) -> None:
    """Raise UkmodError with ELOOP if modules need each other: then there is no order to load them in."""
    if analysis.cycles:
        path = " -> ".join(analysis.modules[index].name for index in analysis.cycles[0])
        raise UkmodError(f"modules need each other: {path}", errno=errno.ELOOP, subject=dirname)
