"""``ukmod demo``: request_module() at work, on two compiled modules that come with ukmod."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ukmod.cli import command_lines, examples
from ukmod.cli.progress import Progress
from ukmod.cli.report import outcome_of, print_json, print_record, print_report
from ukmod.cli.terminal import write
from ukmod.kernel.api import Kernel
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.trace import TraceStep
from ukmod.kernel.trees import open_tree

SECONDS = 4.8
"""How long K1 and K2 are watched: long enough for both signals."""

_PICTURE = {
    "request_module": "{comm} calls request_module({detail!r})",
    "queue_work": "call_usermodehelper_exec() queues work for {detail}",
    "kernel_thread": "{comm} starts kernel threads for the helper {detail}",
    "execve": "do_execve: {detail}",
    "finit_module": "{comm} calls finit_module({detail})",
    "init": "its init function runs: {detail}",
    "live": "the module {detail} is live",
    "request_module returns": "request_module() returns {detail} to {comm}",
}


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = command_lines.demo().parse_args(argv)
    directory = modules()
    with Kernel(tree=open_tree(directory), realtime=options.realtime) as k, Progress("running") as progress:
        if not options.json:
            sys.stdout.write("insmod signal_handling.ko; later rmmod send_signal, rmmod signal_handling\n\n")
            k.on_record(lambda record: print_record(record, progress))
        k.insmod(os.path.join(directory, "signal_handling.ko"))
        k.run(SECONDS)
        for name in ("send_signal", "signal_handling"):
            k.rmmod(name)
        outcome = outcome_of(k, [], ["send_signal", "signal_handling"], k.leaks())
        picture = path_taken(k.core.trace.steps)
    if options.json:
        print_json(outcome)
    else:
        write("\nthe path of the request (virtual seconds, pid):\n" + picture)
        print_report(outcome, options.color)
    return 0 if outcome.clean else 1


def modules() -> str:
    """The directory of the compiled pair."""
    return os.path.join(examples.DATA, "demo", examples.release())


def path_taken(steps: Sequence[TraceStep]) -> str:
    """The steps of a request, one a line, deeper ones indented."""
    lines, depth = [], 0
    for step in steps:
        text = _PICTURE[step.what].format(comm=step.comm, detail=step.detail)
        if step.what == "request_module returns":
            depth = 0
        lines.append(f"  {step.time / NSEC_PER_SEC:.6f} {step.pid:5}  {'  ' * depth}{text}\n")
        depth += step.what != "live"
    return "".join(lines)
