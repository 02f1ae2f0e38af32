"""``--kernel``: the image that is named, or none, or the one found that a module was built for."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ukmod.errors import LayoutError, UkmodError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kmod.elf import SHN_UNDEF, Elf
from ukmod.kmod.linkage import module_exports
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.tree import MODULE_DIRECTORY, Tree
from ukmod.machine.image import KernelImage
from ukmod.machine.image.find import Search, find_image
from ukmod.record import record

NONE = "none"
"""What --kernel is given to have Python's half alone."""

_SHOWN = 3
"""Symbols that are named at most."""


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
        raise UsageError(f"{text}; {find_image(vermagic, root, '/')}", subject=path)
    return path


@record
class Need:
    """Why a module needs an image, and the one that was found."""

    what: str
    search: Search

    @property
    def image(self) -> str | None:
        """The image to use."""
        return self.search.path

    def __str__(self) -> str:
        """A line for people."""
        if self.image is not None:
            return f"using {self.image}: {self.what}"
        return f"{self.what}; {self.search}: name it with --kernel IMAGE"


def need_of(k: Kernel, module: str, others: Sequence[str], root: str | None) -> Need | None:
    """What a module's file needs that this kernel, which has no image, has not; None if it is nothing.

    others: the modules that are loaded before it. root: where its tree is, if that was said; images are
    looked for there, and on this machine.

    Raises LayoutError if there are no layouts of the module's kernel, and no image has them.
    """
    roots = _roots(module, root)
    try:
        symbols = k.boot([module]).symbols
    except LayoutError as error:
        search = find_image(_vermagic(module), *roots)
        if search.path is None:
            raise LayoutError(f"{error.message}; {search}", subject=error.subject) from error
        return Need("no layouts of its kernel's structs are known", search)
    elf = _elf(module)
    if twice := [name for name in module_exports(elf, module) if symbols.find(name) is not None]:
        # What Python implements may be a module of that kernel: the image knows.
        what = f"Python implements {_some(twice)}, which this module exports"
        return Need(what, find_image(_vermagic(module), *roots))
    wanted = dict.fromkeys(name for it in (elf, *map(_elf, others)) for name in _undefined(it))
    missing = [name for name in wanted if symbols.find(name) is None]
    if k.tree is not None:
        missing = [name for name in missing if not k.tree.symbols(f"symbol:{name}")]
    if not missing:
        return None
    search = find_image(_vermagic(module), *roots)
    if search.path is not None:
        exports = KernelImage(search.path).exports
        missing = [name for name in missing if name in exports]
    return Need(f"Python does not implement {_some(missing)}", search) if missing else None


def misfit(k: Kernel, module: str, root: str | None) -> str | None:
    """That a module's file was built for another kernel than this one, which has an image, and what image
    would do; None if it was not.

    What the kernel makes of it is the kernel's business: one of another release may load all the same.
    """
    try:
        vermagic = _vermagic(module)
    except (OSError, UkmodError):
        return None  # the loader has said so
    own = k.core.vermagic if k.core.image is not None else None
    if not vermagic or not own or vermagic.split() == own.split():
        return None
    text = f'it has vermagic "{vermagic.strip()}", the image "{own.strip()}"'
    return f"{module}: {text}; {find_image(vermagic, *_roots(module, root))}"


def damage(k: Kernel) -> str | None:
    """What of the image's own initialisation did not go well, which it does in a kernel that is whole; None
    if all did.
    """
    boot, image = k.core.boot, k.core.image
    if boot is None or image is None or not boot.damage:
        return None
    return f"{image.image.path}: is it damaged? {boot.damage}"


def _elf(path: str) -> Elf:
    with ModuleFile(path) as file:
        return Elf(file.contents(), path)


def _undefined(elf: Elf) -> list[str]:
    """What a module must find in the kernel or in other modules."""
    return [one.name for one in elf.symbols if one.shndx == SHN_UNDEF and one.name and not one.weak]


def _some(symbols: Sequence[str]) -> str:
    """Who they are, if they are not many."""
    shown = ", ".join(symbols[:_SHOWN])
    more = f" and {len(symbols) - _SHOWN} more" if len(symbols) > _SHOWN else ""
    return shown + more


def _roots(module: str, root: str | None) -> tuple[str, ...]:
    """Where to look for the image: below the root of the module's tree, then on this machine."""
    above, is_below, _ = os.path.abspath(module).partition(f"{MODULE_DIRECTORY}/")
    own = above.removesuffix("/usr") or "/"
    return (*((root,) if root is not None else ()), *((own,) if is_below else ()), "/")


def vermagic_of(tree: Tree) -> str:
    """What the first of its modules that can be read was built for. Raises UsageError if there is none."""
    for name in tree.module_names():
        path = tree.path((tree.dependency_line(name) or "").partition(":")[0])
        try:
            if vermagic := _vermagic(tree.files.real(path)):
                return vermagic
        except (OSError, UkmodError):
            continue  # it will have a verdict of its own
    raise UsageError("no module that can be read", subject=tree.dirname)


def _vermagic(path: str) -> str:
    with ModuleFile(path) as file:
        return read_module(file, path, signature=False, build_id=False).vermagic
