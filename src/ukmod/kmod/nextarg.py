"""Parameters on a command line, as the kernel splits it: next_arg() of Linux's lib/cmdline.c."""

from __future__ import annotations

from ukmod.record import record

__all__ = ["SPACES", "Arg", "Cuts", "cut", "next_arg"]

SPACES = b" \t\n\v\f\r\xa0"
"""The characters for which the kernel's isspace() is true; its table is that of Latin-1."""


@record
class Arg:
    """One parameter of a command line; ``value`` is None if there is no equals sign."""

    name: bytes
    value: bytes | None
    rest: bytes
    """The rest of the line, without leading spaces."""


@record
class Cuts:
    """The offsets at which the parts of a line begin, and those (``ends``) that NULs must overwrite."""

    name: int
    value: int | None
    rest: int
    ends: tuple[int, ...]


def next_arg(line: bytes) -> Arg:
    """Take the first parameter off a line: next_arg().

    Quotes protect spaces anywhere, but only quotes around the whole parameter or around its value are
    removed.
    """
    cuts = cut(line)
    text = bytearray(line + b"\0")
    for end in cuts.ends:
        text[end] = 0

    def string(start: int) -> bytes:
        return bytes(text[start : text.index(0, start)])

    return Arg(string(cuts.name), None if cuts.value is None else string(cuts.value), line[cuts.rest :])


def cut(line: bytes) -> Cuts:
    """Find the parts of the first parameter of a line."""
    quoted = line[:1] == b'"'
    start = 1 if quoted else 0
    end, equals = (start + at for at in _scan(line[start:], in_quote=quoted))
    ends, value = [], None
    last_quote = [end - 1] if end > start and line[end - 1 : end] == b'"' else []
    if equals > start:
        ends.append(equals)
        value = equals + 1
        if line[value : value + 1] == b'"':
            value += 1
            ends += last_quote
    if quoted:
        ends += last_quote
    rest = line[end:]
    if rest:
        ends.append(end)
    return Cuts(start, value, len(line) - len(rest[1:].lstrip(SPACES)), tuple(ends))


def _scan(text: bytes, *, in_quote: bool) -> tuple[int, int]:
    """The offsets of the parameter's end and its first equals sign (0 if none; a leading one is ignored)."""
    equals = 0
    for at, byte in enumerate(text):
        if byte in SPACES and not in_quote:
            return at, equals
        if byte == ord("=") and not equals:
            equals = at
        if byte == ord('"'):
            in_quote = not in_quote
    return len(text), equals
