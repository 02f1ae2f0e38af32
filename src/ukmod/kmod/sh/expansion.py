"""Expansion of words into fields, as far as the values of variables are known (POSIX XCU 2.6)."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ukmod.kmod.sh.syntax import Word, WordPart

    Variables = Callable[[str], str | None]
    """The value of a variable by its name; None if it is not known."""

__all__ = ["fields_of", "value_of"]

_PATTERN = frozenset("*?[{")
_BLANK_OR_TEXT = re.compile(r"[ \t\n]+|[^ \t\n]+")


def value_of(word: Word, variables: Variables) -> str | None:
    """Return the value that an assignment gives: it is not split. None if it is not known."""
    values = [_value(part, variables) for part in word]
    return None if None in values else "".join(map(str, values))


def fields_of(words: Iterable[Word], variables: Variables) -> list[str | None]:
    """Return the fields that words become; None for one that is not known, or may be a pattern of files."""
    return [field for word in words for field in _fields(word, variables)]


def _fields(word: Word, variables: Variables) -> list[str | None]:
    complete: list[str | None] = []
    field: str | None = None
    for part in word:
        value = _value(part, variables)
        if value is None or (not part.quoted and _may_be_pattern(value)):
            return [*complete, None]
        if part.quoted:
            field = (field or "") + value
            continue
        for piece in _BLANK_OR_TEXT.findall(value):
            if not piece.strip(" \t\n"):
                complete += [] if field is None else [field]
                field = None
            else:
                field = (field or "") + piece
    return complete if field is None else [*complete, field]


def _may_be_pattern(value: str) -> bool:
    """Tell whether file names may take a text's place; a bracket or a brace alone is not one."""
    return bool(_PATTERN & set(value)) and value not in {"[", "{"}


def _value(part: WordPart, variables: Variables) -> str | None:
    if part.kind == "text":
        return part.text
    return variables(part.text) if part.kind == "variable" else None
