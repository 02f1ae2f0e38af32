"""The pages of the documentation site that are generated: mkdocs calls this as a hook.

The reference of the commands is what their own parsers print for --help.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ukmod.cli import COMMANDS
from ukmod.kmod.tools import TOOLS

SECURITY = Path(__file__).parents[1] / "SECURITY.md"
COMMANDS_PAGE = "reference/commands.md"
SECURITY_PAGE = "security.md"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    files.append(File.generated(config, COMMANDS_PAGE, content="\n".join(commands_page())))
    files.append(File.generated(config, SECURITY_PAGE, content=SECURITY.read_text()))
    return files


def commands_page() -> Iterator[str]:
    """The lines of the page: every command, with the words of its own --help."""
    yield "# Commands\n"
    yield "Each section is what `ukmod COMMAND --help` prints.\n"
    for name, summary in COMMANDS.items():
        yield f"## ukmod {name}\n"
        yield f"{summary[0].upper()}{summary[1:]}.\n"
        yield f"```text\n{help_of(name)}```\n"
    yield "## kmod's tools\n"
    yield "They have kmod 34's options, output and status; see [the differences](kmod-differences.md).\n"
    for name in TOOLS:
        yield f"### ukmod {name}\n"
        yield f"```text\n{help_of(name)}```\n"


def help_of(name: str) -> str:
    """What a command prints for --help."""
    command = [sys.executable, "-m", "ukmod", name, "--help"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip("\n") + "\n"
