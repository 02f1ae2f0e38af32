"""``ukmod run MODULE.ko [param=value ...] ...``: load modules, watch them, unload them, report."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Sequence

from ukmod.cli import command_lines, kernel_image
from ukmod.cli.progress import READING, Progress
from ukmod.cli.report import Outcome, outcome_of, print_json, print_record, print_report
from ukmod.cli.terminal import escape, near, one_line_warnings
from ukmod.errors import LoadError, MachineError, NotFoundError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image.choice import AUTO
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.trees import Loadable, open_tree
from ukmod.kmod.names import is_module_file
from ukmod.kmod.tree import Tree
from ukmod.record import record
from ukmod.survey.leaks import recurring


@record
class Wanted:
    """A module to load, read from the disk, and its parameters."""

    module: Loadable
    params: str


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = command_lines.run().parse_args(argv)
    tree, named = _find(options)
    with one_line_warnings("ukmod run"), _kernel(options, tree) as k:
        wanted = _boot(k, options, named)
        with Progress("running") as progress:
            if not options.json:
                k.on_record(lambda record: print_record(record, progress))
            outcome = run(k, wanted, options.seconds, unload=options.unload)
            misfits = (kernel_image.misfit(k, one.module.file, options.dirname) for one in wanted)
            hints = [kernel_image.damage(k), *misfits]
    if options.json:
        print_json(outcome)
    else:
        print_report(outcome, options.color)
    for hint in filter(None, hints):
        sys.stderr.write(escape(f"ukmod run: {hint}") + "\n")
    return 0 if outcome.clean else 1


def _kernel(options: argparse.Namespace, tree: Tree | None) -> Kernel:
    return Kernel(
        tree=tree,
        btf=options.btf,
        image=options.kernel or AUTO,
        hz=options.hz,
        realtime=options.realtime,
        seed=options.seed,
        strict_modprobe=options.strict_modprobe,
        snapshot=options.snapshot,
        memory=options.memory,
        patience=options.patience,
    )


def _boot(k: Kernel, options: argparse.Namespace, named: Sequence[tuple[str, str]]) -> list[Wanted]:
    """Read the modules, and boot with the image that is named, or that is found and needed."""
    opened = k.open(file for file, _ in named)
    with Progress("bringing up the kernel image"):
        k.boot(opened if options.kernel is None else opened[:1])
    if k.need is not None:
        advice = "" if k.need.image is not None else ": name it with --kernel IMAGE"
        sys.stderr.write(escape(f"ukmod run: {k.need}{advice}") + "\n")
    return [Wanted(module, params) for module, (_, params) in zip(opened, named, strict=True)]


def _quote(param: str) -> str:
    """A value with spaces keeps them, as in modprobe's own options."""
    name, equals, value = param.partition("=")
    return f'{name}="{value}"' if equals and " " in value and not value.startswith('"') else param


def _find(options: argparse.Namespace) -> tuple[Tree | None, list[tuple[str, str]]]:
    """The module tree that is named, if one is, and the files to load, each with its parameters."""
    tree: Tree | None = None
    if options.dirname is not None or options.set_version is not None:
        with Progress(READING):
            named = Tree.open(options.dirname or "/", options.set_version, options.moduledir)
            tree = open_tree(named.dirname)
    found = []
    for name, params in _groups(options.words, tree):
        if _is_file(name):
            _check_file(name)
            file = name
        elif tree is None:
            raise UsageError("name a .ko file, or with -d ROOT a module of a tree", subject=name)
        else:
            file = _of_tree(tree, name)
        found.append((file, " ".join(map(_quote, params))))
    return tree, found


def _groups(words: Sequence[str], tree: Tree | None) -> list[tuple[str, list[str]]]:
    """Each module with the parameters that follow it. Raises UsageError if the first word is a parameter.

    A file, or a name that the tree knows, begins the next module. Any other word is a parameter: NAME=VALUE,
    or NAME alone, which switches something on.
    """
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        name, equals, _ = word.partition("=")
        is_module = _is_file(name) or (
            not equals and tree is not None and tree.dependency_line(word.replace("-", "_")) is not None
        )
        if is_module or not (groups or equals):
            groups.append((word, []))
        elif not groups:
            raise UsageError("is a parameter: the module precedes it", subject=word)
        else:
            groups[-1][1].append(word)
    return groups


def _is_file(name: str) -> bool:
    return is_module_file(name) or "/" in name


def _check_file(name: str) -> None:
    """Raise NotFoundError unless there is such a file, or what a link leads to is one."""
    try:
        found = os.stat(name)
    except FileNotFoundError as error:
        beside = [entry for entry in _listed(os.path.dirname(name)) if is_module_file(entry)]
        hint = near(os.path.basename(name), beside)
        raise NotFoundError(f"there is no such file{hint}", subject=name) from error
    except OSError as error:
        text = f"cannot read it: {error.strerror}"
        raise NotFoundError(text, subject=name, errno=error.errno) from error
    if not stat.S_ISREG(found.st_mode):
        raise NotFoundError("it is not a file", subject=name)


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory or ".")
    except OSError:
        return []


def _of_tree(tree: Tree, name: str) -> str:
    """The file of a module of the tree. NotFoundError if it has none of that name."""
    line = tree.dependency_line(name.replace("-", "_"))
    if line is None:
        hint = near(name.replace("-", "_"), tree.module_names())
        raise NotFoundError(f"there is no module of that name in {tree.dirname}{hint}", subject=name)
    return tree.files.real(tree.path(line.partition(":")[0]))


def run(k: Kernel, wanted: Sequence[Wanted], seconds: float, *, unload: bool) -> Outcome:
    """Load the modules and their dependencies, wait, and unload them. Returns the outcome."""
    failures: list[str] = []
    unloaded: list[str] = []

    def live(unloaded: list[str]) -> list[str]:
        failures = _load(k, wanted)
        if k.modules or not failures:
            k.run(seconds)
        return failures + (_unload(k, unloaded) if unload else [])

    leaks: Sequence[Leak] = ()
    try:
        with k.core.cpu.at_most(k.patience):  # for all of it together
            failures = live(unloaded)
            if k.leaks() or k.dangling:  # memory may still be freed, and what is pending happens
                k.settle()
        k.patience = max(k.patience - k.core.cpu.spent, 1)
        leaks = recurring(k, lambda: live([]))
    except MachineError as error:
        failures.append(f"the machine stopped: {error}")
        leaks = k.leaks()
    return outcome_of(k, failures, unloaded, leaks)


def _load(k: Kernel, wanted: Sequence[Wanted]) -> list[str]:
    """Load each module after its dependencies. Returns the first failure; later modules are not tried."""
    try:
        for one in wanted:
            k.insmod(one.module, one.params)
    except LoadError as error:
        return [f"insmod: {error}"]
    return []


def _unload(k: Kernel, unloaded: list[str]) -> list[str]:
    """Unload all modules, the latest first, and again while that helps; why the rest stays."""
    while k.modules:
        failures, before = [], len(k.modules)
        for name in list(k.modules):
            try:
                k.rmmod(name)
                unloaded.append(name)
            except LoadError as error:
                failures.append(f"rmmod: {error}")
        if len(k.modules) == before:
            return failures
    return []
