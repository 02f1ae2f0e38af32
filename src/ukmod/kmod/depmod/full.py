"""A full run, shared by two processes.

Each of them reads every other module, for neighbours are alike. Then one works out who needs whom and makes
the files of that, and the other those that list what each module says of itself; to do so, they tell each
other what they have read. On one core, or for few modules, one process does the same.
"""

from __future__ import annotations

from ukmod.kmod.depmod.analysis import Analysis
from ukmod.kmod.depmod.facts import Facts, read_facts
from ukmod.kmod.depmod.log import silent
from ukmod.kmod.depmod.output import OF_ALL, OF_EACH, Output
from ukmod.kmod.depmod.parts import ALIASES, LINKS, OTHERS, is_plain, pack, unpack
from ukmod.kmod.forks import WORTH_A_FORK, Fork
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, TypeVar

    from ukmod.kmod.depmod.log import DepmodLog
    from ukmod.kmod.depmod.output import Made
    from ukmod.kmod.depmod.parts import Parts
    from ukmod.kmod.depmod.scan import Candidate

    T = TypeVar("T")

__all__ = ["Full", "FullRun", "make_all"]


@record
class FullRun:
    """The task of a full run.

    ``modules`` are in depmod's order, ``dirname`` has kbuild's lists. A module whose parts are in ``known``
    is not read again. ``keep`` receives the parts of all modules, keeps them for the next run, and returns
    the number they are kept under. ``warn_duplicates`` and ``marks`` are :class:`Output`'s.
    """

    modules: Sequence[Candidate]
    dirname: str
    known: Mapping[str, Parts]
    keep: Callable[[dict[str, Parts]], int] | None = None
    warn_duplicates: bool = False
    marks: bool = False

    def output(self, analysis: Analysis, log: DepmodLog = silent) -> Output:
        """Return what makes the files of an analysis."""
        warn, marks = self.warn_duplicates, self.marks
        return Output(analysis, self.dirname, warn_duplicates=warn, marks=marks, log=log)


@record
class Full:
    """All files, unless the analysis has cycles, and what ``keep`` returned; 0 if nothing was worth keeping:
    there is a module that could not be read, or whose lines cannot be told apart.
    """

    analysis: Analysis
    made: dict[str, Made]
    kept: int


def make_all(plan: FullRun, analyse: Callable[[Sequence[Facts]], Analysis]) -> Full:
    """Read the modules and make all files; ``analyse`` is given what could be read of exports and needs."""
    ours, theirs = plan.modules[::2], plan.modules[1::2]
    child = Fork(lambda: _other_half(plan), here=len(plan.modules) < WORTH_A_FORK)
    try:
        facts, parts = _read(ours, plan.known)
        links, failures = child.receive()
        child.send((parts, all(not one.failure and is_plain(one) for one in facts)))
        others = unpack(theirs, [(said, b"", b"") for said in links], (LINKS,))
        for place, number in failures.items():
            others[place].failure = number
        analysis = analyse(_interleave(facts, others))
        if analysis.cycles:
            return Full(analysis, {}, 0)
        made = plan.output(analysis).make(OF_ALL)
        of_each, kept = child.receive()
        return Full(analysis, made | of_each, kept)
    finally:
        child.close()


def _other_half(plan: FullRun) -> Generator[Any, Any, None]:
    """Read the other half of the modules, and make the files that need nothing but what each says."""
    ours, theirs = plan.modules[1::2], plan.modules[::2]
    facts, parts = _read(ours, plan.known)
    failures = {place: one.failure for place, one in enumerate(facts) if one.failure}
    their_parts, are_plain = yield [said[LINKS] for said in parts], failures
    modules = _interleave(theirs, ours)
    all_facts = _interleave(unpack(theirs, their_parts, (ALIASES, OTHERS)), facts)
    made = plan.output(Analysis(modules, all_facts, {}, (), (), ())).make(OF_EACH)
    kept = 0
    if plan.keep is not None and are_plain and not failures and all(is_plain(one) for one in facts):
        said = _interleave(their_parts, parts)
        kept = plan.keep({module.path: each for module, each in zip(modules, said, strict=True)})
    yield made, kept


def _read(modules: Sequence[Candidate], known: Mapping[str, Parts]) -> tuple[list[Facts], list[Parts]]:
    """Return what modules say, taken apart and in parts."""
    facts = []
    parts = []
    for module in modules:
        said = known.get(module.path)
        if said is None:
            one = read_facts(module.path)
            said = pack(module.name, one)
        else:
            (one,) = unpack([module], [said], (LINKS, ALIASES, OTHERS))
        facts.append(one)
        parts.append(said)
    return facts, parts


def _interleave(even: Sequence[T], odd: Sequence[T]) -> list[T]:
    both = [*even, *odd]
    both[::2], both[1::2] = even, odd
    return both
