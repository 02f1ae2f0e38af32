"""``ukmod explain``: why a module would, or would not, be loaded, with the line that decides it."""

from __future__ import annotations

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.inspection import inspection
from ukmod.cli.progress import AUDITING, Progress
from ukmod.cli.terminal import write_lines
from ukmod.errors import NotFoundError
from ukmod.kmod.explanation import agreed
from ukmod.kmod.explanation_report import as_lines, as_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ukmod.kmod.explanation import Explanation

__all__ = ["STATUSES", "main"]

STATUSES = {"loaded": 0, "not loaded": 1, "unknown": 2, "not found": 3}
"""The exit status for each verdict; that of several words is the greatest."""


def main(argv: Sequence[str]) -> int:
    """Explain each word."""
    arguments = command_lines.explain().parse_args(argv)
    with Progress(AUDITING):
        explanations = _explanations(arguments)
    if arguments.json:
        print_document("explain", {"words": [as_object(one) for one in explanations]})
    else:
        write_lines(line for one in explanations for line in as_lines(one))
    return max(STATUSES[one.verdict] for one in explanations)


def _explanations(arguments: argparse.Namespace) -> list[Explanation]:
    found = inspection(arguments)
    explainers = found.system.explainers(found.inspector, arguments.config)
    explanations = []
    for word in arguments.word:
        try:
            ways = [
                (boot, one.explain(word, use_blacklist=arguments.use_blacklist)) for boot, one in explainers
            ]
        except OSError as error:
            raise NotFoundError(error.strerror or str(error), subject=word) from error
        explanations.append(agreed(ways))
    return explanations
