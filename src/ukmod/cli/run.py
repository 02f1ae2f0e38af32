"""``ukmod run MODULE.ko [param=value ...] ...``: load modules, watch them, unload them, report."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from ukmod.cli import command_lines, kernel_image
from ukmod.cli.faults import Flaw
from ukmod.cli.output import format_of, write_bytes
from ukmod.cli.progress import READING, Progress
from ukmod.cli.report import Outcome, outcome_of, print_json, print_record, print_report
from ukmod.cli.terminal import near, one_line_warnings, write_lines
from ukmod.cli.trace import trace_text
from ukmod.errors import LoadError, MachineError, NotFoundError, PatienceError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image.choice import AUTO
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.timeline import timeline
from ukmod.kernel.trees import Loadable, indexed, open_tree
from ukmod.kmod.names import is_module_file, modname_from_path
from ukmod.kmod.tree import Tree
from ukmod.machine.image.installed import modules_of
from ukmod.record import record
from ukmod.survey.leaks import recurring

if TYPE_CHECKING:
    from ukmod.cli.execute import Exec
    from ukmod.kernel.user.program import Completed

_SECONDS: Final = 5.0


@record
class Wanted:
    """A module to load, read from the disk, and its parameters."""

    module: Loadable
    params: str


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = command_lines.run().parse_args(argv)
    if options.program is not None and options.root is None:
        check_file(options.program[0])
    if options.init:
        from ukmod.cli import init

        return init.main(options)
    if options.junit is not None or options.build is not None or len(options.kernel or ()) > 1:
        from ukmod.cli import matrix

        return matrix.main(options)
    tree, named = find_modules(options, options.kernel[0] if options.kernel else None)
    image = options.kernel[0] if options.kernel else AUTO
    with one_line_warnings("ukmod run"), kernel_of(options, image, tree) as k:
        wanted = _boot(k, options, named)
        with Progress("running") as progress:
            if not options.json:
                k.on_record(lambda record: print_record(record, progress))
            program = program_of(options, show=None if options.json else progress)
            outcome = run(k, wanted, seconds_of(options), unload=options.unload, program=program)
            misfits = (kernel_image.misfit(k, one.module.file, options.dirname) for one in wanted)
            hints = [kernel_image.damage(k), *misfits]
        trace = trace_of(k, options)
    if options.json:
        print_json(outcome)
    else:
        print_report(outcome, options.color)
    write_lines([f"ukmod run: {hint}" for hint in hints if hint], sys.stderr)
    if trace is not None:
        write_bytes([trace], options.trace)
    return 0 if outcome.clean else 1


def program_of(options: argparse.Namespace, show: Progress | None) -> Exec | None:
    """The program of --exec, or None."""
    if options.program is None:
        return None
    from ukmod.cli.execute import Exec

    return Exec(tuple(options.program), options.root is not None, show)


def trace_of(k: Kernel, options: argparse.Namespace) -> bytes | None:
    """The path of each request, for --trace, in the form that is asked for; None if it is not."""
    if options.trace is None:
        return None
    kind = options.trace_format or format_of(options.trace, "text", json="chrome")
    return trace_text(timeline(k.core.trace.steps), kind).encode(errors="backslashreplace")


def kernel_of(options: argparse.Namespace, image: str, tree: Tree | None) -> Kernel:
    """The kernel that the options describe, with this image and this tree."""
    return Kernel(
        tree=tree,
        btf=options.btf,
        image=image,
        hz=options.hz,
        realtime=options.realtime,
        seed=options.seed,
        strict_modprobe=options.strict_modprobe,
        snapshot=options.snapshot,
        memory=options.memory,
        patience=options.patience,
        root=options.root,
        root_helpers=options.root_helpers,
        init=options.init,
    )


def seconds_of(options: argparse.Namespace) -> float:
    """The virtual time for which modules are left to run."""
    seconds: float | None = options.seconds
    return _SECONDS if seconds is None else seconds


def _boot(k: Kernel, options: argparse.Namespace, named: Sequence[tuple[str, str]]) -> list[Wanted]:
    """Read the modules, and boot with the image that is named, or that is found and needed."""
    opened = k.open_modules(file for file, _ in named)
    with Progress("bringing up the kernel image"):
        modules = opened if options.kernel is None else opened[:1]
        k.boot(modules, programs=options.program is not None)
    if k.need is not None:
        advice = "" if k.need.image is not None else ": name it with --kernel IMAGE"
        write_lines([f"ukmod run: {k.need}{advice}"], sys.stderr)
    return [Wanted(module, params) for module, (_, params) in zip(opened, named, strict=True)]


def _quote(param: str) -> str:
    """A value with spaces keeps them, as in modprobe's own options."""
    name, equals, value = param.partition("=")
    return f'{name}="{value}"' if equals and " " in value and not value.startswith('"') else param


def find_modules(
    options: argparse.Namespace, kernel: str | None
) -> tuple[Tree | None, list[tuple[str, str]]]:
    """The module tree that is named, if one is, and the files to load, each with its parameters."""
    tree: Tree | None = None
    if options.dirname is not None or options.set_version is not None:
        with Progress(READING):
            tree = indexed(Tree.open(options.dirname or "/", options.set_version, options.moduledir))
    elif kernel is not None and not all(map(is_file, options.words[:1])):
        with Progress(READING):
            tree = own_tree(kernel)
    found = []
    for name, params in groups(options.words, (tree,)):
        if is_file(name):
            check_file(name)
            file = name
        elif tree is None:
            text = "name a .ko file, or with -d ROOT, or with the --kernel that it is of, a module of a tree"
            raise UsageError(text, subject=name)
        else:
            file = _of_tree(tree, name)
        found.append((file, params))
    return tree, found


