"""Module parameters on the kernel's command line.

``mod.param[=value]`` is an option of a module, ``modprobe.blacklist=a,b`` blacklists ("man modprobe(8)",
"man modprobe.d(5)"). A value may be quoted, and so may the whole word, which is what grub makes of
``mod.param="a b"``. A word that is anything else (no dot, a second dot, a stray quote) is not for modprobe.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["READ_LIMIT", "module_parameters"]

READ_LIMIT = 4095
"""Bytes of /proc/cmdline that kmod looks at."""

_SPACES = " \n\t\v\f\r"


def module_parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield (module, "param" or "param=value") for each such word, in order; names as they are spelled."""
    for word, quoted in _words(text.partition("\0")[0]):
        module, dot, param = word.partition(".")
        name, equals, _value = param.partition("=")
        if not dot or "=" in module or '"' in module or '"' in name or "." in name:
            continue
        if not quoted:
            yield module, param
        elif equals:
            # The opening quote moves to where the user had put it; the closing one is in place.
            yield module, param.replace("=", '="', 1)


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Split at blanks outside quotes; say whether a word began with a quote, which is then left out.

    A quote left open swallows the rest, and the word with it. Blanks inside quotes belong to a value only:
    before its ``=`` they make the word ill-formed, which ``_complete`` finds out.
    """
    start: int | None = None
    in_quotes = False
    for at, char in enumerate(text + "\n"):
        if char == '"':
            in_quotes = not in_quotes
        if char not in _SPACES or in_quotes:
            if start is None:
                start = at
        elif start is not None:
            word = text[start:at]
            start = None
            if _complete(word):
                yield (word[1:], True) if word.startswith('"') else (word, False)


def _complete(word: str) -> bool:
    """Tell whether blanks, if any, are in the value."""
    return not any(space in word.partition("=")[0] for space in _SPACES)
