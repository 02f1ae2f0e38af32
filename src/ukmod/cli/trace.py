"""The path of each request of a run: as text, as a trace for Chrome and Perfetto, as Mermaid, as HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.timeline import Span, Timeline
from ukmod.kernel.trace import TraceStep
from ukmod.kmod.mermaid import mermaid_text
from ukmod.kmod.visible import escape

__all__ = ["FORMATS", "to_chrome", "to_html", "to_mermaid", "to_text", "trace_text"]

_SENTENCES = {
    "request_module": "{comm} calls request_module({detail!r})",
    "queue_work": "call_usermodehelper_exec() queues work for {detail}",
    "kernel_thread": "{comm} starts kernel threads for the helper {detail}",
    "execve": "do_execve: {detail}",
    "finit_module": "{comm} calls finit_module({detail})",
    "init": "its init function runs: {detail}",
    "live": "the module {detail} is live",
    "init returns": "its init function returns {detail}",
    "finit_module returns": "finit_module() returns {detail} to {comm}",
    "exit": "{comm} ends",
    "request_module returns": "request_module() returns {detail} to {comm}",
}
_EXPECTED = frozenset((("init returns", "0"), ("finit_module returns", "0"), ("exit", "")))
"""Steps that say nothing new, with their details: the next one follows from them."""
_LED = {"kernel_thread": "helper", "execve": "program", "request_module returns": "result"}
"""The arrows that lead to a step from another task."""
_MICROSECOND = 1000
_SHORTEST = 0.001
"""Microseconds that a span lasts at least in a Chrome trace: arrows are fastened to spans."""


def trace_text(timeline: Timeline, kind: str) -> str:
    """Return the timeline in one of FORMATS."""
    return FORMATS[kind](timeline)


def sentence(step: TraceStep) -> str:
    """Say what a step is."""
    return escape(_SENTENCES[step.what].format(comm=step.comm, detail=step.detail))


def _shown(timeline: Timeline) -> Iterator[tuple[TraceStep, int]]:
    """Yield the steps that are worth a line, and how deep each is."""
    for step, depth in zip(timeline.steps, timeline.depths, strict=True):
        if (step.what, step.detail) not in _EXPECTED:
            yield step, depth


def to_text(timeline: Timeline) -> str:
    """Return the steps, one a line, with virtual seconds and pid; each is indented by those it is within."""
    lines = []
    for step, depth in _shown(timeline):
        text = sentence(step).replace("\n", " ")
        lines.append(f"  {step.time / NSEC_PER_SEC:.6f} {step.pid:5}  {'  ' * depth}{text}\n")
    return "".join(lines)


# Chrome's trace events, as its "Trace Event Format" has them: times are microseconds.


def to_chrome(timeline: Timeline) -> str:
    """Return a JSON document for ui.perfetto.dev or chrome://tracing: a track a task, arrows between them."""
    import json

    events: list[dict[str, object]] = [_named("process_name", 0, "ukmod: virtual time")]
    for at, (pid, name) in enumerate(timeline.tasks.items()):
        events.append(_named("thread_name", pid, escape(name)))
        events.append(_event("M", "thread_sort_index", pid, 0) | {"args": {"sort_index": at}})
    events += [_slice(span) for span in timeline.spans]
    for step in timeline.steps:
        if step.what in ("queue_work", "live"):
            events.append(_event("i", sentence(step), step.pid, step.time) | {"s": "t"})
    for number, arrow in enumerate(timeline.arrows, 1):
        flow: dict[str, object] = {"cat": "request", "id": number}
        events.append(_event("s", arrow.what, arrow.pid, arrow.time) | flow)
        events.append(_event("f", arrow.what, arrow.to_pid, arrow.to_time) | flow | {"bp": "e"})
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, indent=0) + "\n"


def _event(phase: str, name: str, pid: int, time: int) -> dict[str, object]:
    return {"ph": phase, "name": name, "pid": 1, "tid": pid, "ts": time / _MICROSECOND}


def _named(what: str, pid: int, name: str) -> dict[str, object]:
    return _event("M", what, pid, 0) | {"args": {"name": name}}


def _slice(span: Span) -> dict[str, object]:
    name = span.detail if span.what == "execve" else f"{span.what} {span.detail}"
    args = {"step": span.what, "detail": escape(span.detail)}
    if span.result:
        args["result"] = span.result
    length = max((span.end - span.begin) / _MICROSECOND, _SHORTEST)
    event = _event("X", escape(name), span.pid, span.begin)
    return event | {"cat": "request", "dur": length, "args": args}


# Mermaid


def to_mermaid(timeline: Timeline) -> str:
    """Return a sequence diagram of Mermaid."""
    lines = ["sequenceDiagram"]
    lines += [
        f"  participant t{pid} as {mermaid_text(f'{name} ({pid})')}" for pid, name in timeline.tasks.items()
    ]
    led = {(arrow.what, arrow.to_pid, arrow.to_time): arrow.pid for arrow in timeline.arrows}
    for step, _depth in _shown(timeline):
        leader = led.get((_LED.get(step.what, ""), step.pid, step.time), step.pid)
        line = "-->>" if step.what == "request_module returns" else "->>"
        text = f"{step.time / NSEC_PER_SEC:.6f} {mermaid_text(sentence(step))}"
        lines.append(f"  t{leader}{line}t{step.pid}: {text}")
    return "\n".join([*lines, ""])


# HTML


def to_html(timeline: Timeline) -> str:
    """Return a page with a table of the steps."""
    from ukmod.kmod.page import TableCell, TableRow, page, table

    rows = [
        TableRow(
            (
                TableCell(f"{step.time / NSEC_PER_SEC:.6f}", "number"),
                TableCell(f"{step.comm} ({step.pid})"),
                TableCell("· " * depth + sentence(step), "code"),
            ),
            step.comm,
        )
        for step, depth in _shown(timeline)
    ]
    columns = ("virtual seconds", "task", "step")
    return page("The path of each request", table("steps", "Steps", columns, rows, filtered=True))


FORMATS: Mapping[str, Callable[[Timeline], str]] = {
    "text": to_text,
    "chrome": to_chrome,
    "mermaid": to_mermaid,
    "html": to_html,
}
