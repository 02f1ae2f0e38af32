"""The path of each request from the steps of a trace: what each task did from when to when, and why."""

from __future__ import annotations

from collections.abc import Iterable

from ukmod.kernel.trace import ENDS, TraceStep
from ukmod.record import mutable, record

__all__ = ["Arrow", "Span", "Timeline", "timeline"]

_BEGINS = {end: what for what, end in ENDS.items()}
_DEEPEST = 64
"""Steps that may be open in a task at a time, and tasks on whose behalf it works."""


@record
class Span:
    """A stretch of a task's work, from ``begin`` to ``end``, in nanoseconds since boot.

    ``result`` is empty if there was no end, or none that is known; then ``end`` is the last step's time.
    """

    pid: int
    what: str
    detail: str
    begin: int
    end: int
    result: str = ""


@record
class Arrow:
    """A task's step led to that of a task, perhaps its own: at what times, in nanoseconds since boot."""

    pid: int
    time: int
    to_pid: int
    to_time: int
    what: str
    """"helper" (the request has a worker start it), "program", "init", or "result"."""


@record
class Timeline:
    """``tasks``: the name of each task by its pid, in the order of their first steps.

    ``depths``: for each step, how many steps it lies within, across tasks.
    """

    steps: tuple[TraceStep, ...]
    depths: tuple[int, ...]
    tasks: dict[int, str]
    spans: tuple[Span, ...]
    arrows: tuple[Arrow, ...]


@mutable
class _Task:
    """A task: the steps that it has begun and not ended, and how deep it begins."""

    open: list[TraceStep]
    base: int = 0
    starter: TraceStep | None = None
    """The worker's step that started the task as a helper."""
    ended: int | None = None
    """When its program ended."""
    helper: int = 0
    """The pid of the helper that was last started on its behalf."""


def timeline(steps: Iterable[TraceStep]) -> Timeline:
    """Return the timeline of steps, which are in the order in which they happened."""
    made = _Making()
    for step in steps:
        made.add(step)
    return made.result()


class _Making:
    def __init__(self) -> None:
        self._steps: list[TraceStep] = []
        self._depths: list[int] = []
        self._names: dict[int, str] = {}
        self._tasks: dict[int, _Task] = {}
        self._spans: list[Span] = []
        self._arrows: list[Arrow] = []

    def add(self, step: TraceStep) -> None:
        task = self._tasks.setdefault(step.pid, _Task([]))
        self._names[step.pid] = step.comm
        self._steps.append(step)
        if step.what in _BEGINS:
            self._close(task, step)
        self._depths.append(self._depth(step, task))
        if step.what in ENDS and len(task.open) < _DEEPEST:
            self._lead(task, step)
            task.open.append(step)
        elif step.what == "kernel_thread":
            self._start(step)

    def result(self) -> Timeline:
        """Return the timeline; a step without an end lasts until the last one."""
        last = self._steps[-1].time if self._steps else 0
        for pid, task in self._tasks.items():
            self._spans += [Span(pid, one.what, one.detail, one.time, last) for one in reversed(task.open)]
        inner_first = enumerate(self._spans)
        spans = [
            span for _, span in sorted(inner_first, key=lambda pair: (pair[1].begin, -pair[1].end, -pair[0]))
        ]
        steps, depths = tuple(self._steps), tuple(self._depths)
        return Timeline(steps, depths, self._names, tuple(spans), tuple(self._arrows))

    def _depth(self, step: TraceStep, task: _Task) -> int:
        if step.what == "kernel_thread":
            return self._level(step.caller) + 1
        return task.base + len(task.open)

    def _level(self, pid: int) -> int:
        task = self._tasks.get(pid)
        return 0 if task is None else task.base + len(task.open)

    def _start(self, step: TraceStep) -> None:
        """A worker starts a helper."""
        base = min(self._level(step.caller) + 2, _DEEPEST)
        self._tasks[step.child] = _Task([], base, step)
        if (caller := self._tasks.get(step.caller)) is not None:
            caller.helper = step.child
            self._arrows.append(Arrow(step.caller, step.time, step.pid, step.time, "helper"))

    def _lead(self, task: _Task, step: TraceStep) -> None:
        """Say what led to a step that begins something."""
        if step.what == "execve" and (starter := task.starter) is not None and not task.open:
            self._spans.append(Span(starter.pid, starter.what, starter.detail, starter.time, step.time))
            self._arrows.append(Arrow(starter.pid, starter.time, step.pid, step.time, "program"))
        if step.what == "init" and task.open:
            program = task.open[0]
            self._arrows.append(Arrow(step.pid, program.time, step.pid, step.time, "init"))

    def _close(self, task: _Task, step: TraceStep) -> None:
        """End what a step ends, and all that was begun within it."""
        begun = _BEGINS[step.what]
        if all(one.what != begun for one in task.open):
            return  # its beginning is among the steps that are no longer kept
        while task.open:
            one = task.open.pop()
            result = step.detail if one.what == begun else ""
            self._spans.append(Span(step.pid, one.what, one.detail, one.time, step.time, result))
            if one.what == begun:
                break
        if step.what == "exit" and not task.open:
            task.ended = step.time
        helper = self._tasks.get(task.helper)
        if step.what == "request_module returns" and helper is not None and helper.ended is not None:
            self._arrows.append(Arrow(task.helper, helper.ended, step.pid, step.time, "result"))
            task.helper = 0
