"""The words of GRUB's scripts, with the values that its variables may have."""

from __future__ import annotations

import re
from itertools import islice, product

from ukmod.kmod.bootfiles import text_of
from ukmod.kmod.grub.syntax import ScriptCommand, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ukmod.kmod.grub.syntax import ScriptWord
    from ukmod.kmod.host import Files

__all__ = [
    "MOST_WAYS",
    "ScriptVariables",
    "environment_block",
    "is_unknown",
    "kernel_line",
    "loader_text",
    "readings_of",
]

MOST_WAYS = 64
"""Values of a variable, and readings of a command, that are followed."""
_MOST_WORDS = 4096
_LONGEST_WORD = 1 << 14
"""Words of a command, and characters of a word, that are kept; no kernel takes as long a command line."""
_OWN = re.compile(
    r"feature_|grub_|net_|pxe_|efi|lang|root$|cmdpath$|chosen$|\?$|\*$|@$|#$|\d+$|shim|lockdown"
)
"""Variables that GRUB sets by itself, or that stand for arguments and exit statuses."""


class ScriptVariables:
    """GRUB's variables: the values that each may have. A submenu sees those that are exported."""

    __slots__ = ("exported", "values")

    def __init__(self, values: dict[str, tuple[str, ...]], exported: frozenset[str] = frozenset()) -> None:
        self.values = values
        self.exported = exported

    def copy(self) -> ScriptVariables:
        """Return a copy, which changes by itself."""
        return ScriptVariables(dict(self.values), self.exported)

    def of(self, name: str) -> tuple[str, ...]:
        """Return the values that a variable may have: one that is not set is empty."""
        return self.values.get(name, ("",))

    def replaced(self, text: str, pattern: re.Pattern[str]) -> Iterator[str]:
        """Yield a loader entry's text with its variables replaced, each with a blank behind it."""
        names = list(dict.fromkeys(pattern.findall(text)))
        for values in islice(product(*map(self.of, names)), MOST_WAYS):
            chosen = dict(zip(names, values, strict=True))
            parts = pattern.split(text)  # every second one is a name
            yield "".join([f"{chosen[one]} " if at % 2 else one for at, one in enumerate(parts)])

    def become_one_of(self, ways: Sequence[ScriptVariables]) -> None:
        """Let each variable have all the values that it has in one of these."""
        names = dict.fromkeys(name for way in ways for name in way.values)
        self.values = {
            name: tuple(dict.fromkeys(value for way in ways for value in way.of(name)))[:MOST_WAYS]
            for name in names
        }
        self.exported = frozenset().union(*(way.exported for way in ways))

    def in_submenu(self) -> ScriptVariables:
        """Return what a submenu sees: GRUB copies what is exported, Fedora's GRUB everything."""
        values = {
            name: values if name in self.exported else tuple(dict.fromkeys((*values, "")))
            for name, values in self.values.items()
        }
        return ScriptVariables(values, self.exported)


def environment_block(files: Files, path: str) -> dict[str, str]:
    """Return the variables of an environment block (grubenv), where a backslash keeps the next character."""
    lines = re.findall(r"^([^#\n][^=\n]*)=((?:\\.|[^\\\n])*)", text_of(files, path), re.MULTILINE | re.DOTALL)
    return {name: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in lines}


def kernel_line(text: str) -> str:
    """Return the command line that the arguments of ``linux`` come to, as GRUB reads and writes them."""
    nodes = parse(f"linux {text}")
    words = nodes[0].words if nodes and isinstance(nodes[0], ScriptCommand) else ()
    return loader_text(readings_of(words, ScriptVariables({}))[0][1:])


def loader_text(arguments: Iterable[str]) -> str:
    """Return a kernel's command line as GRUB writes it.

    A word with a blank is put in quotes; quotes and backslashes inside of words get a backslash, except in
    an escaped byte.
    """
    escaped = (re.sub(r"\\x[0-9a-fA-F]{2}|[\\'\"]", _escaped, word) for word in arguments)
    return " ".join([f'"{word}"' if " " in word else word for word in escaped])


def _escaped(found: re.Match[str]) -> str:
    return found[0] if len(found[0]) > 1 else f"\\{found[0]}"


def readings_of(words: Iterable[ScriptWord], variables: ScriptVariables) -> list[list[str]]:
    """Return the words of a command, in each way that its variables' values make possible."""
    names = dict.fromkeys(piece.text for word in words for piece in word if piece.is_variable)
    values = product(*(variables.of(name) for name in names))
    chosen = (dict(zip(names, one, strict=True)) for one in islice(values, MOST_WAYS))
    return [
        list(islice((text for word in words for text in _texts(word, one)), _MOST_WORDS)) for one in chosen
    ]


def _texts(word: ScriptWord, values: dict[str, str]) -> Iterator[str]:
    """Yield the words that a word becomes: an unquoted variable is split at blanks, and may be nothing."""
    current: str | None = None
    for piece in word:
        if not piece.split:
            part = values[piece.text] if piece.is_variable else piece.text
            current = ((current or "") + part)[:_LONGEST_WORD]
            continue
        for number, part in enumerate(values[piece.text].split()):
            if number and current is not None:
                yield current
                current = None
            current = ((current or "") + part)[:_LONGEST_WORD]
    if current is not None:
        yield current


def is_unknown(word: ScriptWord, variables: ScriptVariables) -> bool:
    """Tell whether a word has a variable that only GRUB knows, at the start of the machine."""
    return any(
        piece.is_variable and piece.text not in variables.values and _OWN.match(piece.text) for piece in word
    )
