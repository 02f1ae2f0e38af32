"""``ukmod examples DIRECTORY``: copy the compiled example modules, and their sources, to try them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from ukmod.cli import command_lines
from ukmod.errors import UkmodError, UsageError

DATA = Path(str(resources.files("ukmod"))) / "data"


def release() -> str:
    """Return the kernel release that the shipped modules were compiled for: their directory's name."""
    (directory,) = (DATA / "demo").iterdir()
    return directory.name


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    for path in copy_examples(Path(command_lines.examples().parse_args(argv).directory)):
        sys.stdout.write(f"{path}\n")
    return 0


def copy_examples(directory: Path) -> list[Path]:
    """Copy the examples into ``directory``, which is made if need be, and return the new files by name.

    Raises UsageError if one of the files exists there, before any is copied.
    """
    wanted = {directory / file.name: file for file in example_files()}
    for path in wanted:
        if path.exists():
            raise UsageError("exists already; name another directory", subject=str(path))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, file in wanted.items():
            shutil.copyfile(file, path)
    except OSError as error:
        text = f"cannot copy the examples: {error.strerror}"
        raise UkmodError(text, errno=error.errno, subject=str(directory)) from error
    return list(wanted)


def example_files() -> list[Path]:
    """The files that come with ukmod: sources and a Makefile, and the modules compiled from them."""
    places = (DATA / "examples", DATA / "examples" / release(), DATA / "demo" / release())
    found = [path for place in places for path in place.iterdir() if path.is_file()]
    return sorted(found, key=lambda path: path.name)
