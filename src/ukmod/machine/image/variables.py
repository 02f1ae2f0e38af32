"""The names of variables of a kernel whose kallsyms has those of functions only: CONFIG_KALLSYMS_ALL is off.

Its vmlinux has them, or the System.map of the same build.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from ukmod.errors import UkmodError
from ukmod.kmod.regular import read_regular
from ukmod.machine.image.find import find_linked, roots_of
from ukmod.machine.image.symbols import ImageSymbol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.machine.image.image import KernelImage

MAP_PLACES: Final = (
    "boot/System.map-{release}",
    "lib/modules/{release}/System.map",
    "lib/modules/{release}/build/System.map",
    "usr/lib/modules/{release}/System.map",
)
"""Paths of a kernel's System.map below a root."""
_MAP_LIMIT: Final = 64 << 20
_LINE: Final = re.compile(r"^([0-9a-f]{16}) (\S) (\S+)$", re.MULTILINE)
_VARIABLES: Final = frozenset("bBdDrR")
"""Letters of nm(1)."""


def names_variables(symbols: Iterable[ImageSymbol]) -> bool:
    """False for the kallsyms of a kernel without CONFIG_KALLSYMS_ALL."""
    return any(symbol.type in _VARIABLES for symbol in symbols)


def unnamed(functions: Sequence[ImageSymbol], symbols: Iterable[ImageSymbol]) -> list[ImageSymbol]:
    """The ``symbols`` that are not among ``functions``."""
    known = _pairs(functions)
    return [symbol for symbol in symbols if (symbol.name, symbol.address) not in known]


def _pairs(symbols: Iterable[ImageSymbol]) -> set[tuple[str, int]]:
    return {(symbol.name, symbol.address) for symbol in symbols}


def symbols_beside(image: KernelImage, functions: Sequence[ImageSymbol]) -> Iterable[ImageSymbol]:
    """All symbols of a kernel, from a file of the same build below the image's root; none without one."""
    linked = find_linked(image)
    return linked.symbols if linked is not None else _of_map(image, _pairs(functions))


def _of_map(image: KernelImage, known: set[tuple[str, int]]) -> list[ImageSymbol]:
    """The symbols of the first System.map that has all ``known`` ones: those of another build do not."""
    for root in roots_of(os.path.abspath(image.path), image.release):
        for place in MAP_PLACES:
            try:
                found = read_map(os.path.join(root, place.format(release=image.release)))
            except (OSError, UkmodError):
                continue  # what cannot be read is not this kernel's
            if known <= _pairs(found):
                return found
    return []


def read_map(path: str) -> list[ImageSymbol]:
    """The symbols of a System.map, which is the output of nm(1). Lines of another form are left out.

    Raises OSError or UkmodError if it cannot be read.
    """
    text = read_regular(path, _MAP_LIMIT).decode("utf-8", "replace")
    return [ImageSymbol(name, letter, int(at, 16)) for at, letter, name in _LINE.findall(text)]
