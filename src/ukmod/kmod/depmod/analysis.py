"""All that depmod found out about a tree, as one value."""

from __future__ import annotations

from typing import NamedTuple

from ukmod.kmod.depmod.dependencies import KERNEL, Checks, module_dependencies, symbol_owners
from ukmod.kmod.depmod.graph import closures, find_cycles, topological_order
from ukmod.kmod.depmod.log import silent
from ukmod.kmod.depmod.order import SYMBOL_BUCKETS, hash_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ukmod.kmod.depmod.dependencies import Kernel
    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.log import Log
    from ukmod.kmod.depmod.scan import Candidate

__all__ = ["Analysis", "analyse"]


class Analysis(NamedTuple):
    """Modules in depmod's order, what each says, and what follows from all of them.

    ``symbols`` are (symbol, index of its module) in the order of modules.symbols. ``needs`` are the indexes
    of all modules each one needs, users before what they use. With ``cycles``, paths of module indexes, there
    is no such order, and ``needs`` and ``symbols`` are empty.
    """

    modules: Sequence[Candidate]
    facts: Sequence[Facts]
    symbols: Sequence[tuple[str, int]]
    needs: Sequence[Sequence[int]]
    cycles: Sequence[Sequence[int]]


def analyse(
    modules: Sequence[Candidate],
    facts: Sequence[Facts],
    kernel: Kernel | None = None,
    checks: Checks | None = None,
    log: Log = silent,
    show: Callable[[str], object] | None = None,
) -> Analysis:
    """Work out who needs whom. ``modules`` are in depmod's order, ``facts`` belong to them one by one."""
    checks = Checks() if checks is None else checks
    owners = symbol_owners(facts, kernel or {}, checks.prefix)
    dependencies = module_dependencies(modules, facts, owners, checks, log, show)
    order, users = topological_order(dependencies)
    if len(order) < len(modules):
        return Analysis(modules, facts, (), (), find_cycles(dependencies, users))
    exported = [name for name, (owner, _crc) in owners.items() if owner != KERNEL]
    symbols = [(name, owners[name][0]) for name in hash_order(exported, SYMBOL_BUCKETS)]
    return Analysis(modules, facts, symbols, closures(dependencies, order), ())
