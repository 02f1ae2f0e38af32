"""``ukmod examples DIRECTORY``: copy the compiled example modules, and their sources, to try them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.terminal import write_lines
from ukmod.errors import UkmodError, UsageError
from ukmod.kmod.regular import write_all

DATA = os.path.normpath(os.path.join(os.path.dirname(__file__), "../data"))
"""The directory of the files that come with ukmod."""


def release() -> str:
    """Return the kernel release that the shipped modules were compiled for: their directory's name."""
    (name,) = os.listdir(os.path.join(DATA, "demo"))
    return name


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = command_lines.examples().parse_args(argv)
    copied = copy_examples(options.directory)
    if options.json:
        print_document("examples", {"files": copied})
    else:
        write_lines(copied)
    return 0


def copy_examples(directory: str) -> list[str]:
    """Copy the examples into ``directory``, which is made if need be, and return the new files by name.

    Raises UsageError if one of the files exists there, before any is copied; UkmodError if one cannot be
    copied, of which none is left then.
    """
    from contextlib import suppress

    wanted = {os.path.join(directory, os.path.basename(file)): file for file in example_files()}
    for path in wanted:
        if os.path.lexists(path):  # a link to nothing, too: the file would be made where it leads
            raise UsageError("exists already; name another directory", subject=path)
    begun: list[str] = []
    try:
        os.makedirs(directory, exist_ok=True)
        for path, file in wanted.items():
            _copy(file, path, begun)
    except BaseException as error:
        for path in begun:
            with suppress(OSError):
                os.unlink(path)
        if not isinstance(error, OSError):
            raise
        text = f"cannot copy the examples: {error.strerror}"
        raise UkmodError(text, errno=error.errno, subject=directory) from error
    return list(wanted)


def _copy(file: str, path: str, begun: list[str]) -> None:
    """Copy a file to a new one, which is then in ``begun``. OSError if that name has been taken meanwhile."""
    with open(file, "rb") as source:
        content = source.read()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        begun.append(path)
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def example_files() -> list[str]:
    """The files that come with ukmod: sources and a Makefile, and the modules compiled from them."""
    sources, compiled = os.path.join(DATA, "examples"), release()
    places = (sources, os.path.join(sources, compiled), os.path.join(DATA, "demo", compiled))
    found = [entry.path for place in places for entry in os.scandir(place) if entry.is_file()]
    return sorted(found, key=os.path.basename)
