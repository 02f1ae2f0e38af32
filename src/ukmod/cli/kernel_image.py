"""``--kernel``: the image that is named, or none, or the one found that a module was built for."""

from __future__ import annotations

import os

from ukmod.errors import FormatError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image import choice
from ukmod.kernel.image.choice import NONE
from ukmod.kernel.trees import modules_of
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tree import Tree
from ukmod.machine.image.find import find_image, image_in
from ukmod.machine.image.installed import image_at


def image_of_tree(option: str | None, tree: Tree, root: str) -> str:
    """The image to survey a tree with; empty for none.

    Raises UsageError if it is not the tree's kernel, or if none is found; NotFoundError for a kernel that is
    not on this machine.
    """
    if option == NONE:
        return ""
    if (module := next(modules_of(tree), None)) is None:
        raise UsageError("no module that can be read", subject=tree.dirname)
    vermagic = choice.vermagic_of(module)
    if option is None:
        search = find_image(vermagic, root, *choice.roots(), tree=tree)
        if search.path is None:
            raise UsageError(f"{search}: name it with --kernel IMAGE, or do without it: --kernel {NONE}")
        return search.path
    path = os.path.abspath(image_at(option))
    image = image_in(tree, path)
    if vermagic.split() != image.vermagic.split():
        text = f'it has vermagic "{image.vermagic.strip()}", the modules "{vermagic.strip()}"'
        raise UsageError(f"{text}; {find_image(vermagic, root, *choice.roots(), tree=tree)}", subject=path)
    return path


def misfit(k: Kernel, module: ModuleFile, root: str | None) -> str | None:
    """That a module's file was built for another kernel than this one, which has an image, and what image
    would do; None if it was not.

    What the kernel makes of it is the kernel's business: one of another release may load all the same.
    """
    try:
        vermagic = choice.vermagic_of(module.elf())
    except FormatError:
        return None  # the loader has said so
    own = k.core.vermagic if k.core.image is not None else None
    if not vermagic or not own or vermagic.split() == own.split():
        return None
    text = f'it has vermagic "{vermagic.strip()}", the image "{own.strip()}"'
    search = find_image(vermagic, *_below(root), *choice.roots(module.path), tree=k.tree)
    return f"{module.path}: {text}; {search}"


def _below(root: str | None) -> tuple[str, ...]:
    return () if root is None else (root,)


def damage(k: Kernel) -> str | None:
    """The failures of the image's own initialisation; None if there were none, as in an intact kernel."""
    boot, image = k.core.boot, k.core.image
    if boot is None or image is None or not boot.damage:
        return None
    return f"{image.image.path}: is it damaged? {boot.damage}"
