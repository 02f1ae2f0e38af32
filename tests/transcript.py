"""The text form of what a case came to: what tests/golden holds and what both sides are compared in.

::

    > insmod rm_call name=nobody
    = 0
    <4>rm_call: request_module("nobody") returned 256
    > read /proc/sys/kernel/modprobe
    = 0
    | /sbin/modprobe

``>`` a step, ``=`` its result, ``|`` a line of its output, ``<N>`` a line of the kernel log with its level.
Lines that begin with ``#`` before the first step are the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tests.steps import (
    Insmod,
    Join,
    Kill,
    List,
    LogLine,
    Modprobe,
    Outcome,
    Read,
    Rmmod,
    Sleep,
    Start,
    Step,
    Sysctl,
    Write,
)

_LOG = re.compile(r"<(\d)>(.*)")


def describe(step: Step) -> str:
    """One line that names a step, as a person would type it."""
    match step:
        case Insmod(module, params):
            return f"insmod {module} {params}".rstrip()
        case Rmmod(module):
            return f"rmmod {module}"
        case Modprobe(args):
            return " ".join(("modprobe", *args))
        case Sleep(seconds):
            return f"sleep {seconds:g}"
        case Sysctl(name, value):
            return f"sysctl {name}={value}"
        case Write(path, text):
            return f"write {path} {text}".rstrip()
        case Read(path):
            return f"read {path}"
        case List(path):
            return f"list {path}"
        case Kill(program, signal):
            return f"kill -{signal} {program}"
        case Start(inner):
            return f"start {describe(inner)}"
        case Join():
            return "join"


def render(outcomes: Iterable[Outcome], header: Iterable[str] = ()) -> str:
    """The text of a transcript; ``parse`` is its inverse, the header apart."""
    return "".join(f"{line}\n" for line in (*(f"# {line}".rstrip() for line in header), *_lines(outcomes)))


def _lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        yield f"> {outcome.step}"
        yield f"= {outcome.result}".rstrip()
        yield from (f"| {line}".rstrip() for line in outcome.output)
        yield from map(str, outcome.log)


def parse(text: str) -> tuple[Outcome, ...]:
    """Read a transcript back. Raises ValueError, naming the line, where it is none."""
    outcomes: list[Outcome] = []
    step, result, output, log = "", "", [], []  # type: ignore[var-annotated]
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") and not step:
            continue
        if line.startswith("> "):
            if step:
                outcomes.append(Outcome(step, result, tuple(output), tuple(log)))
            step, result, output, log = line[2:], "", [], []
        elif line.startswith("=") and step:
            result = line[2:]
        elif line.startswith("|") and step:
            output.append(line[2:])
        elif (found := _LOG.fullmatch(line)) and step:
            log.append(LogLine(int(found[1]), found[2]))
        else:
            raise ValueError(
                f"line {number} of the transcript is no step, result, output or log line: {line!r}"
            )
    if step:
        outcomes.append(Outcome(step, result, tuple(output), tuple(log)))
    return tuple(outcomes)


def log_of(outcomes: Iterable[Outcome]) -> tuple[LogLine, ...]:
    """The whole kernel log, whichever steps its lines came under."""
    return tuple(line for outcome in outcomes for line in outcome.log)
