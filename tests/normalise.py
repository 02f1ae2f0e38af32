"""Takes from a transcript what is no part of the comparison: pids, addresses, the machine's share of an oops.

The same function is applied to both sides. Golden files hold the text before it: the whole is worth reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.steps import Case, LogLine, Outcome
from tests.transcript import render

_SUBSTITUTIONS = (
    # A kernel address, bare or after 0x; a hashed pointer (%p) is 32 random bits.
    (re.compile(r"\b(0x)?ffff(?!ffffffff)[0-9a-f]{12}\b"), "<address>"),
    (re.compile(r"(?<!address: )\b(0x)?00000000(?!0000)[0-9a-f]{8}\b"), "<address>"),
    (re.compile(r"\bpid:\d+ +ppid:"), "pid:<pid> ppid:"),  # padded
    # Pids, in the ways the kernel and our modules write them.
    (re.compile(r"\b(pid|PID|thread|tgid)([ :=]+)\d+\b"), r"\1\2<pid>"),
    (re.compile(r"@offset=\d+"), "@offset=<n>"),  # the allocator shuffles its objects
    (re.compile(r"(scheduling while atomic: \S+?/)\d+/"), r"\1<pid>/"),
    (re.compile(r"^note: (\S+)\[\d+\]"), r"note: \1[<pid>]"),
    (re.compile(r"^(Freezing .*(?:elapsed|after)) \d+\.\d+ seconds"), r"\1 <n> seconds"),
    (re.compile(r"\bkworker/\S+"), "kworker/<n>"),
    # Where in one of its own functions, as the compiler made them, the kernel itself warned.
    (re.compile(r"^(WARNING: .* at \S+ |RIP: 0010:)([a-z_]\w*)[.\w]*\+0x[0-9a-f]+/0x[0-9a-f]+$"), r"\1\2"),
)
"""Applied in this order to each line of a log and each line of output."""

_OOPS_NOISE = re.compile(
    r"PGD |CR[0-9]|[RD]S[P0-9]?: |R[ABCD]X: |RDX: |RBP: |R\d\d: |FS: |CS: |DR\d: |PKRU: |Code: "
    r"|---\[ end Kernel panic|Hardware name: |Call Trace:| ?<TASK>| ?</TASK>|RIP: 0033:|Kernel Offset: "
)
_FIRMWARE = re.compile(r"ACPI: PM: ")
"""What the firmware of a machine does, of which the emulated one has none."""
_FRAME = re.compile(r" \? | [\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+")
_MODULE_FRAME = re.compile(r" [\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\]")
_VERSION = re.compile(
    r"(CPU: \d+ (?:UID: \d+ )?PID: <pid> Comm: \S+ (?:Tainted: [A-Z ]*[A-Z]|Not tainted)).*"
)


def line(text: str) -> str:
    """One line of log or output without the numbers that vary."""
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    return _VERSION.sub(r"\1", text)


def log(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """A kernel log without numbers that vary; of an oops, its kind, culprit and the modules' own frames stay.

    Registers, page tables, code bytes and the kernel's own frames say how the machine is built, not what the
    module did, and go. So does the state of memory, which the emulated machine does not tell.
    """
    repeated = previous = ""
    memory = False
    for entry in lines:
        memory = memory or entry.text == "Mem-Info:"
        if memory:
            memory = not entry.text.endswith(" pages hwpoisoned")
            continue
        if entry.text.startswith("---[ end trace"):
            repeated = "RIP: "  # an oops ends with the registers again
        elif repeated and entry.text.startswith(repeated):
            continue
        elif not _OOPS_NOISE.match(entry.text):
            repeated = ""
        if _OOPS_NOISE.match(entry.text) or _FIRMWARE.match(entry.text):
            continue
        if _FRAME.match(entry.text):
            if entry.text == previous or not _MODULE_FRAME.fullmatch(entry.text):
                continue
            previous = entry.text  # of a recursion one frame stays
        else:
            previous = ""
        yield replace(entry, text=line(entry.text))


def outcomes(case: Case, found: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """What a case came to, normalised."""
    return tuple(_outcome(case, outcome) for outcome in found)


def text(case: Case, found: Iterable[Outcome]) -> str:
    """The same as text: what two sides are compared in, for a readable difference."""
    return render(outcomes(case, found))


def _outcome(case: Case, outcome: Outcome) -> Outcome:
    entries = list(log(outcome.log))
    if case.dies and not outcome.result:
        entries = [replace(entry, level=0) for entry in entries]
    if case.unordered:
        entries = _sorted_where(re.compile(case.unordered), entries)
    return replace(outcome, output=tuple(map(line, outcome.output)), log=tuple(entries))


def _sorted_where(pattern: re.Pattern[str], entries: list[LogLine]) -> list[LogLine]:
    """The same log, the lines that match put in order among the places that such lines have."""
    places = [place for place, entry in enumerate(entries) if pattern.fullmatch(entry.text)]
    chosen = sorted((entries[place] for place in places), key=lambda entry: entry.text)
    for place, entry in zip(places, chosen, strict=True):
        entries[place] = entry
    return entries
