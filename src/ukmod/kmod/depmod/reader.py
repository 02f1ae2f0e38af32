"""The facts of all modules."""

from __future__ import annotations

from ukmod.kmod.depmod.facts import Facts, read_facts
from ukmod.kmod.depmod.forks import Fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ukmod.kmod.depmod.facts import Packed
    from ukmod.kmod.depmod.scan import Candidate

__all__ = ["read_all", "read_packed"]

_WORTH_A_FORK = 200
"""Modules; a fork and its result take as long as reading some forty."""


def read_all(
    modules: Sequence[Candidate], *, crcs: bool = False, fork: bool = False, executor: Executor | None = None
) -> list[Facts]:
    """Return the facts of each module, in order; ``crcs`` asks for those of symbols too.

    ``fork`` has a forked child read half of many modules: for programs of one thread. Others hand in an
    ``executor``, whose processes need not be on this machine as long as they see the same files.
    """
    paths = [module.path for module in modules]
    if executor is not None:
        batches = [paths[at : at + _WORTH_A_FORK] for at in range(0, len(paths), _WORTH_A_FORK)]
        results = executor.map(read_packed, batches, [crcs] * len(batches))
        return [Facts(*packed) for batch in results for packed in batch]
    if not fork or len(paths) < _WORTH_A_FORK:
        return [read_facts(path, crcs=crcs) for path in paths]
    # Files that are neighbours are alike, so every other one makes two equal halves.
    child = Fork(lambda: read_packed(paths[1::2], crcs))
    facts = [Facts()] * len(paths)
    facts[::2] = [read_facts(path, crcs=crcs) for path in paths[::2]]
    facts[1::2] = [Facts(*packed) for packed in child.result()]
    return facts


def read_packed(paths: list[str], crcs: bool) -> list[Packed]:  # noqa: FBT001 - for Executor.map
    """Return the facts of some files, packed: for another process to call."""
    return [read_facts(path, crcs=crcs).pack() for path in paths]
