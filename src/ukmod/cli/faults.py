"""The faults of a run, a line each, and the module to blame for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ukmod.kernel.api import Kernel
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.oops import OopsState
from ukmod.record import record

__all__ = ["VERDICTS", "Flaw", "blamed", "faults", "verdict"]

VERDICTS = (
    *("clean", "request", "dangling", "leak", "warning", "misuse", "stays", "fails", "timeout", "oops"),
    *("not tried", "no build", "no boot"),
)
"""The possible verdicts about a module on a kernel, best first.

"request": a request_module() of it came to nothing; "stays": it cannot be unloaded; "fails": its loading
failed; "timeout": the machine was stopped; "not tried": a module before it failed.
"""


@record
class Flaw:
    """Something wrong: one of VERDICTS, the module to blame (empty if nobody can tell), a line of text."""

    verdict: str
    module: str
    text: str


def faults(k: Kernel, leaks: Iterable[Leak], unanswered: Iterable[str]) -> Iterator[Flaw]:
    """Everything that was wrong in a run whose machine is still there, except failures to load and unload."""
    for oops in k.oopses:
        yield Flaw("oops", _module(oops.state), str(oops))
    for warning in k.warnings:
        yield Flaw("warning", _module(warning.state), str(warning))
    for report in k.reports:
        yield Flaw("misuse", report.rip.module or report.track.module, str(report))
    for leak in leaks:
        yield Flaw("leak", leak.track.module, str(leak))
    for left in k.dangling:
        yield Flaw("dangling", left.module, str(left))
    for text in unanswered:
        yield Flaw("request", "", text)


def _module(state: OopsState) -> str:
    """The innermost module of a call trace; empty if there is none in it."""
    return next((frame.module for frame in (state.rip, *state.frames) if frame.module), "")


def blamed(found: Iterable[Flaw], modules: Sequence[str]) -> dict[str, list[Flaw]]:
    """The faults of each of these modules, which ran together.

    What nobody or another module is to blame for is everybody's: one of them led to it.
    """
    blame: dict[str, list[Flaw]] = {name: [] for name in modules}
    for finding in found:
        for name in [finding.module] if finding.module in blame else modules:
            blame[name].append(finding)
    return blame


def verdict(found: Iterable[Flaw]) -> str:
    """The worst of VERDICTS among these; "clean" without any."""
    return max((finding.verdict for finding in found), key=VERDICTS.index, default=VERDICTS[0])
