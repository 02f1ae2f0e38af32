"""Make the manual pages and the shells' completion from the commands' parsers: ``make manual``.

They are kept in share/: the parsers' modules import the machine's libraries, which are missing where the
wheel is built. tests/cli/test_manual.py finds out if they are out of date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

from ukmod.cli import COMMANDS
from ukmod.cli.command_lines import command_line
from ukmod.kmod.tools import OF_KMOD, TOOLS

SHARE = Path(__file__).resolve().parents[1] / "share"
_FILES = ("FILE", "IMAGE", "PROFILE", "MODULE")
_DIRECTORIES = ("ROOT", "DIRECTORY")
_SEVERAL = {"+": "{0} [{0} ...]", "*": "[{0} ...]", "?": "[{0}]"}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    return {name: command_line(name) for name in COMMANDS}


def files() -> dict[str, str]:
    """All files by their path below share/, with what is in them."""
    found = {"man/man1/ukmod.1": overview()}
    for name, parser in parsers().items():
        found[f"man/man1/ukmod-{name}.1"] = page(name, COMMANDS[name], parser)
    whole = _whole()
    found["bash-completion/completions/ukmod"] = shtab.complete(whole, "bash")
    found["zsh/site-functions/_ukmod"] = shtab.complete(whole, "zsh")
    return {
        path: "\n".join(map(str.rstrip, text.split("\n"))).rstrip() + "\n" for path, text in found.items()
    }


def page(name: str, summary: str, parser: argparse.ArgumentParser) -> str:
    """The manual page of a command, as man(7) describes its source."""
    options = [action for action in _actions(parser) if action.option_strings]
    operands = [action for action in _actions(parser) if not action.option_strings]
    parts = [
        *_head(f"ukmod-{name}", summary),
        ".SH SYNOPSIS",
        f".B ukmod {name}",
        *(_roff(_usage(action)) for action in (*options, *operands)),
        ".SH DESCRIPTION",
        _roff(" ".join((parser.description or "").split())),
    ]
    sections: list[str] = []
    for heading, lines in _paragraphs(parser.epilog or ""):
        if heading:
            sections += [f".SH {heading.upper()}", ".nf", *map(_roff, lines), ".fi"]
        else:
            parts += [".PP", _roff(" ".join(lines))]
    if operands:
        parts += [".SH OPERANDS", *(line for action in operands for line in _entry(action))]
    parts += [".SH OPTIONS", *(line for action in options for line in _entry(action))]
    return "\n".join([*parts, *sections, ".SH SEE ALSO", ".BR ukmod (1)"])


def overview() -> str:
    """The manual page of ukmod itself: which commands there are."""
    parts = [
        *_head("ukmod", "Linux's on-demand module loading, in user space"),
        ".SH SYNOPSIS",
        ".B ukmod",
        r"\fICOMMAND\fR [\fIARGUMENT\fR ...]",
        ".SH DESCRIPTION",
        "Compiled kernel modules are loaded into an emulated kernel, and kmod's tools work on any tree.",
        ".SH COMMANDS",
    ]
    for name, summary in COMMANDS.items():
        parts += [".TP", rf"\fBukmod\-{name}\fR(1)", _roff(summary)]
    parts += [".TP", r"\fBhelp\fR \fICOMMAND\fR", _roff("what the command's own --help says")]
    tools = ", ".join((*TOOLS, *OF_KMOD))
    parts += [".PP", _roff(f"kmod's tools have kmod's own options, output and exit status: {tools}.")]
    parts += [".SH ENVIRONMENT", ".TP", ".B NO_COLOR", "verdicts are not coloured on a terminal"]
    return "\n".join(parts)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no public list of them


def _head(title: str, summary: str) -> list[str]:
    return [f'.TH {title.upper()} 1 "" ukmod "User Commands"', ".SH NAME", _roff(f"{title} - {summary}")]


def _paragraphs(text: str) -> Iterator[tuple[str, list[str]]]:
    """The heading of each paragraph, if its first line ends in a colon, and its lines."""
    for paragraph in filter(None, text.split("\n\n")):
        lines = paragraph.strip("\n").split("\n")
        yield (lines[0][:-1], lines[1:]) if lines[0].endswith(":") else ("", lines)


def _usage(action: argparse.Action) -> str:
    """A command line's part: ``[-d ROOT]``, ``FILE``, ``[NAME ...]``."""
    if not action.option_strings:
        return _SEVERAL.get(str(action.nargs), "{0}").format(_word(action))
    text = (
        " | ".join(action.option_strings)
        if action.nargs == 0
        else f"{action.option_strings[0]} {_word(action)}"
    )
    return text if action.required else f"[{text}]"


def _entry(action: argparse.Action) -> list[str]:
    word = "" if action.nargs == 0 and action.option_strings else _word(action)
    names = [" ".join((*filter(None, (name, word)),)) for name in action.option_strings] or [word]
    return [".TP", rf"\fB{_roff(', '.join(names))}\fR", _roff(action.help or "")]


def _word(action: argparse.Action) -> str:
    """What stands for an action's value."""
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _roff(text: str) -> str:
    """Text that the formatter takes as it is: hyphens that can be copied, no line that is a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def _whole() -> argparse.ArgumentParser:
    """One parser of all commands, for the completion: it knows which words are files."""
    whole = argparse.ArgumentParser(prog="ukmod")
    whole.add_argument("-V", "--version", action="version", version="", help="show the version")
    commands = whole.add_subparsers()
    for name, parser in parsers().items():
        for action in _actions(parser):
            words = str(action.metavar or "").replace("|", " ").split()
            kind = shtab.FILE if {*words} & {*_FILES} else shtab.DIR if {*words} & {*_DIRECTORIES} else None
            if kind is not None:
                action.complete = kind  # type: ignore[attr-defined]  # shtab looks for it there
        commands.add_parser(name, help=COMMANDS[name], parents=[parser], add_help=False)
    for name in (*TOOLS, *OF_KMOD):
        tool = commands.add_parser(name, help=f"kmod's {name}", add_help=False)
        tool.add_argument("words", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]
    helps = commands.add_parser("help", help="what a command's --help says", add_help=False)
    helps.add_argument("command", choices=(*COMMANDS, *TOOLS, *OF_KMOD))
    return whole


def main() -> int:
    """Write what has changed."""
    for path, text in files().items():
        target = SHARE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
