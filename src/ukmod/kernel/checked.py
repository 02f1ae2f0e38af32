"""A machine for unit tests: what went wrong on it, as values, and what its test says may go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ukmod.errors import UsageError
from ukmod.kernel.api import Kernel

KINDS: Final = ("oops", "warning", "misuse", "leak", "thread")
"""What can go wrong: an oops or panic; a WARN() or soft lockup; misuse of memory, as KASAN finds it; memory
that an unloaded module did not free; a kernel thread that an unloaded module left running."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``kind`` is one of KINDS, ``text`` the report."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class CheckedKernel(Kernel):
    """A Kernel that can be asked what went wrong."""

    _allowed: frozenset[str] = frozenset()

    def allow(self, *kinds: str) -> None:
        """Take problems of these kinds for what the test expects. Raises UsageError for one not in KINDS."""
        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(f"no such kind of problem; there are {', '.join(KINDS)}", subject=kind)
        self._allowed |= frozenset(kinds)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong by now and was not allowed."""
        return tuple(problem for problem in self._found() if problem.kind not in self._allowed)

    def _found(self) -> Iterator[Problem]:
        yield from (Problem("oops", str(oops)) for oops in self.oopses)
        yield from (Problem("warning", str(warning)) for warning in self.warnings)
        yield from (Problem("misuse", str(report)) for report in self.reports)
        yield from (Problem("leak", str(leak)) for leak in self.leaks())
        for task in self.threads:
            if task.owner not in self.modules:
                name = self.core.tasks.comm(task)
                yield Problem("thread", f"{name} (pid {task.pid}) of {task.owner}, which is gone, still runs")
