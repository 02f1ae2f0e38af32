"""Choosing the image for modules that need one: the image of the kernel they were built for.

A module needs an image if a struct's layout is not known without one, if it uses a symbol that neither Python
nor another module has, or if it exports a function that Python implements: only the image tells whether that
is in a module there. The image is found by the module's vermagic (machine/image/find.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from ukmod.kmod.elf import SHN_UNDEF, Elf
from ukmod.kmod.linkage import module_exports
from ukmod.kmod.tree import MODULE_DIRECTORY, Tree
from ukmod.machine.image.find import Search, find_image
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.module.symbols import SymbolTable
    from ukmod.machine.image.image import KernelImage

AUTO: Final = "auto"
"""In place of an image: search for one if the modules need it."""
NONE: Final = "none"
"""In place of an image: use none."""
_SHOWN = 3
"""The maximum number of symbols to name."""


@record
class Need:
    """The reason why modules need an image, and the result of the search for it."""

    what: str
    search: Search

    @property
    def image(self) -> str | None:
        """The image to use, or None if none was found."""
        return self.search.path

    def __str__(self) -> str:
        """One line: the image and the reason, or the reason and where the search failed."""
        if self.image is not None:
            return f"using {self.image}: {self.what}"
        return f"{self.what}; {self.search}"


def need_of_layouts(modules: Sequence[Elf], tree: Tree | None) -> Need:
    """The need of modules whose kernel's struct layouts are not known."""
    return Need("no layouts of its kernel's structs are known", _search(modules, tree))


def need_of_programs(modules: Sequence[Elf], tree: Tree | None) -> Need:
    """The need of programs, which run in their kernel's own code."""
    return Need("programs run in the kernel's own code", _search(modules, tree))


def need_of_symbols(
    symbols: SymbolTable, modules: Sequence[Elf], tree: Callable[[], Tree | None], mocks: Collection[str]
) -> Need | None:
    """The need for an image of modules that use symbols which this kernel lacks without one.

    None if they lack nothing, or if the image that is found lacks it too. The modules are given in the order
    of loading. tree: returns the other modules that can be loaded; called only if needed. mocks: the user's
    exports.
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
    if search.image is not None:
        missing = [name for name in missing if name in search.image.exports]
    return Need(f"Python does not implement {_some(missing)}", search) if missing else None


def image_for(module: Elf, tree: Tree) -> KernelImage | None:
    """The image for which a tree's module was built; None if it is not found."""
    return _search([module], tree).image


def vermagic_of(module: Elf) -> str:
    """The vermagic of a module; empty if it has none."""
    return next((value for key, value in module.modinfo() if key == "vermagic"), "")


def roots(*paths: str) -> tuple[str, ...]:
    """The roots of the search for images: those of the paths within a module tree, this machine's, and
    those of fetched kernels.
    """
    from ukmod.machine.image.installed import fetched_roots  # for few runs: a module that needs an image

    found = [above.removesuffix("/usr") or "/" for path in paths for above in _roots_above(path)]
    return tuple(dict.fromkeys((*found, "/", *fetched_roots())))


def _roots_above(path: str) -> Iterable[str]:
    above, is_below, _ = os.path.abspath(path).partition(f"{MODULE_DIRECTORY}/")
    return (above,) if path and is_below else ()


def _search(modules: Sequence[Elf], tree: Tree | None) -> Search:
    vermagic = vermagic_of(modules[-1])
    paths = [module.path for module in reversed(modules)]
    return find_image(vermagic, *roots(*paths, *([tree.dirname] if tree is not None else ())), tree=tree)


def _undefined(elf: Elf) -> list[str]:
    """The symbols a module needs from the kernel or other modules."""
    return [one.name for one in elf.symbols if one.shndx == SHN_UNDEF and one.name and not one.weak]


def _some(symbols: Sequence[str]) -> str:
    """The first few symbols' names, and the number of the others."""
    more = f" and {len(symbols) - _SHOWN} more" if len(symbols) > _SHOWN else ""
    return ", ".join(symbols[:_SHOWN]) + more
