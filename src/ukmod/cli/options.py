"""How each of our commands describes its command line: in one form, with its exit statuses and examples.

``--help`` shows it; the manual pages and the shells' completion are made of it (tools/manual.py).
"""

from __future__ import annotations

import argparse

from ukmod.cli.terminal import columns
from ukmod.kmod.visible import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from typing import NoReturn

__all__ = [
    "CommandParser",
    "action_of",
    "add_cmdline",
    "add_color",
    "add_config",
    "add_formats",
    "add_initramfs",
    "add_json",
    "add_kernel_facts",
    "add_tree",
    "command_parser",
]

_MISUSED = "the command line makes no sense"
_NOT_RUN = "the command could not do its work"


class CommandParser(argparse.ArgumentParser):
    """A parser whose ``misused`` is the exit status for a command line that makes no sense.

    ``intermixed``: options may stand between operands, of which there may be any number.
    ``refuse``: says what is wrong with the options and operands together; empty if nothing is.
    """

    misused = 2
    intermixed = False
    refuse: Callable[[argparse.Namespace], str] | None = None

    def parse_args(  # type: ignore[override] # argparse's own has overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse a command line."""
        parse = self.parse_intermixed_args if self.intermixed else super().parse_args
        options = parse(args, namespace)
        if self.refuse is not None and (text := self.refuse(options)):
            self.error(text)
        return options

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave, with the command's own status for a mistake."""
        text = one_line(message.removesuffix("\n")) + "\n" if message else None
        super().exit(self.misused if status == 2 else status, text)


def command_parser(
    command: str,
    description: str,
    *,
    statuses: Mapping[int, str],
    examples: Mapping[str, str],
    notes: str = "",
    misused: int = 2,
) -> CommandParser:
    """Return the parser of ``ukmod COMMAND``, without arguments yet.

    ``statuses``: what each exit status means, besides 2 and 3, which mean the same in most commands.
    ``misused``: the status for a command line that makes no sense, where 2 has another meaning.
    ``examples``: command lines without "ukmod COMMAND", and what they do.
    """
    lines = [notes, ""] if notes else []
    lines += ["exit status:"]
    every = {misused: _MISUSED, 3: _NOT_RUN, **statuses}
    lines += [f"  {status:<4}{meaning}" for status, meaning in sorted(every.items())]
    lines += ["", "examples:"]
    for words, effect in examples.items():
        lines += [f"  # {effect}", f"  {f'ukmod {command} {words}'.rstrip()}"]
    parser = CommandParser(
        prog=f"ukmod {command}",
        description=description,
        epilog="\n".join(lines),
        formatter_class=_HelpFormatter,
    )
    parser.misused = misused
    return parser


def action_of(argv: Sequence[str], words: Sequence[str], actions: Container[str]) -> tuple[str, list[str]]:
    """Return the action that the first of a command line's operands is, and the others.

    Without an action it is empty, and all operands are names, as those behind a ``--`` always are.
    """
    behind = argv[argv.index("--") + 1 :] if "--" in argv else ()
    if len(words) == len(behind) or words[0] not in actions:
        return "", list(words)
    return words[0], list(words[1:])


class _HelpFormatter(argparse.HelpFormatter):
    """Fills each line of a text that is not indented: a paragraph is one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns() - 2)  # without a width it imports shutil, for each argument

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002 - argparse's
        from textwrap import fill

        lines = text.split("\n")
        return "\n".join(line if line.startswith(" ") else fill(line, width) for line in lines)


def add_tree(
    parser: argparse.ArgumentParser, default: str | None, root: str, *, or_running: bool = False
) -> None:
    """Add ``-d``, ``-S`` and ``-m``, which name a module tree as kmod's tools do.

    ``root``: what ROOT is. ``or_running``: the kernel that runs is a default as well.
    """
    running = ", or the one that runs" if or_running else ""
    parser.add_argument("-d", "--dirname", default=default, metavar="ROOT", help=root)
    parser.add_argument(
        "-S",
        "--set-version",
        metavar="RELEASE",
        help=f"its kernel; default: the only one below ROOT{running}",
    )
    parser.add_argument(
        "-m",
        "--moduledir",
        metavar="DIR",
        help="where modules lie below ROOT; default lib/modules, or usr/lib/modules",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``-C``."""
    parser.add_argument(
        "-C", "--config", action="append", metavar="FILE|DIR", help="configuration instead of the root's"
    )


def add_cmdline(parser: argparse.ArgumentParser) -> None:
    """Add ``--cmdline``."""
    parser.add_argument(
        "--cmdline",
        metavar="FILE|TEXT",
        help="the kernel's command line; default: the running one's, or those of ROOT's boot entries",
    )


def add_initramfs(parser: argparse.ArgumentParser) -> None:
    """Add ``--initramfs``."""
    parser.add_argument(
        "--initramfs",
        metavar="FILE",
        help="the initramfs that the kernel boots with, or 'none'; default: those below ROOT",
    )


def add_kernel_facts(parser: argparse.ArgumentParser) -> None:
    """Add ``--symvers`` and ``--cert``."""
    parser.add_argument(
        "--symvers", metavar="FILE", help="the kernel's Module.symvers, if not in the tree's build/"
    )
    parser.add_argument(
        "--cert", metavar="FILE", action="append", help="X.509 certificates to check signatures by"
    )


def add_formats(parser: argparse.ArgumentParser, *, html: bool = False) -> None:
    """Add ``--json``, ``--sarif`` and ``--junit``, of which one may be given; and ``--html``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print one JSON document, nothing else")
    group.add_argument("--sarif", action="store_true", help="print a SARIF 2.1.0 log, nothing else")
    group.add_argument("--junit", action="store_true", help="print JUnit's XML, nothing else")
    if html:
        group.add_argument("--html", action="store_true", help="print an HTML page, nothing else")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, nothing else")


def add_color(parser: argparse.ArgumentParser) -> None:
    """Add ``--color``."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour verdicts; auto, the default: on a terminal, unless NO_COLOR is set",
    )
