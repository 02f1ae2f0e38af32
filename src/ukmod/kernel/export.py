"""EXPORT_SYMBOL for kernel functions written in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.machine.types.types import Types

F = TypeVar("F", bound=Callable[..., Any])


@record
class Export:
    """The symbol table's data about an exported name: include/linux/export.h."""

    name: str
    gpl: bool = False
    namespace: str = ""
    native: bool = False
    """With an image, code of the image runs the image's own function, and modules run Python's.

    The former keeps its state in guest memory only and is a hundred times faster than a trap; the latter
    detects misuse.
    """
    image_first: bool = False
    """With an image, modules get the image's function too.

    It knows the image's own data or consoles, or which text this version of the kernel takes: a bool spelt
    "T", a list of bits that is "all". Or modules call it a million times, and its state is in their memory:
    a red-black tree's.
    """
    adapts: bool = False
    """Python's function asks for the image's prototype itself, where versions of the kernel differ."""
    unless: tuple[str, ...] = ()
    """Members of structs, "struct.member": an image with one keeps the state itself (``image_first``)."""

    def left_to(self, types: Types) -> bool:
        """True if an image with these types keeps the state itself."""
        return any(types.has(*member.split(".")) for member in self.unless)


def export(
    *names: str,
    gpl: bool = False,
    namespace: str = "",
    native: bool = False,
    image_first: bool = False,
    adapts: bool = False,
    unless: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Export the decorated function to modules, under its own name unless ``names`` are given.

    The function's first parameter is the kernel. The others and the result are annotated with the C types of
    ukmod.machine.abi, so that its signature resembles its prototype. It may sleep. The other parameters are
    Export's fields. Names with different fields need a decorator each.
    """

    def mark(function: F) -> F:
        exports = tuple(
            Export(name, gpl, namespace, native, image_first, adapts, unless)
            for name in names or (function.__name__,)
        )
        function.__kexports__ = exports + getattr(function, "__kexports__", ())  # type: ignore[attr-defined]
        return function

    return mark


def exports_of(module: object) -> dict[str, tuple[Export, Callable[..., Any]]]:
    """All functions of a Python module marked by ``export``, by exported name."""
    found: dict[str, tuple[Export, Callable[..., Any]]] = {}
    for value in vars(module).values():
        for exported in getattr(value, "__kexports__", ()):
            found[exported.name] = (exported, value)
    return found
