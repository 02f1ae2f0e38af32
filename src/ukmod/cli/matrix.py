"""``ukmod run`` on several kernels: one run on each, and what each module came to on each kernel."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

from ukmod.cli import matrix_plan, matrix_report
from ukmod.cli.faults import Flaw, blamed, faults, verdict
from ukmod.cli.junit import junit_document
from ukmod.cli.matrix_plan import Build, Runs, Subject
from ukmod.cli.matrix_report import Cell, Column, Matrix
from ukmod.cli.output import write_bytes
from ukmod.cli.progress import READING, Progress
from ukmod.cli.report import outcome_of
from ukmod.cli.run import (
    Wanted,
    check_file,
    file_in,
    groups,
    is_file,
    kernel_of,
    own_tree,
    program_of,
    seconds_of,
    trace_of,
    watch,
)
from ukmod.cli.terminal import one_line_warnings
from ukmod.errors import NotFoundError, UkmodError, UsageError
from ukmod.kernel.image.choice import AUTO, NONE
from ukmod.kernel.trees import Loadable, indexed
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tree import Tree
from ukmod.machine.image.installed import image_at, kernel_named
from ukmod.machine.image.releases import is_word
from ukmod.packages.build import build, building
from ukmod.record import record


@record
class NamedKernel:
    """A kernel to run on: as it was named, and its release, which is empty if the modules decide it."""

    name: str
    release: str
    image: str
    tree: Tree | None
    """The tree that was named; or else, for modules that are given by name, the kernel's own."""


def main(options: argparse.Namespace) -> int:
    """Runs the modules on each kernel; 0 if each of them was clean on each kernel."""
    with Progress(READING):
        kernels = _kernels(options)
    if options.build is None:
        return _run(options, kernels, _subjects(options, kernels), {})
    with TemporaryDirectory(prefix="ukmod-build-") as work:
        wanted, failed = _built(options, kernels, work)
        return _run(options, kernels, wanted, failed)


def _run(
    options: argparse.Namespace,
    kernels: Sequence[NamedKernel],
    wanted: Sequence[Subject],
    failed: Mapping[str, str],
) -> int:
    """Run them, and report. ``failed``: by release, why nothing could be built."""
    trees = {kernel.release: kernel.tree for kernel in kernels}
    runs = matrix_plan.plan(wanted, trees, lambda release, name: file_in(trees[release], name))
    names = [one.name for one in wanted]
    doing = ""
    columns = []
    with one_line_warnings("ukmod run"), Progress(lambda: doing):
        for number, (kernel, run) in enumerate(zip(kernels, runs, strict=True)):
            doing = f"running on {kernel.release or kernel.name} ({number + 1} of {len(runs)})"
            columns.append(_column(options, kernel, _explained(run, failed), names))
    matrix = Matrix(tuple(names), tuple(columns))
    if options.junit is not None:
        document = junit_document(matrix_report.junit_suites(matrix))
        write_bytes([document.encode()], options.junit)
    if options.json:
        matrix_report.print_json(matrix)
    else:
        matrix_report.print_table(matrix)
    return 0 if matrix.clean else 1


def _explained(run: Runs, failed: Mapping[str, str]) -> Runs:
    """A run whose missing builds say why they could not be built."""
    if run.kernel not in failed:
        return run
    return Runs(run.kernel, run.files, dict.fromkeys(run.missing, failed[run.kernel]))


def _built(
    options: argparse.Namespace, kernels: Sequence[NamedKernel], work: str
) -> tuple[list[Subject], dict[str, str]]:
    """The modules that a source builds, or those of them that are named; by release, why it builds none."""
    if not os.path.isdir(options.build):
        raise NotFoundError("there is no such directory to build", subject=options.build)
    if not all(is_word(kernel.name) for kernel in kernels):
        raise UsageError("--build takes kernels that were fetched, by name: --kernel 6.12")
    copies = [os.path.join(work, kernel.release) for kernel in kernels]
    plans = [
        building(kernel_named(kernel.name), options.build, copy)
        for kernel, copy in zip(kernels, copies, strict=True)
    ]
    found: dict[str, list[Build]] = {}
    failed: dict[str, str] = {}
    for plan in plans:
        with Progress(f"building for {plan.release}"):
            try:
                for file in build(plan):
                    found.setdefault(modname_from_path(file), []).append(Build(file, plan.release))
            except UkmodError as error:
                failed[plan.release] = str(error)
    params = {name.replace("-", "_"): text for name, text in groups(options.words, [], found)}
    names = params or found or {os.path.basename(os.path.abspath(options.build)): ""}
    return [Subject(name, tuple(found.get(name, ())), params.get(name, "")) for name in names], failed


