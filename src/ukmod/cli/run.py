"""``ukmod run MODULE.ko [param=value ...]``: load a module, watch it, unload it, say what it left."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ukmod.cli import kernel_image
from ukmod.cli.report import Outcome, outcome_of, print_json, print_report
from ukmod.errors import LoadError, MachineError, UkmodError, UsageError
from ukmod.kernel.api import Kernel, open_tree
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.printk import Record
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tree import Tree
from ukmod.survey.leaks import recurring
from ukmod.survey.survey import load_order

MAX_SECONDS = 10**9
"""Virtual seconds, some 30 years: what the clock, in nanoseconds, can count to."""
MAX_HZ = 10_000


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="ukmod run",
        description="Load a module, and what it needs, into an emulated kernel, let it run, unload it, and"
        " report what happened.",
        epilog="Exit status: 0 if all was clean, 1 otherwise.",
    )
    parse.add_argument("module", metavar="MODULE", help="a .ko file, or a module of the tree")
    parse.add_argument("params", metavar="param=value", nargs="*", help="the module's parameters")
    parse.add_argument("-d", "--dirname", metavar="ROOT", help="modules are below ROOT/lib/modules")
    parse.add_argument("-S", "--set-version", metavar="VERSION", help="of this kernel, not the module's own")
    parse.add_argument(
        "--for", dest="seconds", metavar="SECONDS", type=_seconds, default=5.0, help="virtual; default 5"
    )
    parse.add_argument(
        "--realtime", action="store_true", help="let virtual time pass no faster than real time"
    )
    parse.add_argument("--unload", action=argparse.BooleanOptionalAction, default=True, help="at the end")
    parse.add_argument("--seed", type=int, metavar="N", help="tasks take turns at random, reproducibly")
    parse.add_argument("--hz", type=_hz, default=250, help="CONFIG_HZ of the kernel; default 250")
    parse.add_argument("--btf", metavar="FILE", help="the kernel's BTF, for a stripped module")
    parse.add_argument("--kernel", metavar="IMAGE", help=f"{kernel_image.HELP} if the module needs one")
    parse.add_argument(
        "--snapshot", action=argparse.BooleanOptionalAction, default=True,
        help="keep an image that was brought up, for next time",
    )  # fmt: skip
    parse.add_argument("--strict-modprobe", action="store_true", help="requests carry no parameters")
    parse.add_argument("--json", action="store_true", help="print one JSON document at the end, nothing else")
    return parse


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = parser().parse_args(argv)
    tree, module = _find(options)
    needed = _needed(tree, module)
    with _kernel(options, tree, module, needed) as k:
        if not options.json:
            k.on_record(_print_record)
        params = " ".join(map(_quote, options.params))
        outcome = run(k, module, params, options.seconds, needed=needed, unload=options.unload)
        hints = kernel_image.damage(k), kernel_image.misfit(k, module, options.dirname)
    (print_json if options.json else print_report)(outcome)
    for hint in filter(None, hints):
        sys.stderr.write(f"ukmod run: {hint}\n")
    return 0 if outcome.clean else 1


def _kernel(options: argparse.Namespace, tree: Tree | None, module: str, needed: Sequence[str]) -> Kernel:
    """The kernel to load into: with the image that is named, or that is found and needed."""

    def kernel(image: str | None) -> Kernel:
        return Kernel(
            tree=tree,
            btf=options.btf,
            image=image,
            hz=options.hz,
            realtime=options.realtime,
            seed=options.seed,
            strict_modprobe=options.strict_modprobe,
            snapshot=options.snapshot,
        )

    if options.kernel is not None:
        return kernel(None if options.kernel == kernel_image.NONE else options.kernel)
    k = kernel(None)
    need = kernel_image.need_of(k, module, needed, options.dirname)
    if need is None:
        return k
    sys.stderr.write(f"ukmod run: {need}\n")
    if need.image is None:
        return k
    k.close()
    return kernel(need.image)


def _quote(param: str) -> str:
    """A value with spaces keeps them, as in modprobe's own options."""
    name, equals, value = param.partition("=")
    return f'{name}="{value}"' if equals and " " in value and not value.startswith('"') else param


