"""``ukmod survey``: what every module of a tree does in a kernel without its hardware."""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from ukmod.cli import command_lines, executors, kernel_image
from ukmod.cli.junit import Case, CaseProblem, Suite, junit_document
from ukmod.cli.options import action_of
from ukmod.cli.output import write_bytes
from ukmod.cli.progress import READING, Progress
from ukmod.cli.survey_diff import diff
from ukmod.cli.survey_page import survey_page
from ukmod.cli.survey_report import print_expected, print_json, print_tables, subsystem
from ukmod.cli.terminal import near, write_lines
from ukmod.errors import NotFoundError
from ukmod.kernel.trees import indexed
from ukmod.kmod.tree import Tree
from ukmod.survey.expected import ExpectedFailure, is_expected, read_expected
from ukmod.survey.journal import Journal
from ukmod.survey.survey import survey
from ukmod.survey.verdict import ModuleVerdict, Settings

_BATCH = 25
"""Modules that a worker gets at once: those that need the same modules share the loading of these."""
_ROUNDS = 4
"""Batches that each worker gets at least, so that none waits for the others at the end."""
_FEW = 200
"""Modules for each worker up to which a snapshot is worth it: see Settings."""


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = command_lines.survey().parse_args(argv)
    action, words = action_of(argv, options.names, {"diff"})
    if action == "diff" and words:
        return diff(options, words)
    expected = read_expected(options.expect) if options.expect is not None else ()
    with Progress(READING):
        tree = indexed(Tree.open(options.dirname, options.set_version, options.moduledir))
    if action == "diff" and tree.dependency_line(action) is None:  # alone, it may be a module's name
        return diff(options, words)
    names = _names(tree, options)
    image = kernel_image.image_of_tree(options.kernel, tree, options.dirname)
    few = len(names) <= _FEW * options.jobs
    btf = os.path.abspath(options.btf) if options.btf is not None else ""
    settings = Settings(tree.dirname, image, options.seconds, options.patience, snapshot=few, btf=btf)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(options.journal, settings)) if options.journal else None
        found = {name: journal.done[name] for name in names if name in journal.done} if journal else {}
        try:
            _survey(options, settings, tree, [name for name in names if name not in found], found, journal)
        except KeyboardInterrupt:
            kept = f"; --journal {options.journal} continues from there"
            if journal is None:
                kept = "; with --journal FILE, a later survey would continue from there"
            text = f"interrupted: {len(found)} of {len(names)} are done{kept}"
            write_lines([f"ukmod survey: {text}"], sys.stderr)
            if found and not options.json:
                print_tables(tree, [found[name] for name in names if name in found])
            raise
    verdicts = [found[name] for name in names]
    if options.junit is not None:
        document = junit_document([Suite("ukmod.survey", tuple(_case(one, expected) for one in verdicts))])
        write_bytes([document.encode()], options.junit)
    if options.html is not None:
        subsystems = {name: subsystem(tree, name) for name in names}
        write_bytes([survey_page(settings, subsystems, verdicts, expected).encode()], options.html)
    if options.json:
        print_json(tree, settings, verdicts, expected)
    else:
        print_tables(tree, verdicts)
        print_expected(verdicts, expected)
    return 0 if all(verdict.fine or is_expected(verdict, expected) for verdict in verdicts) else 1


def _case(verdict: ModuleVerdict, expected: Sequence[ExpectedFailure]) -> Case:
    """Return a module's test case: it passes if the module is clean, or refuses as without its hardware."""
    about = verdict.blemish or verdict.cause
    if verdict.fine:
        return Case(verdict.name)
    if (known := is_expected(verdict, expected)) is not None:
        return Case(verdict.name, (CaseProblem("skipped", f"expected to fail: {known.reason}"),))
    return Case(verdict.name, (CaseProblem("failure", f"{verdict.classification}: {about}".rstrip(": ")),))


def _survey(
    options: argparse.Namespace,
    settings: Settings,
    tree: Tree,
    names: Sequence[str],
    found: dict[str, ModuleVerdict],
    journal: Journal | None,
) -> None:
    """Add what is found to ``found``, and to the journal."""
    if not names:
        return
    local = not options.dask
    crew = executors.local(options.jobs, tree.made_indexes()) if local else executors.dask(options.dask)
    with Progress("bringing up the kernel", len(names)) as progress, crew as workers:
        batch = min(_BATCH, math.ceil(len(names) / (workers.count * _ROUNDS)))
        for verdict in survey(workers.executor, settings, names, tree=tree, batch=batch, work=workers.work):
            found[verdict.name] = verdict  # first: an interrupted survey shows what the journal has
            if journal is not None:
                journal.add(verdict)
            progress.add(verdict.classification)
        damage = workers.damage()
    if damage:
        write_lines([f"ukmod survey: {settings.image}: is it damaged? {damage}"], sys.stderr)


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
