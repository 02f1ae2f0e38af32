"""Lines of modprobe.d that do not do what they say: refused ones, those that match nothing, files that are
not read. modprobe says a word about the first kind only.
"""

from __future__ import annotations

from ukmod.errors import LimitError
from ukmod.kmod.config import config_files
from ukmod.kmod.lint.arguments import argument_findings
from ukmod.kmod.lint.finding import Finding
from ukmod.kmod.lint.lines import read_lines, syntax_findings
from ukmod.kmod.lint.meaning import MeaningLinter
from ukmod.kmod.lint.places import place_findings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.context import Context
    from ukmod.kmod.kernelargs import BootArguments
    from ukmod.kmod.objections import Inspector

__all__ = ["MOST_LINES", "Finding", "lint"]

MOST_LINES = 1 << 15
"""Lines of all files of a configuration. A deny list of all modules of a distribution has half as many."""


def lint(
    context: Context,
    inspector: Inspector | None = None,
    *,
    boots: Sequence[BootArguments] = (),
    config_paths: Sequence[str] | None = None,
) -> list[Finding]:
    """Return what is wrong with the configuration of a context, in the order in which modprobe reads it.

    ``inspector`` looks into the modules that options are for; without it, parameters are not compared.
    ``boots`` are the kernel's command lines, ``config_paths`` the places of the configuration if they are not
    the tree's own. Raises NotFoundError if the tree has no indexes, LimitError for too long a configuration.
    """
    tree = context.tree
    tree.require_indexes()
    paths = tree.config_paths if config_paths is None else config_paths
    linter = MeaningLinter(context, inspector)
    found: list[Finding] = []
    room = MOST_LINES
    for path in config_files(tree.dirname, paths, tree.files):
        if path.startswith(f"{tree.dirname}/modules."):
            continue  # depmod has made it
        lines = read_lines(tree.files, path)
        if (room := room - len(lines)) < 0:
            raise LimitError(f"with it, the configuration has more than {MOST_LINES} lines", subject=path)
        found += syntax_findings(lines)
        for line in lines:
            found += linter.findings(line)
    found += place_findings(tree.files, tree.dirname, paths)
    for boot in boots:
        found += argument_findings(boot, linter)
    return list(dict.fromkeys(found))
