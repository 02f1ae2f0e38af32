"""A kernel for unit tests: it collects the problems that occurred, except those that a test allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ukmod.errors import KernelPanic, Reboot, UsageError
from ukmod.kernel.api import Kernel
from ukmod.record import record

KINDS: Final = ("oops", "warning", "misuse", "leak", "thread", "dangling")
"""The kinds of problems: an oops or panic; a WARN() or soft lockup; misuse of memory, as found by KASAN;
memory that an unloaded module did not free; a kernel thread that an unloaded module left running; anything
else by which the kernel still reaches an unloaded module (see ``Kernel.dangling``).
"""


@record
class Problem:
    """One problem: ``kind`` is one of KINDS, ``text`` is the report."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class CheckedKernel(Kernel):
    """A Kernel that reports its problems."""

    _allowed: frozenset[str] = frozenset()

    def allow(self, *kinds: str) -> None:
        """Expect problems of these kinds, so that they are not reported.

        Raises UsageError for an unknown kind.
        """
        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(f"no such kind of problem; the kinds are {', '.join(KINDS)}", subject=kind)
        self._allowed |= frozenset(kinds)

    def problems(self) -> tuple[Problem, ...]:
        """The problems so far, except the allowed kinds."""
        return tuple(problem for problem in self._found() if problem.kind not in self._allowed)

    def final_problems(self) -> tuple[Problem, ...]:
        """The problems at the end of a test.

        If an unloaded module left something behind, time passes first: deferred work may still free the
        memory, a thread may end, and what calls the module does so.
        """
        if any(problem.kind in ("leak", "thread", "dangling") for problem in self.problems()):
            with suppress(KernelPanic, Reboot):  # its oops is among the problems
                self.settle()
        return self.problems()

    def _found(self) -> Iterator[Problem]:
        yield from (Problem("oops", str(oops)) for oops in self.oopses)
        yield from (Problem("warning", str(warning)) for warning in self.warnings)
        yield from (Problem("misuse", str(report)) for report in self.reports)
        yield from (Problem("leak", str(leak)) for leak in self.leaks())
        for left in self.dangling:
            if left.kind == "thread":
                yield Problem("thread", f"{left.target}, which was unloaded, is still running")
            else:
                yield Problem("dangling", str(left))
