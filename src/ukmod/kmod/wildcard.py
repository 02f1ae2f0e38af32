"""fnmatch(3) without flags, as the C library has it.

Python's own fnmatch knows no backslash and no character classes, and compiles a regular expression for each
pattern: modules.alias has tens of thousands, each tried once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fnmatch"]

_CLASSES: dict[str, Callable[[str], bool]] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "blank": lambda c: c in " \t",
    "cntrl": lambda c: ord(c) < 32 or ord(c) == 127,
    "digit": lambda c: c.isascii() and c.isdigit(),
    "graph": lambda c: 33 <= ord(c) < 127,
    "lower": lambda c: c.isascii() and c.islower(),
    "print": lambda c: 32 <= ord(c) < 127,
    "punct": lambda c: 33 <= ord(c) < 127 and not c.isalnum(),
    "space": lambda c: c in " \t\n\v\f\r",
    "upper": lambda c: c.isascii() and c.isupper(),
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}


def _bracket(pattern: str, start: int, char: str) -> tuple[bool, int] | None:
    """Match one character against the expression whose ``[`` is just before ``start``.

    Returns whether it matches and where the pattern continues, or None if the bracket is not closed.
    """
    at, end = start, len(pattern)
    negated = at < end and pattern[at] in "!^"
    at += negated
    first, found = True, False
    while True:
        if at >= end:
            return None
        low = pattern[at]
        at += 1
        if low == "]" and not first:
            return found != negated, at
        first = False
        if low == "[" and pattern[at : at + 1] == ":" and (close := pattern.find(":]", at + 1)) > 0:
            member = _CLASSES.get(pattern[at + 1 : close])
            if member is None:
                return None
            found = found or member(char)
            at = close + 2
            continue
        if low == "\\":
            if at >= end:
                return None
            low = pattern[at]
            at += 1
        if pattern[at : at + 1] == "-" and at + 1 < end and pattern[at + 1] != "]":
            at += 1
            if pattern[at] == "\\" and at + 1 < end:
                at += 1
            found = found or low <= char <= pattern[at]
            at += 1
        else:
            found = found or low == char


def fnmatch(pattern: str, text: str) -> bool:
    """Tell whether the whole text matches the pattern (``*``, ``?``, ``[...]``, backslash)."""
    at = pos = 0
    star = mark = -1  # where to go back to: the last `*`, and the text it has swallowed up to
    while pos < len(text):
        step = _step(pattern, at, text[pos]) if at < len(pattern) and pattern[at] != "*" else None
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, pos
            at += 1
        elif step is not None:
            at = step
            pos += 1
        elif star >= 0:
            mark += 1
            at, pos = star + 1, mark
        else:
            return False
    return all(char == "*" for char in pattern[at:])


def _step(pattern: str, at: int, char: str) -> int | None:
    """Match one character against the pattern's item at ``at``; where the next item begins, or None."""
    item = pattern[at]
    if item == "?":
        return at + 1
    if item == "[":
        matched = _bracket(pattern, at + 1, char)
        if matched is not None:
            return matched[1] if matched[0] else None
    elif item == "\\":
        at += 1
        item = pattern[at : at + 1]  # nothing follows: matches nothing
    return at + 1 if item == char else None
