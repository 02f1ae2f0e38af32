"""``ukmod demo``: request_module() at work, on two compiled modules that come with ukmod."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ukmod.cli import command_lines, examples
from ukmod.cli.progress import Progress
from ukmod.cli.report import outcome_of, print_json, print_record, print_report
from ukmod.cli.terminal import write
from ukmod.cli.trace import to_text
from ukmod.kernel.api import Kernel
from ukmod.kernel.timeline import timeline
from ukmod.kernel.trees import open_tree

SECONDS = 4.8
"""How long K1 and K2 are watched: long enough for both signals."""


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
        picture = to_text(timeline(k.core.trace.steps))
    if options.json:
        print_json(outcome)
    else:
        write("\nthe path of the request (virtual seconds, pid):\n" + picture)
        print_report(outcome, options.color)
    return 0 if outcome.clean else 1


def modules() -> str:
    """The directory of the compiled pair."""
    return os.path.join(examples.DATA, "demo", examples.release())
