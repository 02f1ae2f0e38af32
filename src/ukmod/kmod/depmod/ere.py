"""POSIX extended regular expressions, as regcomp(3) of the GNU C library takes them in the C locale.

depmod.d(5) matches kernel releases with them. Python's :mod:`re` has another dialect, and takes forever for
some expressions. Here an expression is a relation of the places in the text: from which to which it leads.
Relations of parts become those of the whole (:mod:`relation`), so the time is the expression's length, times
the square of the text's, which is a kernel release, whatever the expression.

Back references are no regular expressions. glibc knows them nevertheless, and so does :func:`search` where
they are few.
"""

from __future__ import annotations

from ukmod.errors import UsageError
from ukmod.kmod.depmod import relation
from ukmod.kmod.wildcard import EVERY_CHARACTER, bytewise, character_class, character_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    Instruction = tuple[str, int, int]
    """An instruction of a stack machine and its two arguments.

    ``set``: push a set of characters, as bits. ``assert``: push an assertion, the code of its letter.
    ``back``: push a reference to a group. ``concatenate``, ``alternate``: join so many. ``repeat``: the last,
    at least and at most so often, -1 for any number. ``group``: the last is the group of that number.
    """

__all__ = ["search"]

_SPACE = character_class("space")
_SETS = {"w": relation.WORD, "W": EVERY_CHARACTER ^ relation.WORD, "s": _SPACE, "S": EVERY_CHARACTER ^ _SPACE}
_ESCAPED_ASSERTIONS = "bB<>`'"
_ANCHORS = "^$"
_REPEATS = "*+?{"
_MOST = 0x7FFF  # RE_DUP_MAX
_LONGEST = 1 << 14
"""Bytes of an expression; those for kernel releases have some twenty."""
_LONGEST_TEXT = 255
"""Bytes of a text: a release is the name of a directory."""


def search(pattern: str, text: str) -> bool:
    """Tell whether the pattern is found in the text; UsageError if it is malformed or too much."""
    pattern, text = bytewise(pattern), bytewise(text)
    if len(pattern) > _LONGEST or len(text) > _LONGEST_TEXT:
        raise UsageError("Regular expression too big", subject=pattern[:64])
    program = _Parser(pattern).program
    if any(step[0] == "back" for step in program):
        from ukmod.kmod.depmod.backreference import search_with_references

        return search_with_references(program, text, pattern)
    return any(relation.of(program, text))


