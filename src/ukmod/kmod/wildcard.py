"""fnmatch(3) without flags, as the C library has it in the C locale.

Python's own fnmatch knows no backslash and no character classes, and compiles a regular expression for each
pattern: modules.alias has tens of thousands, each tried once.

The places in the text that some of a pattern may lead to are the bits of one integer. Nothing is tried twice,
so a match takes at most the product of both lengths, whatever the pattern.
"""

from __future__ import annotations

__all__ = [
    "EVERY_CHARACTER",
    "Matcher",
    "States",
    "bytewise",
    "character_class",
    "character_range",
    "fnmatch",
]

_CLASSES = {
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "blank": "\t\t  ",
    "cntrl": "\0\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\r  ",
    "upper": "AZ",
    "xdigit": "09AFaf",
}
"""The first and last character of each range."""
_LONGEST_CLASS = 256
"""The length of a class's name from which on the C library refuses it without a look at the rest."""
EVERY_CHARACTER = (1 << 256) - 1
_SPECIAL = "*?[\\"
_LONGEST_OPEN = 1024
"""Bytes of a bracket expression that is waited for; one with each of the 255 bytes is shorter."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    States = tuple[int, str]
    """The places in the text that some of a pattern leads to, as bits, and the characters after that which
    need more of the pattern: an open bracket or a backslash. Negative bits: only the whole pattern tells."""
else:
    States = tuple


def character_class(name: str) -> int:
    """Return the characters of a class, such as ``alnum``, as bits; KeyError if there is no such class."""
    bounds = _CLASSES[name]
    return sum(character_range(low, high) for low, high in zip(bounds[::2], bounds[1::2], strict=True))


def character_range(low: str, high: str) -> int:
    """Return the characters from one to another, as bits: none if they are in the wrong order."""
    return (2 << ord(high)) - (1 << ord(low)) if low <= high else 0


def bytewise(text: str) -> str:
    """Return text with one character for each byte, which is what the C locale knows."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def fnmatch(pattern: str, text: str) -> bool:
    """Tell whether the whole text matches the pattern (``*``, ``?``, ``[...]``, backslash)."""
    for char in _SPECIAL:
        if char in pattern:
            break
    else:
        return pattern == text  # as most patterns of modprobe.d, of which there may be thousands
    plain = min(at for char in _SPECIAL if (at := pattern.find(char)) >= 0)
    return text.startswith(pattern[:plain]) and Matcher(bytewise(text)).matches(bytewise(pattern))


class Matcher:
    """Many patterns against one text. Both have a character for each byte (:func:`bytewise`)."""

    __slots__ = ("_all", "_at", "_sets", "_text")

    START: States = (1, "")

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = (2 << len(text)) - 1
        self._at: dict[str, int] = {}
        self._sets: dict[int, int] = {}
        for place, char in enumerate(text):
            self._at[char] = self._at.get(char, 0) | 1 << place

    def matches(self, pattern: str) -> bool:
        """Tell whether a pattern matches the whole text."""
        states, at, end = 1, 0, len(pattern)
        dead: set[int] = set()
        while states and at < end:
            char = pattern[at]
            at += 1
            if char == "[" and (bracket := _bracket(pattern, at, dead)) is not None:
                members, at = bracket
                states = (states & self._places(members)) << 1
            elif char == "\\":
                states = self._step(states, pattern[at : at + 1], literal=True)
                at += 1
            else:  # an unclosed bracket stands for itself
                states = self._step(states, char)
        return bool(states >> len(self._text))

    def advance(self, states: States, pattern: str) -> States:
        """Return the states after some more of a pattern; no bits if it cannot match any more."""
        places, rest = states
        if places < 0:
            return states
        pattern = rest + pattern
        at, end = 0, len(pattern)
        while places and at < end:
            char = pattern[at]
            if char == "[":
                # The first character in it does not close it.
                close = pattern.find("]", at + 2 + pattern.startswith(("!", "^"), at + 1))
                if close < 0:
                    return (places, pattern[at:]) if end - at < _LONGEST_OPEN else (-1, "")
                inside = pattern[at + 1 : close]
                if "[" in inside or "\\" in inside:
                    return -1, ""
                members = _bracket(pattern, at + 1, set())
                places = (places & self._places(members[0] if members else 0)) << 1
                at = close
            elif char == "\\":
                at += 1
                if at == end:
                    return places, char
                places = self._step(places, pattern[at], literal=True)
            else:
                places = self._step(places, char)
            at += 1
        return places, ""

    def accepts(self, states: States) -> bool | None:
        """Tell whether the pattern that led to ``states`` matches; None if only the whole pattern tells."""
        places, rest = states
        return None if places < 0 or rest else bool(places >> len(self._text))

    def _step(self, states: int, char: str, *, literal: bool = False) -> int:
        if literal or char not in "*?":
            return (states & self._at.get(char, 0)) << 1
        if char == "?":
            return states << 1 & self._all
        return -(states & -states) & self._all  # the first place, and all after it

    def _places(self, members: int) -> int:
        """Return the places in the text that have a character of a set."""
        if members not in self._sets:
            places = 0
            for char, where in self._at.items():
                if members >> ord(char) & 1:
                    places |= where
            self._sets[members] = places
        return self._sets[members]


