"""``ukmod explain``: why a module would, or would not, be loaded, with the line that decides it."""

from __future__ import annotations

import os

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.terminal import write
from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.explanation import agreed
from ukmod.kmod.explanation_report import as_object, as_text
from ukmod.kmod.firmware import firmware_directories
from ukmod.kmod.linkage import parse_symvers
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.regular import read_regular
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from ukmod.kmod.linkage import ExportedSymbol

__all__ = ["STATUSES", "main"]

STATUSES = {"loaded": 0, "not loaded": 1, "unknown": 2, "not found": 3}
"""The exit status for each verdict; that of several words is the greatest."""


def main(argv: Sequence[str]) -> int:
    """Explain each word."""
    arguments = command_lines.explain().parse_args(argv)
    tree = Tree.open(arguments.dirname, arguments.set_version, arguments.moduledir)
    system = System.of(tree, arguments.dirname, arguments.cmdline)
    kernel = KernelFacts(
        exports=_exports(tree, arguments.symvers),
        vermagic=_vermagic(tree),
        firmware_directories=firmware_directories(os.path.abspath(arguments.dirname), tree.release),
        unpacks=system.unpacks(),
        certificates=_certificates(arguments.cert),
    )
    explainers = system.explainers(Inspector(tree, kernel), arguments.config)
    explanations = []
    for word in arguments.word:
        try:
            ways = [
                (boot, one.explain(word, use_blacklist=arguments.use_blacklist)) for boot, one in explainers
            ]
        except OSError as error:
            raise NotFoundError(error.strerror or str(error), subject=word) from error
        explanations.append(agreed(ways))
    if arguments.json:
        print_document("explain", {"words": [as_object(one) for one in explanations]})
    else:
        write("".join(map(as_text, explanations)))
    return max(STATUSES[one.verdict] for one in explanations)


def _exports(tree: Tree, symvers: str | None) -> dict[str, ExportedSymbol] | None:
    """Return what the kernel's Module.symvers lists; None if there is none."""
    try:
        return parse_symvers(os.fsdecode(tree.files.read(symvers or f"{tree.dirname}/build/Module.symvers")))
    except OSError as error:
        if symvers is not None:
            raise NotFoundError(error.strerror or str(error), subject=symvers) from error
        return None


def _vermagic(tree: Tree) -> str:
    """Return the vermagic of the kernel, as the first readable module that came with it has it."""
    for name in tree.module_names():
        path = (tree.dependency_line(name) or "").partition(":")[0]
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
