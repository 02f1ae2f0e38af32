"""The system that -d, -S, -m, -C and --cmdline name, with the facts about its kernel and modules."""

from __future__ import annotations

import os

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.firmware import firmware_directories
from ukmod.kmod.linkage import parse_symvers
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.regular import read_regular
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cryptography import x509

    from ukmod.kmod.linkage import ExportedSymbol

__all__ = ["Inspection", "inspection", "vermagic_of"]


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
        exports=_exports(tree, arguments.symvers),
        vermagic=vermagic,
        firmware_directories=firmware_directories(os.path.abspath(root), tree.release),
        unpacks=system.unpacks(),
        certificates=_certificates(arguments.cert),
    )
    return Inspection(system, Inspector(tree, kernel), vermagic)


def _exports(tree: Tree, symvers: str | None) -> dict[str, ExportedSymbol] | None:
    """Return what the kernel's Module.symvers lists; None if there is none."""
    try:
        return parse_symvers(os.fsdecode(tree.files.read(symvers or f"{tree.dirname}/build/Module.symvers")))
    except OSError as error:
        if symvers is not None:
            raise NotFoundError(error.strerror or str(error), subject=symvers) from error
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

    found: list[x509.Certificate] = []
    for path in paths:
        try:
            found += load_certificates(read_regular(path), path=path)
        except OSError as error:
            raise NotFoundError(error.strerror or str(error), subject=path) from error
    return found
