"""The facts of all modules."""

from __future__ import annotations

from ukmod.kmod.depmod.facts import Facts, read_facts
from ukmod.kmod.forks import WORTH_A_FORK, Fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ukmod.kmod.depmod.facts import PackedFacts
    from ukmod.kmod.depmod.scan import Candidate

__all__ = ["read_all"]


def read_all(modules: Sequence[Candidate], *, crcs: bool = False, fork: bool = False) -> list[Facts]:
    """Return the facts of each module, in order; ``crcs`` asks for those of symbols too.

    ``fork`` has a forked child read half of many modules: for programs of one thread.
    """
    paths = [module.path for module in modules]
    if not fork or len(paths) < WORTH_A_FORK:
        return [read_facts(path, crcs=crcs) for path in paths]

    def read_half() -> Generator[list[PackedFacts], None, None]:
        yield [read_facts(path, crcs=crcs).pack() for path in paths[1::2]]

    # Files that are neighbours are alike, so every other one makes two equal halves.
    child = Fork(read_half)
    facts = [Facts()] * len(paths)
    facts[::2] = [read_facts(path, crcs=crcs) for path in paths[::2]]
    facts[1::2] = [Facts(*packed) for packed in child.receive()]
    child.close()
    return facts
