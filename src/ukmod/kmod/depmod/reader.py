"""The facts of all modules."""

from __future__ import annotations

from ukmod.kmod.depmod.facts import Facts, read_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.depmod.scan import Candidate

__all__ = ["read_all"]


def read_all(modules: Sequence[Candidate], *, crcs: bool = False) -> list[Facts]:
    """Return the facts of each module, in order."""
    return [read_facts(module.path, crcs=crcs) for module in modules]
