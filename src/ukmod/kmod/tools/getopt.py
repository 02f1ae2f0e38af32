"""getopt_long(3) as the C library has it: abbreviations, permutation and its very messages.

Python's own getopt has other messages, and argparse other rules; both cost more to import than modprobe has
time.
"""

from __future__ import annotations

import os

from ukmod.errors import UsageError
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

__all__ = ["LongOption", "getopt"]


@record
class LongOption:
    """A long option; ``key`` is the letter it stands for, or a word of its own if it has none."""

    name: str
    key: str
    takes_value: bool = False


def getopt(
    argv: Sequence[str], short: str, long: Sequence[LongOption], *, posix: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield each option of ``argv[1:]`` as (key, value), then the other words with an empty key.

    ``short`` is getopt's string of letters, ``:`` after those that take a value; a leading ``+``, or
    ``posix`` ($POSIXLY_CORRECT), ends the options at the first word. UsageError with the C library's
    message, without the program's name, for what is no option; what came before it has been yielded by then,
    as in C.
    """
    posix = posix or short.startswith("+")
    words: list[str] = []
    at = 1
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--":
            words += argv[at:]
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            if posix:
                words += argv[at:]
                break
        elif word.startswith("--"):
            option, value = _long(word[2:], long)
            if value is None and option.takes_value:
                if at == len(argv):
                    raise UsageError(f"option '--{option.name}' requires an argument")
                value = argv[at]
                at += 1
            yield option.key, value or ""
        else:
            at = yield from _letters(word, argv, at, short)
    for word in words:
        yield "", word


def _letters(word: str, argv: Sequence[str], at: int, short: str) -> Generator[tuple[str, str], None, int]:
    """Yield the options of a word like ``-av``; return where the command line continues."""
    for position, letter in enumerate(word[1:], 2):
        where = short.find(letter)
        if where < 0 or letter in ":+":
            byte = os.fsdecode(os.fsencode(letter)[:1])  # to the C library, each byte is a letter
            raise UsageError(f"invalid option -- '{byte}'")
        if short[where + 1 : where + 2] != ":":
            yield letter, ""
        elif position < len(word):
            yield letter, word[position:]
            break
        elif at < len(argv):
            yield letter, argv[at]
            at += 1
        else:
            raise UsageError(f"option requires an argument -- '{letter}'")
    return at


def _long(text: str, long: Sequence[LongOption]) -> tuple[LongOption, str | None]:
    """Find the option a word like ``dry-run`` or ``set-v=6.1`` means."""
    name, equals, value = text.partition("=")
    matches = [option for option in long if option.name.startswith(name)]
    exact = [option for option in matches if option.name == name]
    if exact:
        matches = exact
    if not matches:
        raise UsageError(f"unrecognized option '--{text}'")
    option = matches[0]
    different = [o for o in matches if (o.key, o.takes_value) != (option.key, option.takes_value)]
    if different:
        possibilities = " ".join(f"'--{other.name}'" for other in (option, *different))
        raise UsageError(f"option '--{text}' is ambiguous; possibilities: {possibilities}")
    if equals and not option.takes_value:
        raise UsageError(f"option '--{option.name}' doesn't allow an argument")
    return option, value if equals else None
