"""A survey's kernel has loaded and unloaded one module before it is copied, as any real kernel has.

The first module costs four times as much as the next one: code is translated, types and symbols are looked
up. What that leaves behind in the process, each copy inherits. The module is one that leaves nothing in the
kernel but what a kernel makes once, for its first module.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import load_order
from ukmod.kmod.tree import Tree
from ukmod.survey.leaks import SOON
from ukmod.survey.verdict import ModuleVerdict

TRIED: Final = 4
"""The number of modules that are tried in a copy before the kernel is left as it is."""


def smallest(tree: Tree, count: int) -> list[str]:
    """The names of the smallest modules that depend on no other; the same whatever is surveyed."""
    sized = []
    for name in tree.module_names():
        file, *more = load_order(tree, name)
        if not more:
            with suppress(OSError):  # the indexes are older than the tree
                sized.append((tree.files.stat(tree.path(file)).st_size, name))
    return [name for _, name in heapq.nsmallest(count, sized)]


def is_silent(verdict: ModuleVerdict) -> bool:
    """True for a module that was loaded and unloaded, said nothing, asked for nothing and left nothing."""
    said = verdict.log or verdict.warnings or verdict.requests
    left = verdict.blemish or verdict.dangling or verdict.leaks
    return (verdict.kind, verdict.unload) == ("loads", "ok") and not said and not left


def warm(k: Kernel, verdict_of: Callable[[str], ModuleVerdict]) -> str:
    """Load and unload a module that is silent; returns its name, or "" if none is.

    ``verdict_of`` tries a module in a copy of the kernel.
    """
    assert k.tree is not None
    for name in smallest(k.tree, TRIED):
        if is_silent(verdict_of(name)):
            (file,) = load_order(k.tree, name)
            k.insmod(k.tree.files.real(k.tree.path(file)))
            k.run(SOON)
            k.rmmod(name)
            k.run(SOON)
            return name
    return ""
