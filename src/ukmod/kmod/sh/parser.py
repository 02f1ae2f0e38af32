"""A parser of ``sh -c``: ``parse`` makes a tree of a text, or says that no shell would run it ("man sh(1)").

It does not guess: anything that it does not know is a :class:`NotUnderstoodError`, so that nothing
half-understood is ever run, or taken for known.
"""

from __future__ import annotations

import re

from ukmod.kmod.sh.syntax import (
    Chain,
    For,
    Group,
    If,
    NotUnderstoodError,
    Pipeline,
    ShellSyntaxError,
    Simple,
    WordPart,
)
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ukmod.kmod.sh.syntax import ShellCommand, Word

__all__ = ["parse"]

_OPERATOR = re.compile(r"&&|\|\||;;|[;&|()\n]")
_REDIRECTION = re.compile(r"(\d*)(<<-?|<&|>&|<>|>>|>\||<|>)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUIET = re.compile(r"""\#?\w+|\w+(:?[-+]|\#\#?|%%?)[^$`"'\\{]*""")
"""Expansions that change no variable, and do not end the shell."""
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_LONGEST_LINE = 1 << 14
_MOST_SUBSTITUTIONS = 8
"""Limits on hostile text: the end of a substitution is found by trying each parenthesis."""
_DEEPEST = 50
"""So many commands may be nested: what is understood must not depend on the room on Python's stack."""
_CLOSING = frozenset(("}", "done", "elif", "else", "esac", "fi", "then", "do"))
_UNKNOWN_FORMS = frozenset(("case", "until", "while", "function", "[["))


@record
class _Token:
    """``kind`` is word, operator or end; ``start`` and ``end`` are offsets in the text."""

    kind: str
    text: str
    start: int
    end: int
    word: Word = ()


def parse(text: str) -> ShellCommand:
    """Return the command that a text is.

    Raises ShellSyntaxError if no shell would run it, NotUnderstoodError if one might do something else with
    it than this parser can say.
    """
    if len(text) > _LONGEST_LINE or text.count("$(") > _MOST_SUBSTITUTIONS:
        raise NotUnderstoodError(text)
    try:
        parser = _Parser(text)
        node = parser.list_until(frozenset())
    except RecursionError:
        raise NotUnderstoodError(text) from None
    if parser.token.kind != "end":
        parser.refuse()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.token = self._next()

    def refuse(self) -> NoReturn:
        raise ShellSyntaxError(self._text[self.token.start :] or "end of the command")

    # Tokens

    def _advance(self) -> _Token:
        token, self.token = self.token, self._next()
        return token

    def _next(self) -> _Token:
        text, at = self._text, self._at
        while True:
            while text[at : at + 1] in {" ", "\t"}:
                at += 1
            if text.startswith("\\\n", at):
                at += 2
                continue
            break
        if text.startswith("#", at):
            newline = text.find("\n", at)
            at = len(text) if newline < 0 else newline
        if at >= len(text):
            self._at = at
            return _Token("end", "", at, at)
        found = _OPERATOR.match(text, at) or _REDIRECTION.match(text, at)
        if found is not None:
            self._at = found.end()
            return _Token("operator", found[0], at, self._at)
        word, self._at = _Words(text).read(at)
        return _Token("word", text[at : self._at], at, self._at, word)

    def _is(self, text: str) -> bool:
        """Tell whether the token is this operator, or this reserved word, which must not be quoted."""
        return self.token.kind in {"operator", "word"} and self.token.text == text

    def _expect(self, text: str) -> None:
        if not self._is(text):
            self.refuse()
        self._advance()

    def _skip_newlines(self) -> None:
        while self._is("\n"):
            self._advance()

    # Grammar

    def list_until(self, ends: frozenset[str]) -> ShellCommand:
        """Read a list; it ends at one of these words, and must not be empty if there are any."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotUnderstoodError(self._text)
        items: list[tuple[str, ShellCommand]] = []
        operator = ";"
        self._skip_newlines()
        while self.token.kind != "end" and self.token.text not in ends:
            node = self._pipeline()
            items.append((operator, node))
            if self._is("&&") or self._is("||"):
                operator = self._advance().text
                self._skip_newlines()
                if self.token.kind == "end":
                    self.refuse()
                continue
            if self._is("&"):
                # It runs beside the rest: nobody knows which of them is done first.
                raise NotUnderstoodError(self._text)
            if self._is(";") or self._is("\n"):
                self._advance()
            else:
                break
            operator = ";"
            self._skip_newlines()
        if ends and not items:
            self.refuse()
        self._depth -= 1
        return Chain(tuple(items))

    def _pipeline(self) -> ShellCommand:
        negated = self._is("!")
        if negated:
            self._advance()
        commands = [self._command()]
        while self._is("|"):
            self._advance()
            self._skip_newlines()
            commands.append(self._command())
        return Pipeline(tuple(commands), negated) if negated or len(commands) > 1 else commands[0]

    def _command(self) -> ShellCommand:
        text = self.token.text
        if self.token.kind == "end" or text in _CLOSING or text in {";", "&", "&&", "||", "|", ")", ";;"}:
            self.refuse()
        if text in _UNKNOWN_FORMS:
            raise NotUnderstoodError(self._text)
        if text in {"{", "("}:
            self._advance()
            closing = "}" if text == "{" else ")"
            body: ShellCommand = Group(self.list_until(frozenset((closing,))), subshell=text == "(")
            self._expect(closing)
        elif text == "if":
            body = self._if()
        elif text == "for":
            body = self._for()
        else:
            return self._simple()
        if _REDIRECTION.fullmatch(self.token.text) and self.token.kind == "operator":
            if not self._redirections([]):
                raise NotUnderstoodError(self._text)
        elif self.token.kind == "word" and self.token.text not in _CLOSING:
            self.refuse()
        return body

    def _if(self) -> ShellCommand:
        branches = []
        otherwise = None
        self._advance()
        while True:
            condition = self.list_until(frozenset(("then",)))
            self._expect("then")
            branches.append((condition, self.list_until(frozenset(("elif", "else", "fi")))))
            if not self._is("elif"):
                break
            self._advance()
        if self._is("else"):
            self._advance()
            otherwise = self.list_until(frozenset(("fi",)))
        self._expect("fi")
        return If(tuple(branches), otherwise)

    def _for(self) -> ShellCommand:
        self._advance()
        name = self._advance().text
        if not _NAME.fullmatch(name) or not self._is("in"):
            raise NotUnderstoodError(self._text)
        self._advance()
        words = []
        while self.token.kind == "word":
            words.append(self._advance().word)
        if not (self._is(";") or self._is("\n")):
            self.refuse()
        self._advance()
        self._skip_newlines()
        self._expect("do")
        body = self.list_until(frozenset(("done",)))
        self._expect("done")
        return For(name, tuple(words), body)

    def _simple(self) -> ShellCommand:
        start, end = self.token.start, self.token.end
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        written: list[Word] = []
        harmless = True
        while True:
            if self.token.kind == "word":
                end = self.token.end
                word = self._advance().word
                given = None if words else _assignment(word)
                if given is not None:
                    assignments.append(given)
                else:
                    words.append(word)
            elif self.token.kind == "operator" and _REDIRECTION.fullmatch(self.token.text):
                harmless &= self._redirections(written)
                end = self._at if self.token.kind == "end" else self.token.start
            elif self._is("("):
                raise NotUnderstoodError(self._text)  # a function
            else:
                break
        text = self._text[start:end].strip()
        return Simple(tuple(assignments), tuple(words), harmless, text, tuple(written))

    def _redirections(self, written: list[Word]) -> bool:
        """Read redirections, and add the files that they write; tell whether none of them can fail."""
        harmless = True
        while self.token.kind == "operator" and (found := _REDIRECTION.fullmatch(self.token.text)):
            if found[2].startswith("<<"):
                raise NotUnderstoodError(self._text)
            self._advance()
            if self.token.kind != "word":
                self.refuse()
            token = self._advance()
            target = token.text
            if target == "/dev/null" or (found[2] in {">&", "<&"} and target in {"0", "1", "2"}):
                continue
            harmless = False
            if ">" in found[2]:
                written.append(token.word)
        return harmless


def _assignment(word: Word) -> tuple[str, Word] | None:
    first = word[0]
    found = None if first.kind != "text" or first.quoted else _ASSIGNMENT.match(first.text)
    if found is None:
        return None
    rest = WordPart("text", first.text[found.end() :], quoted=False)
    return found[1], (rest, *word[1:])


class _Words:
    """Reads the words of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts: list[WordPart] = []

    def read(self, at: int) -> tuple[Word, int]:
        """Return the word at an offset, and where it ends."""
        text = self._text
        while at < len(text) and text[at] not in " \t\n;&|()<>":
            char = text[at]
            if char == "\\":
                if not text.startswith("\\\n", at):
                    self._add(text[at + 1 : at + 2], quoted=True)
                at += 2
            elif char == "'":
                end = self._closing("'", at)
                self._add(text[at + 1 : end], quoted=True)
                at = end + 1
            elif char == '"':
                at = self._quoted(at + 1)
            elif char in "$`":
                at = self._expansion(at, quoted=False)
            else:
                self._add(char, quoted=False)
                at += 1
        return tuple(self._parts), at

    def _closing(self, char: str, at: int) -> int:
        end = self._text.find(char, at + 1)
        if end < 0:
            raise ShellSyntaxError(f"no closing {char}")
        return end

    def _quoted(self, at: int) -> int:
        text = self._text
        self._add("", quoted=True)  # "" is a word
        while at < len(text) and text[at] != '"':
            if text[at] == "\\" and text[at + 1 : at + 2] in set('$`"\\\n'):
                self._add("" if text[at + 1] == "\n" else text[at + 1], quoted=True)
                at += 2
            elif text[at] in "$`":
                at = self._expansion(at, quoted=True)
            else:
                self._add(text[at], quoted=True)
                at += 1
        if at >= len(text):
            raise ShellSyntaxError('no closing "')
        return at + 1

    def _expansion(self, at: int, *, quoted: bool) -> int:
        text = self._text
        if text[at] == "`":
            end = self._closing("`", at)
            if "\\" in text[at:end]:
                raise NotUnderstoodError(text)
            self._parts.append(WordPart("command", text[at : end + 1], quoted, parse(text[at + 1 : end])))
            return end + 1
        if text.startswith("$((", at):
            raise NotUnderstoodError(text)
        if text.startswith("$(", at):
            return self._substitution(at, quoted=quoted)
        if text.startswith("${", at):
            end = self._closing("}", at)
            name = text[at + 2 : end]
            plain = _NAME.fullmatch(name) or (len(name) == 1 and name in "0123456789")
            if not plain and not _QUIET.fullmatch(name):
                raise NotUnderstoodError(text)
            self._parts.append(WordPart("variable" if plain else "unknown", name, quoted))
            return end + 1
        name = text[at + 1 : at + 2]
        found = _NAME.match(text, at + 1)
        if found is not None:
            self._parts.append(WordPart("variable", found[0], quoted))
            return found.end()
        if name and name in "0123456789?":
            self._parts.append(WordPart("variable", name, quoted))
        elif name and name in "@*#$!-":
            self._parts.append(WordPart("unknown", name, quoted))
        elif name in {"'", '"'} and not quoted:
            raise NotUnderstoodError(text)  # $'...' is bash's
        else:
            self._add("$", quoted=quoted)
            return at + 1
        return at + 2

    def _substitution(self, at: int, *, quoted: bool) -> int:
        """Read ``$(list)``: as far as the parenthesis at which the list is complete."""
        end = at + 2
        while (end := self._text.find(")", end)) >= 0:
            inner = self._text[at + 2 : end]
            try:
                command = parse(inner)
            except ShellSyntaxError:
                end += 1
                continue
            self._parts.append(WordPart("command", self._text[at : end + 1], quoted, command))
            return end + 1
        raise ShellSyntaxError("no closing )")

    def _add(self, text: str, *, quoted: bool) -> None:
        last = self._parts[-1] if self._parts else None
        if last is not None and last.kind == "text" and last.quoted == quoted:
            self._parts[-1] = WordPart("text", last.text + text, quoted)
        else:
            self._parts.append(WordPart("text", text, quoted))
