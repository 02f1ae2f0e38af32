"""Kernel functions that users write in Python, replacing or extending the kernel's own."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ukmod.errors import NotFoundError, UsageError
from ukmod.kernel.export import Export
from ukmod.kmod.elf import SHN_UNDEF, Elf
from ukmod.machine import abi
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class Mock:
    """A function, its Export, and whether its name is new, so that no kernel need have it."""

    exported: Export
    function: Callable[..., Any]
    new: bool = False

    @property
    def name(self) -> str:
        """The name of the symbol."""
        return self.exported.name


def mock(function: Callable[..., Any], *, name: str = "", gpl: bool = False, new: bool = False) -> Mock:
    """Make a kernel function of a Python function.

    Raises UsageError if it is not a function whose parameters are annotated with C types.
    """
    bound = getattr(function, "__func__", function)
    if not isinstance(bound, types.FunctionType):
        raise UsageError("only a Python function or method can be exported", subject=name or repr(function))
    abi.check_signature(bound, skip=int(bound is not function))
    return Mock(Export(name or bound.__name__, gpl), function, new)


def add(core: Core, mocks: Iterable[Mock]) -> None:
    """Export these functions, in place of others of the same names, to modules that are loaded later."""
    for one in mocks:
        core.symbols.add_function(one.exported, one.function, kernel=False)


def check(core: Core, mocks: Iterable[Mock], modules: Callable[[], Iterable[Elf]]) -> None:
    """Raise NotFoundError for a new mock of a function that does not exist; its name is probably misspelt.

    A function exists if the kernel has it or a module exports it, if the kernel's types describe it, or if
    one of ``modules``, which are about to be loaded, uses it.
    """
    for one in mocks:
        if not one.new and not _exists(core, one.name) and not any(_uses(elf, one.name) for elf in modules()):
            text = f"cannot mock it: the kernel has no such function{_meant(core, one.name)}"
            raise NotFoundError(f"{text}; export(new=True) adds one that no kernel has", subject=one.name)


def _exists(core: Core, name: str) -> bool:
    in_kernel = core.modules.find_symbol(name) is not None or core.types.prototype(name) is not None
    return in_kernel or (core.image is not None and core.image.get(name) is not None)


def _uses(elf: Elf, name: str) -> bool:
    return any(symbol.name == name and symbol.shndx == SHN_UNDEF for symbol in elf.symbols)


def _meant(core: Core, name: str) -> str:
    """The most similar name, as a question; empty if no name is similar."""
    from difflib import get_close_matches

    names = {*core.symbols.functions(), *(core.image.image.exports if core.image is not None else ())}
    close = get_close_matches(name, names, 1, 0.8)
    return f" (did you mean {close[0]}?)" if close else ""