def _print_record(record: Record) -> None:
    sys.stdout.write(record.dmesg() + "\n")
    sys.stdout.flush()


def _find(options: argparse.Namespace) -> tuple[Tree | None, str]:
    """The module tree, and the module's file. A file's own directory is a tree, if no other is named."""
    name = options.module
    is_file = name.endswith((".ko", ".ko.xz", ".ko.gz", ".ko.zst")) or "/" in name
    if is_file and not Path(name).is_file():
        problem = "it is no file" if Path(name).exists() else "there is no such file"
        raise UsageError(problem, subject=name)
    if options.dirname is None and options.set_version is None:
        if not is_file:
            raise UsageError("give a .ko file, or -d ROOT for a name", subject=name)
        return _beside(Path(name).parent), name
    root = Path(options.dirname or "/")
    tree = _tree_below(root, options.set_version)
    if is_file:
        return tree, name
    line = tree.dependency_line(name.replace("-", "_"))
    if line is None:
        raise UsageError(f"no module of that name in {tree.dirname}", subject=name)
    return tree, tree.files.real(tree.path(line.partition(":")[0]))


def _beside(directory: Path) -> Tree | None:
    """The modules that lie where the file does, so that it can request them; None, and a warning, if they
    cannot be made a tree of.
    """
    try:
        if (directory / "modules.dep.bin").exists():
            return open_tree(directory)
        return Tree.from_directory(directory, recursive=False)
    except (UkmodError, OSError) as error:
        sys.stderr.write(f"ukmod run: warning: no other module can be loaded: {error}\n")
        return None


def _needed(tree: Tree | None, module: str) -> list[str]:
    """The files of the modules that a module needs, in the order to load them. What the tree has not, and
    what is wrong with the file, is for the loader to say.
    """
    if tree is None:
        return []
    try:
        with ModuleFile(module) as file:
            info = read_module(file, module, signature=False, build_id=False)
    except (OSError, UkmodError):
        return []
    names = [name.replace("-", "_") for name in info.depends]
    known = [name for name in names if tree.dependency_line(name) is not None]
    files = dict.fromkeys(file for name in known for file in load_order(tree, name))
    return [tree.files.real(tree.path(file)) for file in files]


def _seconds(text: str) -> float:
    """A time that can be waited for."""
    value = float(text)
    if not 0 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {MAX_SECONDS}")
    return value


def _hz(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_HZ:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {MAX_HZ}")
    return value


def _tree_below(root: Path, version: str | None) -> Tree:
    return open_tree(Tree.open(root, version).dirname)


def run(
    k: Kernel, module: str, params: str, seconds: float, *, needed: Sequence[str] = (), unload: bool
) -> Outcome:
    """Load what it needs and the module, wait, unload; what came of it."""
    failures: list[str] = []
    unloaded: list[str] = []

    def live(unloaded: list[str]) -> list[str]:
        failures = _load(k, module, params, needed)
        if k.modules or not failures:
            k.run(seconds)
        return failures + (_unload(k, unloaded) if unload else [])

    leaks: Sequence[Leak] = ()
    try:
        failures = live(unloaded)
        if k.leaks():
            k.settle()
        leaks = recurring(k, lambda: live([]))
    except MachineError as error:
        failures.append(f"the machine stopped: {error}")
        leaks = k.leaks()
    return outcome_of(k, failures, unloaded, leaks)


def _load(k: Kernel, module: str, params: str, needed: Sequence[str]) -> list[str]:
    """Load a module, and first what it needs; why that failed."""
    try:
        for other in needed:
            if modname_from_path(other) not in k.modules:  # another may have requested it
                k.insmod(other)
        k.insmod(module, params)
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
