"""The syntax of GRUB's scripts: words of text and variables; commands with blocks; if, loops and functions.

The rules are those of the GRUB manual's "Shell-like scripting" and of grub-core/script. A script that GRUB
would refuse is read as far as it makes sense.
"""

from __future__ import annotations

import re

from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

__all__ = [
    "Conditional",
    "ScriptCommand",
    "ScriptFunction",
    "ScriptLoop",
    "ScriptNode",
    "ScriptPiece",
    "ScriptWord",
    "parse",
]

_MOST_NESTED = 50
"""Blocks inside of each other that are followed; a deeper one is read as plain words."""
_CHARACTER = r"[^{}|&$;<> \t\n'\"\\]"
_VARIABLE = r"\$(?:\{(?P<braced>\w+|[?#*@])\}|(?P<plain>[A-Za-z_]\w*|\d+|[?#*@]))"
_SPACE = re.compile(r"(?:[ \t]|\\\n)+|#[^\n]*")
_OPERATOR = re.compile(r"\|\||&&|;;|[\n;|&<>{}]")
_PIECE = re.compile(
    rf"(?P<text>{_CHARACTER}+)|\\(?P<escaped>.|\n)|'(?P<single>[^']*)'?|(?P<double>\")|{_VARIABLE}|(?P<lone>.)",
    re.DOTALL,
)
_QUOTED = re.compile(rf"\\(?P<escaped>[$\\\"\n])|(?P<end>\")|{_VARIABLE}|(?P<text>[^\"\\$]+|.)", re.DOTALL)


@record
class ScriptPiece:
    """A part of a word: a text, or the variable of that name.

    An unquoted variable is ``split``: its value may make several words.
    """

    text: str
    is_variable: bool = False
    split: bool = False


@record
class ScriptCommand:
    """A command, the number of its last line, and the block behind it: ``menuentry NAME { ... }``."""

    words: tuple[ScriptWord, ...]
    line: int
    block: tuple[ScriptNode, ...] | None = None


@record
class Conditional:
    """Conditions with what is done if they hold; the last one, for ``else``, has no commands."""

    branches: tuple[tuple[tuple[ScriptNode, ...], tuple[ScriptNode, ...]], ...]


@record
class ScriptLoop:
    """``while``, ``until`` or ``for NAME in WORD...``; the name is empty for the first two."""

    name: str
    words: tuple[ScriptWord, ...]
    condition: tuple[ScriptNode, ...]
    body: tuple[ScriptNode, ...]


@record
class ScriptFunction:
    """``function NAME { ... }``."""

    name: str
    body: tuple[ScriptNode, ...]


if TYPE_CHECKING:
    ScriptWord: TypeAlias = tuple[ScriptPiece, ...]
    ScriptNode: TypeAlias = ScriptCommand | Conditional | ScriptLoop | ScriptFunction


def parse(text: str) -> tuple[ScriptNode, ...]:
    """Return the commands of a script."""
    return _Parser(text).commands(frozenset())


def _tokens(text: str) -> Iterator[tuple[str, ScriptWord, int]]:
    """Yield (operator, nothing, line) and ("", word, line); the line is that of the token's end."""
    at, line = 0, 1
    while at < len(text):
        if found := _SPACE.match(text, at) or _OPERATOR.match(text, at):
            if found.re is _OPERATOR:
                yield found[0], (), line
            end = found.end()
        else:
            pieces, end = _word(text, at)
            yield "", pieces, line + text.count("\n", at, end)
        line += text.count("\n", at, end)
        at = end


def _word(text: str, at: int) -> tuple[ScriptWord, int]:
    """Return the word that begins at an offset, and the offset behind it. A word in quotes may be empty."""
    pieces: list[ScriptPiece] = []
    while at < len(text) and not _OPERATOR.match(text, at) and text[at] not in " \t":
        found = _PIECE.match(text, at)
        assert found is not None
        at = found.end()
        if name := found["braced"] or found["plain"]:
            pieces.append(ScriptPiece(name, is_variable=True, split=True))
        elif found["double"]:
            at = _double_quoted(text, at, pieces)
        elif found["escaped"] != "\n":
            pieces.append(ScriptPiece(next(one for one in found.groups() if one is not None)))
    return tuple(pieces), at


def _double_quoted(text: str, at: int, pieces: list[ScriptPiece]) -> int:
    """Add the pieces up to the closing quote; return the offset behind it."""
    pieces.append(ScriptPiece(""))
    while found := _QUOTED.match(text, at):
        at = found.end()
        if found["end"]:
            break
        if name := found["braced"] or found["plain"]:
            pieces.append(ScriptPiece(name, is_variable=True))
        elif found["escaped"] != "\n":
            pieces.append(ScriptPiece(found["escaped"] or found["text"]))
    return at


class _Parser:
    """Reads commands by recursive descent."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0
        self._ended_by = ""

    def commands(self, ends: frozenset[str]) -> tuple[ScriptNode, ...]:
        """Read commands up to one of the words or braces in ``ends``, which is taken too."""
        nodes: list[ScriptNode] = []
        self._depth += 1
        while self._at < len(self._tokens):
            operator, _, _ = self._tokens[self._at]
            word = operator or self._keyword()
            if word in ends:
                self._ended_by, self._at = word, self._at + 1
                break
            if operator:
                self._at += 1
            else:
                nodes.append(self._statement(word))
        else:
            self._ended_by = ""
        self._depth -= 1
        return tuple(nodes)

    def _keyword(self) -> str:
        """Return the next token, if it is a word of plain text."""
        if self._at >= len(self._tokens):
            return ""
        operator, word, _ = self._tokens[self._at]
        return operator or (word[0].text if len(word) == 1 and not word[0].is_variable else "")

    def _statement(self, word: str) -> ScriptNode:
        if self._depth > _MOST_NESTED or word not in {"if", "while", "until", "for", "function"}:
            return self._command()
        self._at += 1
        if word == "if":
            return self._if()
        if word == "function":
            name = self._keyword()
            self._at += 1
            self.commands(frozenset("{"))
            return ScriptFunction(name, self.commands(frozenset("}")))
        name = ""
        words: tuple[ScriptWord, ...] = ()
        if word == "for":
            name = self._keyword()
            self._at += 2  # and the word "in"
            words = self._words()
        condition = self.commands(frozenset(("do",)))
        return ScriptLoop(name, words, condition, self.commands(frozenset(("done",))))

    def _if(self) -> Conditional:
        branches = []
        while True:
            condition = self.commands(frozenset(("then",)))
            body = self.commands(frozenset(("elif", "else", "fi")))
            branches.append((condition, body))
            if self._ended_by == "else":
                branches.append(((), self.commands(frozenset(("fi",)))))
            if self._ended_by != "elif":
                return Conditional(tuple(branches))

    def _words(self) -> tuple[ScriptWord, ...]:
        words: list[ScriptWord] = []
        while self._at < len(self._tokens) and not self._tokens[self._at][0]:
            words.append(self._tokens[self._at][1])
            self._at += 1
        return tuple(words)

    def _command(self) -> ScriptCommand:
        words = self._words()
        line = self._tokens[self._at - 1][2]
        if self._depth > _MOST_NESTED or self._keyword() != "{":
            return ScriptCommand(words, line)
        self._at += 1
        return ScriptCommand(words, line, self.commands(frozenset("}")))