def _bracket(pattern: str, at: int, dead: set[int]) -> tuple[int, int] | None:
    """Return the set of a bracket expression, as bits by character, and the place after it.

    None if it is not closed. ``at`` is behind its ``[``. The set of a malformed one has the elements before
    the fault, as the C library looks no further once it has found the character; that of a negated one is
    empty. ``dead`` are the places from which an earlier bracket was searched for its end in vain; more are
    added.
    """
    negated = pattern.startswith(("!", "^"), at)
    at += negated
    first = at
    members = 0
    tried = []
    while at < len(pattern) and at not in dead:
        if pattern[at] == "]" and at > first:
            return (EVERY_CHARACTER ^ members if negated else members), at + 1
        if at > first:
            tried.append(at)
        element = _element(pattern, at)
        if element is None:
            after = None if negated else _skip(pattern, at)
            return (0, len(pattern)) if after is None else (members, after)
        members |= element[0]
        at = element[1]
    dead.update(tried)
    return None


def _skip(pattern: str, at: int) -> int | None:
    """Return the place after a bracket expression whose rest does not matter; None if it is not closed."""
    while at < len(pattern):
        char, kind = pattern[at], pattern[at : at + 2]
        at += 1
        if char == "]":
            return at
        if char == "\\":
            at += 1
        elif kind == "[:" and (close := pattern.find(":]", at + 1, at + 1 + _LONGEST_CLASS)) > 0:
            if _could_be_class(pattern[at + 1 : close]):
                at = close + 2
        elif kind == "[.":
            close = pattern.find(".]", at + 1)
            if close < 0:
                return None
            at = close + 2
        elif kind == "[=":
            if pattern[at + 2 : at + 4] != "=]":
                return None
            at += 4
    return None


def _could_be_class(name: str) -> bool:
    """Tell whether the C library takes this for a class's name, known or not. It has no "z" in names."""
    return all("a" <= letter < "z" for letter in name)


def _element(pattern: str, at: int) -> tuple[int, int] | None:
    """Return the set of one element of a bracket expression, and the place after it; None if malformed."""
    kind = pattern[at : at + 2]
    if kind == "[:":
        close = pattern.find(":]", at + 2, at + 2 + _LONGEST_CLASS)
        name = pattern[at + 2 : close]
        if close > 0 and name in _CLASSES:
            return character_class(name), close + 2
        if close > 0 and _could_be_class(name):
            return None
    if kind == "[=" and pattern[at + 3 : at + 5] == "=]":
        return character_range(pattern[at + 2], pattern[at + 2]), at + 5
    bound = _bound(pattern, at)
    if bound is None:
        return None
    low, at = bound
    if pattern.startswith("-", at) and at + 1 < len(pattern) and pattern[at + 1] != "]":
        bound = _bound(pattern, at + 1)
        return None if bound is None else (character_range(low, bound[0]), bound[1])
    return character_range(low, low), at


def _bound(pattern: str, at: int) -> tuple[str, int] | None:
    """Return a character that may begin or end a range, and the place after it; None if malformed."""
    if pattern.startswith("[.", at):
        return (pattern[at + 2], at + 5) if pattern[at + 3 : at + 5] == ".]" else None
    if pattern[at] == "\\":
        at += 1
    return (pattern[at], at + 1) if at < len(pattern) else None
