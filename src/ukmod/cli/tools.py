"""``ukmod tools``: kmod's tools under their own names."""

from __future__ import annotations

import os
import shutil
import sys

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.terminal import write_lines
from ukmod.errors import NotFoundError, UkmodError, UsageError
from ukmod.kmod.tools import TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["link_tools", "main"]


def main(argv: Sequence[str]) -> int:
    """List the tools, or with ``link DIRECTORY`` make links to this program there."""
    options = command_lines.tools().parse_args(argv)
    if (options.link is None) != (options.directory is None):
        raise UsageError("name a directory to link them in")
    links = [] if options.directory is None else link_tools(options.directory)
    if options.json:
        print_document("tools", {"tools": list(TOOLS), "links": links})
    else:
        write_lines(links or TOOLS)
    return 0


def link_tools(directory: str, program: str | None = None) -> list[str]:
    """Make a link for each tool in ``directory`` and return their paths.

    ``program`` defaults to the ukmod that runs, or is on $PATH. A link that is there already is replaced;
    anything else of that name is an error, and nothing has been touched then.
    """
    target = program or _this_program()
    paths = [os.path.join(directory, name) for name in TOOLS]
    for path in paths:
        if os.path.lexists(path) and not os.path.islink(path):
            raise UsageError("is in the way: it is not a symbolic link", subject=path)
    try:
        os.makedirs(directory, exist_ok=True)
        for path in paths:
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(target, path)  # noqa: PTH211 - os throughout
    except OSError as error:
        raise UkmodError(
            f"cannot make links: {error.strerror}", errno=error.errno, subject=directory
        ) from error
    return paths


def _this_program() -> str:
    running = os.path.abspath(sys.argv[0])
    if os.path.basename(running) == "ukmod" and os.access(running, os.X_OK):
        return running
    found = shutil.which("ukmod")
    if found is None:
        raise NotFoundError("the ukmod program is not on $PATH: install the package first")
    return os.path.abspath(found)