def groups(
    words: Sequence[str], trees: Sequence[Tree | None], built: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Each module with the parameters that follow it. Raises UsageError if the first word is a parameter.

    A file, or a name that a tree knows or that is ``built``, begins the next module. Any other word is a
    parameter: NAME=VALUE, or NAME alone, which switches something on.
    """
    found: list[tuple[str, list[str]]] = []
    for word in words:
        name, equals, _ = word.partition("=")
        known = is_file(name) or word.replace("-", "_") in built
        known = known or (not equals and any(file_in(tree, word) for tree in trees))
        if known or not (found or equals):
            found.append((word, []))
        elif not found:
            raise UsageError("is a parameter: the module precedes it", subject=word)
        else:
            found[-1][1].append(_quote(word))
    return [(name, " ".join(params)) for name, params in found]


def is_file(name: str) -> bool:
    """True for a word that names a file, not a module of a tree."""
    return is_module_file(name) or "/" in name


def file_in(tree: Tree | None, name: str) -> str | None:
    """The file of a module of a tree; None if the tree has none of that name."""
    line = tree.dependency_line(name.replace("-", "_")) if tree is not None else None
    return (
        tree.files.real(tree.path(line.partition(":")[0])) if tree is not None and line is not None else None
    )


def check_file(name: str) -> None:
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
    file = file_in(tree, name)
    if file is None:
        hint = near(name.replace("-", "_"), tree.module_names())
        raise NotFoundError(f"there is no module of that name in {tree.dirname}{hint}", subject=name)
    return file


def own_tree(kernel: str) -> Tree | None:
    """The modules of a kernel that --kernel names; None if it has none, or is no kernel in particular."""
    modules = modules_of(kernel)
    return open_tree(modules) if modules else None


@record
class Watched:
    """A run: the modules that were tried, the failures, the modules that were unloaded, the memory lost."""

    tried: tuple[str, ...]
    failures: tuple[Flaw, ...]
    unloaded: tuple[str, ...]
    leaks: tuple[Leak, ...]
    program: Completed | None
    """The result of the program, if one was run."""


def run(
    k: Kernel, wanted: Sequence[Wanted], seconds: float, *, unload: bool, program: Exec | None = None
) -> Outcome:
    """Load the modules and their dependencies, wait, and unload them. Returns the outcome."""
    found = watch(k, wanted, seconds, unload=unload, program=program)
    failures = [one.text for one in found.failures]
    return outcome_of(k, failures, found.unloaded, found.leaks, found.program)


def watch(
    k: Kernel, wanted: Sequence[Wanted], seconds: float, *, unload: bool, program: Exec | None = None
) -> Watched:
    """Load the modules and their dependencies, wait, and unload them. The machine stays for questions.

    A program runs once they are loaded.
    """
    failures: list[Flaw] = []
    tried: list[str] = []
    unloaded: list[str] = []
    done: list[Completed] = []

    def live(tried: list[str], unloaded: list[str]) -> list[Flaw]:
        failures = _load(k, wanted, tried)
        if program is not None and not failures and not done:
            completed, failures = program.run(k)
            done.extend(filter(None, (completed,)))
        if k.modules or not failures:
            k.run(seconds)
        return failures + (_unload(k, unloaded) if unload else [])

    leaks: Sequence[Leak] = ()
    try:
        with k.core.cpu.watchdog.at_most(k.patience):  # for all of it together
            failures = live(tried, unloaded)
            if k.leaks() or k.dangling:  # memory may still be freed, and what is pending happens
                k.settle()
        k.patience = max(k.patience - k.core.cpu.watchdog.spent, 1)
        leaks = recurring(k, lambda: live([], []))
    except MachineError as error:
        kind = "timeout" if isinstance(error, PatienceError) else "oops"
        failures.append(Flaw(kind, "", f"the machine stopped: {error}"))
        leaks = k.leaks()
    return Watched(tuple(tried), tuple(failures), tuple(unloaded), tuple(leaks), next(iter(done), None))


def _load(k: Kernel, wanted: Sequence[Wanted], tried: list[str]) -> list[Flaw]:
    """Load each module after its dependencies. Returns the first failure; later modules are not tried."""
    for one in wanted:
        name = modname_from_path(one.module.path)
        tried.append(name)
        try:
            k.insmod(one.module, one.params)
        except LoadError as error:
            return [Flaw("fails", name, f"insmod: {error}")]
    return []


def _unload(k: Kernel, unloaded: list[str]) -> list[Flaw]:
    """Unload all modules, the latest first, and again while that helps; why the rest stays."""
    while k.modules:
        failures, before = [], len(k.modules)
        for name in list(k.modules):
            try:
                k.rmmod(name)
                unloaded.append(name)
            except LoadError as error:
                failures.append(Flaw("stays", name, f"rmmod: {error}"))
        if len(k.modules) == before:
            return failures
    return []
