"""Output for people: safe on any terminal and in any encoding, coloured where that helps.

Without --color, colours are written to a terminal only, and not where NO_COLOR is set (no-color.org) or TERM
is dumb.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress

from ukmod.kmod.visible import escape, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TextIO

__all__ = [
    "GREEN",
    "RED",
    "columns",
    "has_colour",
    "near",
    "one_line_warnings",
    "painted",
    "prepare_streams",
    "write",
    "write_lines",
]

RED, GREEN = "31", "32"
"""SGR parameters of ECMA-48."""


def prepare_streams() -> None:
    """Make the standard streams take any text, whatever their encoding; a closed one gives an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before we started: writing then gives EBADF
            null = os.open(os.devnull, os.O_RDONLY)
            setattr(sys, name, open(null, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def write(text: str, colours: Mapping[str, str] | None = None, *, when: str = "auto") -> None:
    """Write text to standard output, escaped; ``colours`` are those of words in it.

    when: "always", "never", or "auto": on a terminal.
    """
    text = escape(text)
    coloured = has_colour(sys.stdout) if when == "auto" else when == "always"
    sys.stdout.write(painted(text, colours) if colours and coloured else text)


def write_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Write lines to a stream, or to standard output; a newline within a line is shown, not obeyed."""
    (stream or sys.stdout).writelines(f"{one_line(line)}\n" for line in lines)


@contextmanager
def one_line_warnings(program: str) -> Iterator[None]:
    """Show each warning of the library as a line of the program's, without the place in the source."""
    import warnings

    def show(message: Warning | str, *_: object) -> None:
        write_lines([f"{program}: warning: {message}"], sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def columns() -> int:
    """Return how many columns COLUMNS or the terminal has; 80 if neither says it.

    shutil.get_terminal_size() says the same, but importing it loads the decoders of three archive formats.
    """
    with suppress(KeyError, ValueError):
        if (given := int(os.environ["COLUMNS"])) > 0:
            return given
    with suppress(AttributeError, ValueError, OSError):  # it is closed, or no terminal
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    return 80


def has_colour(stream: TextIO) -> bool:
    """Tell whether colours are wanted on a stream."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colours: Mapping[str, str]) -> str:
    """Return the text with the lines in colour that begin with one of these words."""
    lines = []
    for line in text.split("\n"):
        code = next((code for word, code in colours.items() if line.lstrip().startswith(word)), None)
        lines.append(line if code is None else f"\x1b[{code}m{line}\x1b[0m")
    return "\n".join(lines)


def near(word: str, known: Iterable[str]) -> str:
    """Return what to add to the message about an unknown word: the known ones that are like it."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""
