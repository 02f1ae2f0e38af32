"""Takes from a transcript what is no part of the comparison: pids, addresses, the machine's share of an oops.

The same function is applied to both sides. Golden files hold the text before it: the whole is worth reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.steps import LogLine, Outcome

_SUBSTITUTIONS = (
    # A kernel address, bare or after 0x; a hashed pointer (%p) is 32 random bits.
    (re.compile(r"\b(0x)?ffff[0-9a-f]{12}\b"), "<address>"),
    (re.compile(r"\b(0x)?00000000[0-9a-f]{8}\b(?! is)"), "<address>"),
    # Pids, in the ways the kernel and our modules write them.
    (re.compile(r"\b(pid|PID|thread|tgid)([ :=]+)\d+\b"), r"\1\2<pid>"),
    (re.compile(r"\bkworker/\S+"), "kworker/<n>"),
)
"""Applied in this order to each line of a log and each line of output."""

_OOPS_NOISE = re.compile(
    r"PGD |CR[0-9]|[RD]S[P0-9]?: |R[ABCD]X: |RDX: |RBP: |R\d\d: |FS: |CS: |DR\d: |PKRU: |Code: "
    r"|Hardware name: "
    r"|Modules linked in: |Call Trace:| ?<TASK>| ?</TASK>|Preemption disabled|irq event|softirqs|hardirqs"
    r"|---\[ end trace|---\[ cut here|------------\[ cut here"
)
_FRAME = re.compile(r" (?:\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+")
_MODULE_FRAME = re.compile(r" [\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\]")
_VERSION = re.compile(r"(CPU: \d+ PID: <pid> Comm: \S+ (?:Tainted: [A-Z ]*[A-Z]|Not tainted)).*")


def line(text: str) -> str:
    """One line of log or output without the numbers that vary."""
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    return _VERSION.sub(r"\1", text)


def log(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """A kernel log without numbers that vary; of an oops, its kind, culprit and the modules' own frames stay.

    Registers, page tables, code bytes and the kernel's own frames say how the machine is built, not what the
    module did, and go.
    """
    for entry in lines:
        if _OOPS_NOISE.match(entry.text):
            continue
        if _FRAME.match(entry.text) and not _MODULE_FRAME.fullmatch(entry.text):
            continue
        yield replace(entry, text=line(entry.text))


def outcomes(found: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """A whole transcript, normalised."""
    return tuple(
        replace(outcome, output=tuple(map(line, outcome.output)), log=tuple(log(outcome.log)))
        for outcome in found
    )
