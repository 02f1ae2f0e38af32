"""``--kernel``: the image that is named, or none, or the one found that a module was built for."""

from __future__ import annotations

import os

from ukmod.errors import UkmodError, UsageError
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.tree import MODULE_DIRECTORY, Tree
from ukmod.machine.image import KernelImage
from ukmod.machine.image.find import Search, find_image

NONE = "none"
"""What --kernel is given to have Python's half alone."""
HELP = f"the image the modules were built for, or '{NONE}'; default: found by their vermagic"


def image_of_tree(option: str | None, tree: Tree, root: str) -> str:
    """The image to survey a tree with; empty for none.

    Raises UsageError if it is not the tree's kernel, or if none is found.
    """
    if option == NONE:
        return ""
    vermagic = vermagic_of(tree)
    if option is None:
        search = find_image(vermagic, root, "/")
        if search.path is None:
            raise UsageError(f"{search}: name it with --kernel IMAGE, or do without it: --kernel {NONE}")
        return search.path
    path = os.path.abspath(option)
    image = KernelImage(path)
    if vermagic.split() != image.vermagic.split():
        text = f'it has vermagic "{image.vermagic.strip()}", the modules "{vermagic.strip()}"'
        raise UsageError(text, subject=path)
    return path


def search_for(vermagic: str, module: str, root: str | None) -> Search:
    """Look for the image of a module's kernel: below the root of its tree, then on this machine."""
    above, is_below, _ = os.path.abspath(module).partition(f"{MODULE_DIRECTORY}/")
    roots = [root] if root is not None else []
    return find_image(vermagic, *roots, *([above or "/"] if is_below else []), "/")


def vermagic_of(tree: Tree) -> str:
    """What the first of its modules that can be read was built for. Raises UsageError if there is none."""
    for name in tree.module_names():
        path = tree.path((tree.dependency_line(name) or "").partition(":")[0])
        try:
            with ModuleFile(tree.files.real(path)) as file:
                if vermagic := read_module(file, name, signature=False, build_id=False).vermagic:
                    return vermagic
        except (OSError, UkmodError):
            continue  # it will have a verdict of its own
    raise UsageError("no module that can be read", subject=tree.dirname)
