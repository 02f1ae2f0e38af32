"""The outcome of a run: as a value, as text for people, and as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ukmod.cli.document import print_document
from ukmod.cli.progress import Progress
from ukmod.cli.terminal import GREEN, RED, write
from ukmod.kernel.api import Kernel
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.module.pending import thread
from ukmod.kernel.printk import Record
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.trace import Request
from ukmod.kmod.visible import one_line
from ukmod.record import asdict, record

if TYPE_CHECKING:
    from ukmod.kernel.user.program import Completed

_BAD = (
    *("failed", "requests that", "threads left", "left pending", "memory leaked", "memory misused"),
    *("oopses", "warnings"),
)
_COLOURS = {"clean:": GREEN, **dict.fromkeys(_BAD, RED)}


@record
class Outcome:
    """The outcome of a run. Lines are for people; ``requests`` and ``dmesg`` keep their parts."""

    clean: bool
    failures: tuple[str, ...]
    requests: tuple[dict[str, object], ...]
    unloaded: tuple[str, ...]
    loaded: tuple[str, ...]
    """Modules that are still loaded."""
    threads: tuple[str, ...]
    dangling: tuple[str, ...]
    """Everything that unloaded modules left pending or registered."""
    leaks: tuple[str, ...]
    reports: tuple[str, ...]
    oopses: tuple[str, ...]
    warnings: tuple[str, ...]
    unanswered: tuple[str, ...]
    """Requests that came to nothing: modprobe failed, or could not be started."""
    dmesg: tuple[dict[str, object], ...]
    program: dict[str, object] | None = None
    """The result of --exec's program."""


def print_record(record: Record, progress: Progress) -> None:
    """Print a line of the log, in place of the line that shows the progress."""
    with progress.aside():
        write(record.dmesg() + "\n")
        sys.stdout.flush()


def outcome_of(
    k: Kernel, failures: Sequence[str], unloaded: Sequence[str], lost: Sequence[Leak],
    program: Completed | None = None,
) -> Outcome:  # fmt: skip
    """Gather what is to be said of a run before its machine is taken down."""
    core = k.core
    core.log.flush()  # no more of a last line without a newline will come
    left_by_modules = (one.target for one in k.dangling if one.kind == "thread")
    running = (thread(core, task).target for task in k.threads)
    threads = tuple(dict.fromkeys((*left_by_modules, *running)))
    dangling = tuple(str(one) for one in k.dangling if one.kind != "thread")
    leaks = tuple(map(str, lost))
    reports = tuple(str(report) for report in k.reports)
    oopses = tuple(str(oops) for oops in k.oopses)
    warnings = tuple(str(warning) for warning in k.warnings)
    unanswered = tuple(_unanswered(request) for request in k.requests if request.result)
    unloading = bool(unloaded) or not k.modules
    left = threads if unloading else ()
    return Outcome(
        clean=not (failures or left or dangling or leaks or reports or oopses or warnings or unanswered),
        failures=tuple(failures),
        requests=tuple(asdict(request) for request in k.requests),
        unloaded=tuple(unloaded),
        loaded=tuple(k.modules),
        threads=threads,
        dangling=dangling,
        leaks=leaks,
        reports=reports,
        oopses=oopses,
        warnings=warnings,
        unanswered=unanswered,
        dmesg=tuple(
            {"time": record.time, "level": record.level, "text": record.text} for record in core.log.records
        ),
        program=_completed(program) if program is not None else None,
    )


def _completed(program: Completed) -> dict[str, object]:
    out, err = (text.decode(errors="backslashreplace") for text in (program.stdout, program.stderr))
    ends = {"status": program.status, "signal": program.signal}
    return {"argv": program.argv, **ends, "stdout": out, "stderr": err}


def print_json(outcome: Outcome) -> None:
    """One JSON document; times are in nanoseconds of virtual time."""
    print_document("run", asdict(outcome))


def _unanswered(request: Request) -> str:
    """Why a request came to nothing: modprobe's exit status, or the errno of what could not start it."""
    why = (
        os.strerror(-request.result)
        if request.result < 0
        else f"modprobe's exit status {request.result >> 8}"
    )
    return f'request_module("{request.name}") = {request.result}: {why}'


def _section(title: str, lines: tuple[str, ...]) -> str:
    return f"{title}:\n" + "".join(f"  {one_line(line)}\n" for line in lines) if lines else ""


def _names(title: str, names: tuple[str, ...]) -> str:
    return f"{title}: {one_line(', '.join(names))}\n" if names else ""


def _request(request: dict[str, object]) -> tuple[str, str]:
    time = int(str(request["time"])) / NSEC_PER_SEC
    loaded = request["loaded"]
    names = ", ".join(loaded) if isinstance(loaded, tuple) and loaded else "nothing new"
    call = "request_module" if request["wait"] else "request_module_nowait"
    return (
        f'{time:.6f}  {call}("{request["name"]}") = {request["result"]}: loaded {names}',
        f"          by {request['comm']} (pid {request['pid']}) in {request['caller']}",
    )


def print_report(outcome: Outcome, colour: str = "auto") -> None:
    """The report for people. ``colour``: when verdicts are coloured, see ``terminal.write``."""
    parts = (
        _section("modules requested", tuple(line for one in outcome.requests for line in _request(one))),
        _names("unloaded", outcome.unloaded),
        _names("still loaded", outcome.loaded),
        _section("failed", outcome.failures),
        _section("requests that failed", outcome.unanswered),
        _section("threads left running", outcome.threads),
        _section("left pending or registered", outcome.dangling),
        _section("memory leaked", outcome.leaks),
        _section("memory misused", outcome.reports),
        _section("oopses", outcome.oopses),
        _section("warnings", outcome.warnings),
        "clean: no failure, nothing left behind, no memory leaked or misused, no oops\n"
        if outcome.clean
        else "",
    )
    write("\n" + "".join(parts), _COLOURS, when=colour)
