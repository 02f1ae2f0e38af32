"""All that depmod found out about a tree, as one value."""

from __future__ import annotations

from ukmod.kmod.depmod.dependencies import KERNEL, module_dependencies, symbol_owners
from ukmod.kmod.depmod.graph import closures, find_cycles, topological_order
from ukmod.kmod.depmod.order import SYMBOL_BUCKETS, hash_order
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ukmod.kmod.depmod.dependencies import KernelSymbols
    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.scan import Candidate

__all__ = ["Analysis", "analyse"]


@record
class Analysis:
    """Modules in depmod's order, what each says, and what follows from all of them.

    ``symbols`` are (symbol, index of its module) in the order of modules.symbols; ``owners`` has those, and
    KERNEL for the kernel's own. ``needs`` are the indexes of all modules that each one needs, users before
    what they use. With ``cycles``, paths of module indexes, there is no such order, and neither list.
    ``direct`` are the modules each one needs itself, in the order of first use.
    """

    modules: Sequence[Candidate]
    facts: Sequence[Facts]
    owners: Mapping[str, int]
    symbols: Sequence[tuple[str, int]]
    needs: Sequence[Sequence[int]]
    cycles: Sequence[Sequence[int]]
    direct: Sequence[Sequence[int]] = ()


def analyse(
    modules: Sequence[Candidate],
    facts: Sequence[Facts],
    kernel: KernelSymbols | None = None,
    prefix: str = "",
) -> Analysis:
    """Work out who needs whom. ``modules`` are in depmod's order, ``facts`` belong to them one by one."""
    owners = symbol_owners(facts, kernel or {}, prefix)
    dependencies = module_dependencies(facts, owners, prefix)
    order, users = topological_order(dependencies)
    if len(order) < len(modules):
        return Analysis(modules, facts, owners, (), (), find_cycles(dependencies, users))
    exported = [name for name, owner in owners.items() if owner != KERNEL]
    symbols = [(name, owners[name]) for name in hash_order(exported, SYMBOL_BUCKETS)]
    return Analysis(modules, facts, owners, symbols, closures(dependencies, order), (), dependencies)
