"""Commands of the shell as trees ("man sh(1)", POSIX XCU 2), as far as lines of modprobe.d use it.

Lists (``;``, ``&&``, ``||``), pipelines, groups, subshells, ``if`` and ``for``; quotes, variables,
command substitutions and redirections.
"""

from __future__ import annotations

from ukmod.record import record

__all__ = [
    "NOT_EXECUTABLE",
    "NOT_FOUND",
    "SYNTAX_ERROR",
    "Chain",
    "For",
    "Group",
    "If",
    "NotUnderstoodError",
    "Pipeline",
    "ShellCommand",
    "ShellSyntaxError",
    "Simple",
    "Word",
    "WordPart",
]

SYNTAX_ERROR = 2
NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""The status of a shell that refuses the syntax, cannot run the program, or does not find it: XCU 2.8.2."""


class NotUnderstoodError(Exception):
    """The text is, or may be, a command that this parser does not know."""


class ShellSyntaxError(Exception):
    """The text is a command of no shell: sh runs nothing of it, and exits with 2."""


@record
class WordPart:
    """A piece of a word. ``kind`` is text, variable (``text`` is its name), command or unknown.

    A command substitution has its ``command``. What is ``quoted`` is not split into fields.
    """

    kind: str
    text: str
    quoted: bool
    command: ShellCommand | None = None


Word = tuple[WordPart, ...]


@record
class Simple:
    """A simple command. ``harmless``: its redirections, if any, cannot fail; ``written`` are the files that
    it writes by them.
    """

    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    harmless: bool
    text: str
    written: tuple[Word, ...] = ()


@record
class Pipeline:
    """Commands joined by ``|``, or one; ``negated`` by ``!``."""

    commands: tuple[ShellCommand, ...]
    negated: bool


@record
class Chain:
    """Commands in their order, each with the operator before it: ``;``, ``&&`` or ``||``."""

    items: tuple[tuple[str, ShellCommand], ...]


@record
class Group:
    """``{ list; }``, or ``( list )``, which is a shell of its own."""

    body: ShellCommand
    subshell: bool


@record
class If:
    """``if``: (condition, body) pairs, and what is done otherwise."""

    branches: tuple[tuple[ShellCommand, ShellCommand], ...]
    otherwise: ShellCommand | None


@record
class For:
    """``for NAME in WORD...; do list; done``."""

    name: str
    words: tuple[Word, ...]
    body: ShellCommand


ShellCommand = Simple | Pipeline | Chain | Group | If | For
