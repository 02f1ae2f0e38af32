"""``ukmod lint``: the lines of modprobe.d that do not do what they say, each with its fix."""

from __future__ import annotations

import sys

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.terminal import write_lines
from ukmod.kmod.lint import lint
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.lint import Finding

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the findings; 1 if any of them is more than a note."""
    arguments = command_lines.lint().parse_args(argv)
    tree = Tree.open(arguments.dirname, arguments.set_version, arguments.moduledir)
    system = System.of(tree, arguments.dirname, arguments.cmdline)
    found = lint(
        system.context(arguments.config),
        Inspector(tree, KernelFacts()),
        boots=system.boots,
        config_paths=arguments.config,
    )
    if arguments.json:
        print_document("lint", {"findings": [_object(one) for one in found]})
    else:
        shown = [one for one in found if one.severity != "note" or arguments.notes]
        write_lines(line for one in shown for line in one.lines)
        if hidden := len(found) - len(shown):
            some = "1 line is" if hidden == 1 else f"{hidden} lines are"
            write_lines([f"ukmod lint: {some} of no use on this system: see --notes"], sys.stderr)
    return int(any(one.severity != "note" for one in found))


def _object(one: Finding) -> dict[str, object]:
    return {
        "kind": one.kind,
        "severity": one.severity,
        "file": one.source.file,
        "line": one.source.line or None,
        "words": one.words,
        "text": one.text,
        "fix": one.fix,
        "about": list(dict.fromkeys(one.about)),
    }
