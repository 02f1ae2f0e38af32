"""Which image a kernel is to have, where that is left to the modules: the one that they were built for, if
they need one.

A module needs an image if a struct's layout is not known without one, if it uses a symbol that neither Python
nor another module has, or if it exports what Python implements: only the image tells whether that is a module
there. The image is found by the module's vermagic (machine/image/find.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from ukmod.kmod.elf import SHN_UNDEF, Elf
from ukmod.kmod.linkage import module_exports
from ukmod.kmod.tree import MODULE_DIRECTORY, Tree
from ukmod.machine.image import KernelImage
from ukmod.machine.image.find import Search, find_image
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.module.symbols import SymbolTable

AUTO: Final = "auto"
"""In an image's place: the one that is found, if the modules need one."""
NONE: Final = "none"
"""In an image's place: no image."""
_SHOWN = 3
"""Symbols that are named at most."""


@record
class Need:
    """Why modules need an image, and what came of the search for it."""

    what: str
    search: Search

    @property
    def image(self) -> str | None:
        """The image to use; None if none was found."""
        return self.search.path

    def __str__(self) -> str:
        """One line: the image and the reason, or the reason and where no image was found."""
        if self.image is not None:
            return f"using {self.image}: {self.what}"
        return f"{self.what}; {self.search}"


def need_of_layouts(modules: Sequence[Elf], tree: Tree | None) -> Need:
    """The need of modules whose kernel's struct layouts are not known."""
    return Need("no layouts of its kernel's structs are known", _search(modules, tree))


def need_of_symbols(
    symbols: SymbolTable, modules: Sequence[Elf], tree: Callable[[], Tree | None], mocks: Collection[str]
) -> Need | None:
    """What modules, given in the order of loading, need and this kernel without an image lacks; None if they
    lack nothing, or if the image that is found lacks it too.

    tree: the modules that can be loaded besides, asked for only if need be. mocks: what the user exports.
    """
    exported = {name for module in modules for name in module_exports(module, module.path)}
    twice = [name for name in exported if symbols.find(name) is not None]
    if twice:
        what = f"Python implements {_some(sorted(twice))}, which this module exports"
        return Need(what, _search(modules, tree()))
    wanted = dict.fromkeys(name for module in modules for name in _undefined(module))
    given = exported.union(mocks)
    missing = [name for name in wanted if name not in given and symbols.find(name) is None]
    if missing and (others := tree()) is not None:
        missing = [name for name in missing if not others.symbols(f"symbol:{name}")]
    if not missing:
        return None
    search = _search(modules, tree())
    if search.path is not None:
        exports = KernelImage(search.path).exports
        missing = [name for name in missing if name in exports]
    return Need(f"Python does not implement {_some(missing)}", search) if missing else None


def image_for(module: Elf, tree: Tree) -> str | None:
    """The image that a tree's module was built for; None if it is not found."""
    return _search([module], tree).path


def vermagic_of(module: Elf) -> str:
    """What a module was built for; empty if it does not say."""
    return next((value for key, value in module.modinfo() if key == "vermagic"), "")


def roots(*paths: str) -> tuple[str, ...]:
    """Where images are looked for: below the root of each path that is in a tree of modules, then on this
    machine.
    """
    found = [above.removesuffix("/usr") or "/" for path in paths for above in _roots_above(path)]
    return tuple(dict.fromkeys((*found, "/")))


def _roots_above(path: str) -> Iterable[str]:
    above, is_below, _ = os.path.abspath(path).partition(f"{MODULE_DIRECTORY}/")
    return (above,) if path and is_below else ()


def _search(modules: Sequence[Elf], tree: Tree | None) -> Search:
    vermagic = vermagic_of(modules[-1])
    paths = [module.path for module in reversed(modules)]
    return find_image(vermagic, *roots(*paths, *([tree.dirname] if tree is not None else ())))


def _undefined(elf: Elf) -> list[str]:
    """What a module must find in the kernel or in other modules."""
    return [one.name for one in elf.symbols if one.shndx == SHN_UNDEF and one.name and not one.weak]


def _some(symbols: Sequence[str]) -> str:
    """Their names, if they are not many."""
    more = f" and {len(symbols) - _SHOWN} more" if len(symbols) > _SHOWN else ""
    return ", ".join(symbols[:_SHOWN]) + more
