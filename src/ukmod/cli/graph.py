"""``ukmod graph``: the dependencies of modules as a picture."""

from __future__ import annotations

import os
import sys

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.output import format_of, write_bytes
from ukmod.cli.terminal import write, write_lines
from ukmod.kmod.context import Context
from ukmod.kmod.graphs import module_graph, to_dot, to_html, to_mermaid
from ukmod.kmod.tree import Tree
from ukmod.record import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.closures import Closure
    from ukmod.kmod.graphs import ModuleGraph

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the graph; 1 if a module is missing."""
    options = command_lines.graph().parse_args(argv)
    tree = Tree.open(options.dirname, options.set_version, options.moduledir)
    context = Context.open(tree, config_paths=options.config or None)
    graph, found = module_graph(context, options.name, weakdeps=options.weakdeps)
    faults = [one for one in found.missing if one.is_fault]
    write_lines([f"ukmod graph: {one}" for one in faults], sys.stderr)
    if options.json:
        print_document("graph", _content(graph, found))
        return int(bool(faults))
    kind = options.format or format_of(options.output or "", "dot")
    if kind == "html":
        text = to_html(graph, f"{' '.join(options.name)}, {tree.release}")
    else:
        text = {"dot": to_dot, "mermaid": to_mermaid}[kind](graph)
    if options.output is None:
        write(text)
    else:
        write_bytes([os.fsencode(text)], options.output)
    return int(bool(faults))


def _content(graph: ModuleGraph, found: Closure) -> dict[str, object]:
    """Return the graph as a value for JSON."""
    return {
        "modules": [
            {"module": name, "requested": name in graph.requested, "builtin": name in graph.builtin}
            for name in graph.modules
        ],
        "edges": [asdict(edge) for edge in graph.edges],
        "missing": [asdict(one) for one in found.missing],
    }
