"""The system that -d, -S, -m, -C and --cmdline name, with the facts about its kernel and modules."""

from __future__ import annotations

import os

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.firmware import firmware_directories
from ukmod.kmod.initramfs import initramfs_paths, open_initramfs
from ukmod.kmod.linkage import parse_symvers
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.regular import read_named
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cryptography import x509

    from ukmod.kmod.linkage import ExportedSymbol

__all__ = ["Inspection", "exports_beside", "exports_listed", "inspection", "vermagic_of", "with_initramfs"]


@record
class Inspection:
    """A system, what looks into the modules of its tree, and the vermagic of its kernel, if it is known."""

    system: System
    inspector: Inspector
    vermagic: str


def inspection(arguments: argparse.Namespace, root: str | None = None) -> Inspection:
    """Open the system that a command line names; ``root`` counts in place of its -d.

    Raises NotFoundError for a file or a kernel that is not there, UsageError if there are several kernels.
    """
    root = arguments.dirname if root is None else root
    assert root is not None
    tree = Tree.open(root, arguments.set_version, arguments.moduledir)
    system = System.of(tree, root, arguments.cmdline)
    vermagic = vermagic_of(tree)
    kernel = KernelFacts(
        exports=exports_beside(tree) if arguments.symvers is None else exports_listed(arguments.symvers),
        vermagic=vermagic,
        firmware_directories=firmware_directories(os.path.abspath(root), tree.release),
        unpacks=system.unpacks(),
        certificates=_certificates(arguments.cert),
    )
    return Inspection(system, Inspector(tree, kernel), vermagic)


def with_initramfs(found: Inspection, option: str | None) -> Inspection:
    """Return the same system with the initramfs that its kernel boots with, as far as it holds modules.

    ``option`` is a path, or "none"; by default they are those below the root. Raises NotFoundError for a path
    that leads to no file.
    """
    if option == "none":
        return found
    system = found.system
    if option is not None and not os.path.isfile(option):
        raise NotFoundError("no such initramfs", subject=option)
    paths = (
        initramfs_paths(system.tree.files, system.root, system.tree.release) if option is None else [option]
    )
    opened = [open_initramfs(path, system, found.inspector) for path in paths]
    there = tuple([one for one in opened if one is not None])
    return replace(found, system=replace(system, initramfs=there))


def exports_listed(path: str) -> dict[str, ExportedSymbol]:
    """Return what a Module.symvers lists. NotFoundError if it cannot be read."""
    return parse_symvers(os.fsdecode(read_named(path)))


def exports_beside(tree: Tree) -> dict[str, ExportedSymbol] | None:
    """Return what the Module.symvers of a tree's build directory lists; None if there is none."""
    try:
        return parse_symvers(os.fsdecode(tree.files.read(f"{tree.dirname}/build/Module.symvers")))
    except OSError:
        return None


def vermagic_of(tree: Tree) -> str:
    """Return the vermagic of the kernel, as the first readable module that came with it has it."""
    for name in tree.module_names():
        path = tree.module_path(name)
        if path.startswith("kernel/"):
            try:
                with tree.open_module(path) as file:
                    return read_module(file, name).vermagic
            except (OSError, UkmodError):
                continue
    return ""


def _certificates(paths: Sequence[str] | None) -> list[x509.Certificate] | None:
    """Return the certificates in the files; None if there are no files."""
    if paths is None:
        return None
    from ukmod.kmod.verify import load_certificates

    return [one for path in paths for one in load_certificates(read_named(path), path=path)]
