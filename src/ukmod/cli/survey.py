"""``ukmod survey``: what every module of a tree does in a kernel without its hardware."""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from ukmod.cli import executors, kernel_image
from ukmod.cli.options import command_parser
from ukmod.cli.progress import READING, Progress
from ukmod.cli.survey_report import print_json, print_tables
from ukmod.cli.terminal import near
from ukmod.errors import NotFoundError
from ukmod.kernel.api import open_tree
from ukmod.kmod.tree import Tree
from ukmod.survey.journal import Journal
from ukmod.survey.survey import survey
from ukmod.survey.verdict import PATIENCE, Settings, Verdict

_BATCH = 25
"""Modules that a worker gets at once: those that need the same modules share the loading of these."""
_ROUNDS = 4
"""Batches that each worker gets at least, so that none waits for the others at the end."""
_FEW = 200
"""Modules for each worker up to which a snapshot is worth it: see Settings."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = command_parser(
        "survey",
        "Load each module of a tree, with what it needs, into a kernel that has just come up, let it run,"
        " unload it; sum up what happened.",
        statuses={
            0: "every module is clean, or refuses as it does without its hardware",
            1: "anything else came of a module",
            130: "interrupted; with --journal, a later survey continues from there",
        },
        examples={
            "-d /srv/image --sample 60": "sixty modules of an image, always the same ones",
            "-d /srv/image --journal all.journal": "all modules; what is done already is not done again",
            "-d /srv/image loop nbd --json": "two modules, for a program",
        },
    )
    parse.add_argument("names", metavar="NAME", nargs="*", help="only these modules")
    parse.add_argument(
        "-d", "--dirname", default="/", metavar="ROOT", help="modules are below ROOT/lib/modules"
    )
    parse.add_argument(
        "-S", "--set-version", metavar="RELEASE", help="its kernel; default: the only one below ROOT"
    )
    parse.add_argument("--kernel", metavar="IMAGE", help=kernel_image.HELP)
    parse.add_argument("--btf", metavar="FILE", help="the kernel's BTF, for an image without")
    parse.add_argument("--for", dest="seconds", metavar="SECONDS", type=_time, default=1.0,
                       help="virtual, between loading and unloading; default 1")  # fmt: skip
    parse.add_argument("--sample", type=_count, metavar="N", help="only N modules, always the same ones")
    parse.add_argument("--jobs", type=_count, metavar="N", default=os.cpu_count() or 1,
                       help="processes; default one a CPU")  # fmt: skip
    parse.add_argument("--dask", metavar="ADDRESS", help="use the cluster of this Dask scheduler, not --jobs")
    parse.add_argument("--patience", type=_time, default=PATIENCE, metavar="SECONDS",
                       help=f"of CPU time for one module; default {PATIENCE:g}")  # fmt: skip
    parse.add_argument(
        "--journal", metavar="FILE", help="append results here, and continue from those that it holds"
    )
    parse.add_argument("--json", action="store_true", help="print one JSON document, nothing else")
    return parse


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = parser().parse_args(argv)
    with Progress(READING):
        tree = open_tree(Tree.open(options.dirname, options.set_version).dirname)
    names = _names(tree, options)
    image = kernel_image.image_of_tree(options.kernel, tree, options.dirname)
    few = len(names) <= _FEW * options.jobs
    btf = os.path.abspath(options.btf) if options.btf is not None else ""
    settings = Settings(tree.dirname, image, options.seconds, options.patience, snapshot=few, btf=btf)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(options.journal, settings)) if options.journal else None
        found = {name: journal.done[name] for name in names if name in journal.done} if journal else {}
        try:
            _survey(options, settings, [name for name in names if name not in found], found, journal)
        except KeyboardInterrupt:
            kept = f"; --journal {options.journal} continues from there" if journal else ""
            sys.stderr.write(f"ukmod survey: interrupted: {len(found)} of {len(names)} are done{kept}\n")
            raise
    verdicts = [found[name] for name in names]
    if options.json:
        print_json(tree, settings, verdicts)
    else:
        print_tables(tree, verdicts)
    return 0 if all(verdict.fine for verdict in verdicts) else 1


def _survey(
    options: argparse.Namespace,
    settings: Settings,
    names: Sequence[str],
    found: dict[str, Verdict],
    journal: Journal | None,
) -> None:
    """Add what is found to ``found``, and to the journal."""
    if not names:
        return
    crew = executors.dask(options.dask) if options.dask else executors.local(options.jobs)
    with Progress("bringing up the kernel", len(names)) as progress, crew as workers:
        batch = min(_BATCH, math.ceil(len(names) / (workers.count * _ROUNDS)))
        for verdict in survey(workers.executor, settings, names, batch=batch, work=workers.work):
            if journal is not None:
                journal.add(verdict)
            found[verdict.name] = verdict
            progress.add(verdict.classification)
        damage = workers.damage()
    if damage:
        sys.stderr.write(f"ukmod survey: {settings.image}: is it damaged? {damage}\n")


def _names(tree: Tree, options: argparse.Namespace) -> list[str]:
    """The modules to try, sorted. Raises NotFoundError for names that the tree does not know."""
    names = sorted({name.replace("-", "_") for name in options.names} or tree.module_names())
    if unknown := [name for name in names if tree.dependency_line(name) is None]:
        text = f"there is no module of that name in {tree.dirname}{near(unknown[0], tree.module_names())}"
        raise NotFoundError(text, subject=", ".join(unknown))
    if not names:
        raise NotFoundError("there is no module", subject=tree.dirname)
    if options.sample is not None:
        names = sorted(random.Random(0).sample(names, min(options.sample, len(names))))  # noqa: S311
    return names


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _time(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a time")
    return value
