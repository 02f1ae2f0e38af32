"""Linux's on-demand module loading, both halves of it, in Python.

The kernel half (``ukmod.Kernel``) needs the extra ``[machine]``; ``ukmod.kmod`` needs nothing. Names are
imported when first used, so that ``import ukmod`` costs what the caller uses and no more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.errors import UkmodError as UkmodError
    from ukmod.kernel.api import Kernel as Kernel
    from ukmod.kmod.tree import Tree as Tree

__all__ = ["Kernel", "Tree", "UkmodError", "__version__"]

__version__ = "0.1.0"

_HOMES = {"Kernel": "ukmod.kernel.api", "Tree": "ukmod.kmod.tree", "UkmodError": "ukmod.errors"}


if not TYPE_CHECKING:  # a type checker is to know a name that does not exist

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__]
