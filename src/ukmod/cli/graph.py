"""``ukmod graph``: the dependencies of modules as a picture."""

from __future__ import annotations

import os
import sys

from ukmod.cli import command_lines
from ukmod.cli.output import write_bytes
from ukmod.cli.terminal import escape, write
from ukmod.kmod.context import Context
from ukmod.kmod.graphs import module_graph, to_dot, to_html, to_mermaid
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the graph; 1 if a module is missing."""
    options = command_lines.graph().parse_args(argv)
    tree = Tree.open(options.dirname, options.set_version, options.moduledir)
    context = Context.open(tree, config_paths=options.config or None)
    graph, found = module_graph(context, options.name, weakdeps=options.weakdeps)
    faults = [one for one in found.missing if one.is_fault]
    sys.stderr.write("".join(escape(f"ukmod graph: {one}") + "\n" for one in faults))
    if options.format == "html":
        text = to_html(graph, f"{' '.join(options.name)}, {tree.release}")
    else:
        text = {"dot": to_dot, "mermaid": to_mermaid}[options.format](graph)
    if options.output is None:
        write(text)
    else:
        write_bytes([os.fsencode(text)], options.output)
    return int(bool(faults))
