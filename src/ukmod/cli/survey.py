"""``ukmod survey TREE``: what every module of a tree does in a kernel without its hardware."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

from ukmod.kernel.api import open_tree
from ukmod.kernel.journal import Journal
from ukmod.kernel.survey import survey
from ukmod.kernel.verdict import KINDS, PATIENCE, Settings, Verdict

_CAUSES = 40
"""Causes that the table shows at most."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="ukmod survey",
        description="Load each module of a tree with what it needs, let it run, unload it; sum it up.",
        epilog="Exit status: 0 if no module oopsed, hung or could not be emulated, 1 otherwise.",
    )
    parse.add_argument("tree", metavar="DIRECTORY", help="of modules: /lib/modules/RELEASE")
    parse.add_argument("modules", metavar="MODULE", nargs="*", help="only these")
    parse.add_argument("--kernel", metavar="VMLINUZ", default="", help="the image the modules were built for")
    parse.add_argument("--for", dest="seconds", metavar="SECONDS", type=float, default=1.0,
                       help="virtual, between loading and unloading; default 1")  # fmt: skip
    parse.add_argument("--sample", type=int, metavar="N", help="only N modules, always the same ones")
    parse.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default one a CPU")
    parse.add_argument("--patience", type=float, default=PATIENCE, metavar="SECONDS",
                       help=f"of host time for one module; default {PATIENCE:g}")  # fmt: skip
    parse.add_argument("--journal", metavar="FILE", help="keep results here, and go on from them")
    parse.add_argument("--json", action="store_true", help="print one JSON document, nothing else")
    return parse


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = parser().parse_args(argv)
    settings = Settings(
        os.path.abspath(options.tree),
        os.path.abspath(options.kernel) if options.kernel else "",
        options.seconds,
        options.patience,
    )
    names = options.modules or sorted(open_tree(settings.tree).module_names())
    if options.sample is not None:
        names = sorted(random.Random(0).sample(names, min(options.sample, len(names))))  # noqa: S311
    journal = Journal(options.journal, settings) if options.journal else None
    verdicts = [journal.done[name] for name in names if name in journal.done] if journal else []
    known = {verdict.name for verdict in verdicts}
    # A fresh process has no threads or engines that a fork of it would leave in pieces.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as executor:
        for verdict in survey(executor, settings, [name for name in names if name not in known]):
            verdicts.append(verdict)
            if journal is not None:
                journal.add(verdict)
    (_print_json if options.json else _print_table)(verdicts)
    return 0 if all(verdict.fine for verdict in verdicts) else 1


def _print_json(verdicts: list[Verdict]) -> None:
    json.dump([asdict(verdict) for verdict in sorted(verdicts, key=lambda v: v.name)], sys.stdout, indent=1)
    sys.stdout.write("\n")


def _print_table(verdicts: list[Verdict]) -> None:
    total = len(verdicts) or 1
    kinds = Counter(verdict.kind for verdict in verdicts)
    for kind in KINDS:
        if kinds[kind]:
            sys.stdout.write(f"{kinds[kind]:6} {100 * kinds[kind] / total:5.1f} %  {kind}\n")
    fine = sum(verdict.fine for verdict in verdicts)
    sys.stdout.write(f"{fine:6} {100 * fine / total:5.1f} %  of {len(verdicts)} load or refuse\n\n")
    causes = Counter((verdict.kind, verdict.cause) for verdict in verdicts if verdict.cause)
    for (kind, cause), count in causes.most_common(_CAUSES):
        sys.stdout.write(f"{count:6}  {kind}: {cause}\n")
    unloads = Counter(verdict.unload for verdict in verdicts if verdict.unload not in ("", "ok"))
    for cause, count in unloads.most_common(_CAUSES // 4):
        sys.stdout.write(f"{count:6}  stays: {cause}\n")