def _kernels(options: argparse.Namespace) -> list[NamedKernel]:
    """The kernels to run on, each once. Raises NotFoundError for one that is not here."""
    names = options.kernel or [AUTO]
    if options.set_version is not None and len(names) > 1:
        raise UsageError(
            "-S names the modules of one kernel, and there are several", subject=options.set_version
        )
    found: dict[str, NamedKernel] = {}
    for name in names:
        kernel = _kernel(options, name)
        found.setdefault(kernel.image, kernel)
    return list(found.values())


def _kernel(options: argparse.Namespace, name: str) -> NamedKernel:
    from ukmod.machine.image.image import KernelImage

    image, release = name, ""
    if name not in (AUTO, NONE):
        image = image_at(name)
        release = KernelImage(image).release
    if options.dirname is None and options.set_version is None:
        return NamedKernel(name, release, image, own_tree(name))
    version = options.set_version or release or None
    tree = indexed(Tree.open(options.dirname or "/", version, options.moduledir))
    return NamedKernel(name, release, image, tree)


def _subjects(options: argparse.Namespace, kernels: Sequence[NamedKernel]) -> list[Subject]:
    named = groups(options.words, [kernel.tree for kernel in kernels])
    for word, _ in named:
        if is_file(word):
            check_file(word)
    return matrix_plan.subjects(named, is_file)


def _in_order(modules: Sequence[Loadable]) -> list[Loadable]:
    """The modules in the order given, except that each follows those of them that it needs."""
    named = {os.path.abspath(one.path): one for one in modules}
    paths = (os.path.abspath(file.path) for one in modules for file in (*one.needs, one.file))
    return [named[path] for path in dict.fromkeys(paths) if path in named]


def _column(options: argparse.Namespace, kernel: NamedKernel, run: Runs, names: Sequence[str]) -> Column:
    """The verdicts about the modules on a kernel."""
    cells = {name: Cell(name, "no build", "", tuple(why.split("\n"))) for name, why in run.missing.items()}
    outcome = trace = None
    if run.files:
        tree = kernel.tree if options.dirname is not None or options.set_version is not None else None
        try:
            with kernel_of(options, kernel.name, tree) as k:
                opened = k.open_modules(file for file, _ in run.files.values())
                modules = opened if kernel.name == AUTO else opened[:1]
                k.boot(modules, programs=options.program is not None)
                params = {
                    module.path: text for module, (_, text) in zip(opened, run.files.values(), strict=True)
                }
                wanted = [Wanted(module, params[module.path]) for module in _in_order(opened)]
                program = program_of(options, show=None)
                watched = watch(k, wanted, seconds_of(options), unload=options.unload, program=program)
                failures = [one.text for one in watched.failures]
                outcome = outcome_of(k, failures, watched.unloaded, watched.leaks, watched.program)
                trace = trace_of(k, options)
                found = [*watched.failures, *faults(k, watched.leaks, outcome.unanswered)]
            blame = blamed(found, watched.tried)
        except UkmodError as error:
            blame = {name: [Flaw("no boot", name, str(error))] for name in run.files}
        for name, (file, _) in run.files.items():
            mine = blame.get(name, [Flaw("not tried", name, "a module before it failed")])
            cells[name] = Cell(name, verdict(mine), file, tuple(one.text for one in mine))
    if trace is not None:
        write_bytes([trace], options.trace)
    label = kernel.release or kernel.name
    return Column(label, kernel.name, kernel.image, tuple(cells[name] for name in names), outcome)
