"""A kernel for unit tests: it collects the problems that occurred, except those that a test allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ukmod.errors import UsageError
from ukmod.kernel.api import Kernel
from ukmod.record import record

KINDS: Final = ("oops", "warning", "misuse", "leak", "thread")
"""The kinds of problems: an oops or panic; a WARN() or soft lockup; misuse of memory, as found by KASAN;
memory that an unloaded module did not free; a kernel thread that an unloaded module left running.
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

    def _found(self) -> Iterator[Problem]:
        yield from (Problem("oops", str(oops)) for oops in self.oopses)
        yield from (Problem("warning", str(warning)) for warning in self.warnings)
        yield from (Problem("misuse", str(report)) for report in self.reports)
        yield from (Problem("leak", str(leak)) for leak in self.leaks())
        for task in self.threads:
            if task.owner not in self.modules:
                name = self.core.tasks.comm(task)
                yield Problem(
                    "thread", f"{name} (pid {task.pid}) of the unloaded module {task.owner} is still running"
                )