class _Parser:
    """The pattern, and what has been translated of it. For each group that is open: its number, how many
    alternatives are complete, and how many pieces the current one has.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.program: list[Instruction] = []
        self.open: list[list[int]] = [[0, 0, 0]]
        self.groups = 0
        self.complete: set[int] = set()
        while self.at < len(pattern):
            self._piece()
        if len(self.open) > 1:
            raise self._error("Unmatched ( or \\(")
        self._close_group()

    def _error(self, message: str) -> UsageError:
        return UsageError(message, subject=self.pattern)

    def _add(self, kind: str, one: int = 0, other: int = 0) -> None:
        self.program.append((kind, one, other))

    def _close_alternative(self) -> None:
        group = self.open[-1]
        self._add("concatenate", group[2])
        group[1] += 1
        group[2] = 0

    def _close_group(self) -> None:
        self._close_alternative()
        number, alternatives, _pieces = self.open.pop()
        self._add("alternate", alternatives)
        self._add("group", number)

    def _piece(self) -> None:
        """Translate an atom and its repetitions, or what stands between atoms."""
        char = self.pattern[self.at]
        self.at += 1
        if char == "(":
            self.groups += 1
            self.open.append([self.groups, 0, 0])
        elif char == "|":
            self._close_alternative()
        elif char in _REPEATS:
            raise self._error("Invalid preceding regular expression")
        elif char == ")" and len(self.open) > 1:
            self.complete.add(self.open[-1][0])
            self._close_group()
            self._atom_done()
        elif char in _ANCHORS:
            self._assertion(char)
        elif char == "[":
            self._atom("set", self._bracket())
        elif char == "\\":
            self._escape()
        else:
            self._atom("set", EVERY_CHARACTER if char == "." else character_range(char, char))

    def _escape(self) -> None:
        if self.at == len(self.pattern):
            raise self._error("Trailing backslash")
        char = self.pattern[self.at]
        self.at += 1
        if char in _ESCAPED_ASSERTIONS:
            self._assertion(char)
        elif "1" <= char <= "9":
            if int(char) not in self.complete:
                raise self._error("Invalid back reference")
            self._atom("back", int(char))
        else:
            self._atom("set", _SETS.get(char) or character_range(char, char))

    def _assertion(self, char: str) -> None:
        if self.pattern[self.at : self.at + 1] in tuple(_REPEATS):
            raise self._error("Invalid preceding regular expression")
        self._add("assert", ord(char))
        self.open[-1][2] += 1

    def _atom(self, kind: str, argument: int) -> None:
        self._add(kind, argument)
        self._atom_done()

    def _atom_done(self) -> None:
        """Translate all repetitions that follow an atom."""
        while self.at < len(self.pattern) and self.pattern[self.at] in _REPEATS:
            char = self.pattern[self.at]
            self.at += 1
            self._add("repeat", *(self._interval() if char == "{" else _BOUNDS[char]))
        self.open[-1][2] += 1

    def _interval(self) -> tuple[int, int]:
        """Return the bounds in ``{least,most}``, either of which may be missing, or ``{times}``."""
        end = self.pattern.find("}", self.at)
        least, comma, most = self.pattern[self.at : max(end, self.at)].partition(",")
        if end < 0 or not (least or comma) or not all(_is_number(bound) for bound in (least, most) if bound):
            raise self._error("Invalid content of \\{\\}")
        low = int(least or 0)
        high = int(most) if most else _MOST if comma else low
        if low > high or high > _MOST:
            raise self._error("Invalid content of \\{\\}" if low > high else "Regular expression too big")
        self.at = end + 1
        return low, -1 if comma and not most else high

    def _bracket(self) -> int:
        """Return the members of a bracket expression."""
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        members = 0
        first = True
        while first or not self.pattern.startswith("]", self.at):
            low = self._member(first=first)
            first = False
            if isinstance(low, int):
                members |= low
                if self._is_range():
                    raise self._error("Invalid range end")
                continue
            high: int | str = low
            if self._is_range():
                self.at += 1
                high = self._member(first=True)
            if isinstance(high, int) or high < low:
                raise self._error("Invalid range end")
            members |= character_range(low, high)
        self.at += 1
        return EVERY_CHARACTER ^ members if negated else members

    def _is_range(self) -> bool:
        """Tell whether a ``-`` follows that is not the last in its bracket."""
        return self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at)

    def _member(self, *, first: bool) -> int | str:
        """Return the next character in a bracket, or the characters of a class.

        ``first`` says that a ``-`` stands for itself here: elsewhere it does only at the end.
        """
        pattern, at = self.pattern, self.at
        if at >= len(pattern):
            raise self._error("Unmatched [, [^, [:, [., or [=")
        if pattern[at] == "-" and not first and not pattern.startswith("-]", at):
            raise self._error("Invalid range end")
        kind = pattern[at + 1 : at + 2]
        if pattern[at] != "[" or kind not in (":", ".", "="):
            self.at += 1
            return pattern[at]
        end = pattern.find(f"{kind}]", at + 2)
        if end < 0:
            raise self._error("Unmatched [, [^, [:, [., or [=")
        name = pattern[at + 2 : end]
        self.at = end + 2
        if kind == ":":
            try:
                return character_class(name)
            except KeyError:
                raise self._error("Invalid character class name") from None
        if len(name) != 1:
            raise self._error("Invalid collation character")
        return character_range(name, name) if kind == "=" else name


_BOUNDS = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
