"""The lines of a configuration file, with those that modprobe does not take as they look."""

from __future__ import annotations

import difflib
import os
import re

from ukmod.kmod.config import END_ESCAPED, Config, Source, logical_lines, parse_line
from ukmod.kmod.lint.finding import Finding
from ukmod.kmod.names import normalize_modname
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.config import Alias, Blacklist, Command, Options, Softdep, Weakdep
    from ukmod.kmod.host import Files

    LineEntry = Alias | Blacklist | Command | Options | Softdep | Weakdep

__all__ = ["DIRECTIVES", "ConfigLine", "read_lines", "syntax_findings"]

DIRECTIVES = ("alias", "blacklist", "install", "options", "remove", "softdep", "weakdep")
_NEEDS = {
    "alias": "alias PATTERN MODULE",
    "blacklist": "blacklist MODULE",
    "install": "install MODULE COMMAND",
    "options": "options MODULE PARAMETER=VALUE",
    "remove": "remove MODULE COMMAND",
    "softdep": "softdep MODULE pre: MODULE... post: MODULE...",
    "weakdep": "weakdep MODULE MODULE...",
}
_MARK = "\ufeff"


@record
class ConfigLine:
    """A line of modprobe.d, continuations joined, and what modprobe makes of it.

    ``raw`` are the physical lines. ``entry`` is None for a comment, an empty line, or one that is refused.
    """

    source: Source
    raw: tuple[str, ...]
    text: str
    directive: str
    entry: LineEntry | None

    @property
    def words(self) -> str:
        """The line as it was written."""
        return " ".join([line.strip() for line in self.raw])

    @property
    def names(self) -> tuple[str, ...]:
        """The line's words, as names of modules."""
        return tuple([normalize_modname(word) for word in re.split(r"[\s,]+", self.words) if word])


def read_lines(files: Files, path: str) -> list[ConfigLine]:
    """Return the lines of a file; none of one that cannot be read."""
    try:
        text = os.fsdecode(files.read(path))
    except OSError:
        return []
    physical = text.split("\n")
    lines = []
    start = 0
    for number, line in logical_lines(text):
        config = Config()
        source = Source(path, number)
        parse_line(config, line, source)
        words = line.split(None, 1)
        directive = words[0] if words and not line.startswith("#") else ""
        raw = tuple(physical[start:number])
        lines.append(ConfigLine(source, raw, line, directive, _entry(config)))
        start = number
    return lines


def _entry(config: Config) -> LineEntry | None:
    every: list[LineEntry] = [
        *config.aliases, *config.blacklists, *config.install, *config.options, *config.remove,
        *config.softdeps, *config.weakdeps,
    ]  # fmt: skip
    return every[0] if every else None


def syntax_findings(lines: list[ConfigLine]) -> Iterator[Finding]:
    """Yield what is wrong with lines whatever the system is."""
    returns = next((line for line in lines if line.entry is not None and line.raw[-1].endswith("\r")), None)
    if returns is not None:
        text = "lines end with a carriage return, which becomes a part of the last word"
        fix = f"sed -i 's/\\r$//' {returns.source.file}"
        about = tuple([name for line in lines for name in line.names])
        yield Finding("carriage-return", "error", returns.source, returns.words, text, fix, about)
    for line in lines:
        finding = _refused(line) if line.directive and line.entry is None else None
        finding = finding or _continued(line) or _backslash(line) or _extra_words(line)
        if finding is not None:
            yield finding


def _found(kind: str, line: ConfigLine, text: str, fix: str, severity: str = "error") -> Finding:
    return Finding(kind, severity, line.source, line.words, text, fix, line.names)


def _refused(line: ConfigLine) -> Finding | None:
    word = line.directive
    plain = word.strip("\r")
    if word.startswith((_MARK, "ï»¿")):
        text = "the file begins with a byte order mark, so that this line is not read"
        return _found("byte-order-mark", line, text, f"sed -i '1s/^\\xEF\\xBB\\xBF//' {line.source.file}")
    if not plain:
        return None
    if word.startswith("#"):
        text = "a comment begins in the first column: modprobe complains of this line"
        return _found("indented-comment", line, text, line.text.strip(), "note")
    if word in {"include", "config"}:
        text = f"{word} lines are not read any more"
        return _found("old-directive", line, text, "put the lines themselves into a file of modprobe.d")
    if word in DIRECTIVES:
        return _found("incomplete", line, "the line is incomplete, and not read", f"write: {_NEEDS[word]}")
    if plain.lower() in DIRECTIVES:
        text = f"there is no directive {plain}: small letters are meant"
        return _found("letter-case", line, text, f"{plain.lower()}{line.text.strip()[len(word) :]}")
    near = difflib.get_close_matches(plain.lower(), DIRECTIVES, n=1)
    fix = f"write {near[0]}" if near else "make it a comment, with # in the first column"
    return _found("unknown-directive", line, f"there is no directive {plain}: the line is not read", fix)


def _continued(line: ConfigLine) -> Finding | None:
    """Find a line that has swallowed another."""
    swallowed = [text for text in line.raw[1:] if text.split()[:1] and text.split()[0] in DIRECTIVES]
    if not swallowed:
        return None
    what = "a comment" if line.text.startswith("#") else "the line"
    text = f"{what} continues behind a backslash: '{swallowed[0].strip()}' is a part of it, and not read"
    return _found("continuation", line, text, "remove the backslash at the end of the line before")


def _backslash(line: ConfigLine) -> Finding | None:
    if line.entry is not None and line.text.endswith(END_ESCAPED):
        text = "a backslash at the end of the file becomes a part of the last word"
        return _found("backslash", line, text, line.words.rstrip("\\").rstrip())
    if line.entry is None or line.directive in {"install", "remove", "options"}:
        return None
    if not any("\\" in text.rstrip("\\") for text in line.raw):
        return None
    return _found("backslash", line, "a backslash vanishes: the next character stands for itself", line.text)


def _extra_words(line: ConfigLine) -> Finding | None:
    limit = {"blacklist": 2, "alias": 3}.get(line.directive)
    words = line.text.split()
    if line.entry is None or limit is None or len(words) <= limit or words[limit].startswith("#"):
        return None
    rest = words[limit:]
    text = f"only {' '.join(words[1:limit])} counts: {' '.join(rest)} is passed over"
    if line.directive == "alias":
        return _found("extra-words", line, text, " ".join(words[:limit]))
    return _found("extra-words", line, text, "; ".join([f"blacklist {word}" for word in words[1:]]))
