"""modprobe's configuration: modprobe.d, modules.softdep, modules.weakdep and the kernel's command line.

The rules are those of "man modprobe.d(5)" and, where that is silent, what kmod does. Each entry keeps where
it was written, so that a decision can name the line behind it.
"""

from __future__ import annotations

import os
import stat

from ukmod.kmod import cmdline
from ukmod.kmod.host import LOG_ERR, silent
from ukmod.kmod.names import normalize_alias
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ukmod.kmod.host import Files, LibraryLog

__all__ = [
    "CONFIG_DIRECTORIES",
    "CONFIG_LIMIT",
    "END_ESCAPED",
    "PROC_CMDLINE",
    "Alias",
    "Blacklist",
    "Command",
    "Config",
    "Options",
    "Softdep",
    "Source",
    "Weakdep",
    "config_files",
    "load_config",
    "logical_lines",
    "parse_cmdline",
    "parse_config",
    "parse_line",
]

CONFIG_DIRECTORIES = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
"""Where configuration lies; a file hides those of the same name in later directories."""

CONFIG_LIMIT = 1 << 24
"""Bytes of a configuration file. Distributions' have some kilobytes; libkmod has no limit."""

END_ESCAPED = os.fsdecode(b"\xff")
"""The character that a backslash at the end of a file becomes."""

_ISSPACE = " \t\n\v\f\r"
"""isspace(3) in the C locale. Python's str.split() also splits at a no-break space, which kmod does not."""
_TO_BLANKS = str.maketrans(dict.fromkeys(_ISSPACE, " "))


@record
class Source:
    """Where something was said: a file and the line (from 1; the last one, if it was continued)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


PROC_CMDLINE = Source("/proc/cmdline")
"""The command line of the kernel that runs."""


@record
class Alias:
    """``alias PATTERN MODULE``, both with underscores."""

    pattern: str
    module: str
    source: Source


@record
class Blacklist:
    """``blacklist MODULE``, or a name in ``modprobe.blacklist=``."""

    module: str
    source: Source


@record
class Options:
    """``options MODULE TEXT``; the text as written, except for tabs; leading blanks are part of it."""

    module: str
    text: str
    source: Source


@record
class Command:
    """``install PATTERN COMMAND`` or ``remove PATTERN COMMAND``."""

    pattern: str
    command: str
    source: Source


@record
class Softdep:
    """``softdep PATTERN pre: A B post: C D``; the names as written."""

    pattern: str
    pre: tuple[str, ...]
    post: tuple[str, ...]
    source: Source

    def __str__(self) -> str:
        # No blank between the two parts: `modprobe -c` of every kmod prints it so.
        parts = [
            f"{word} {' '.join(names)}" for word, names in (("pre:", self.pre), ("post:", self.post)) if names
        ]
        return "".join(parts)


@record
class Weakdep:
    """``weakdep PATTERN A B``: recorded for builders of initramfs images, never loaded."""

    pattern: str
    weak: tuple[str, ...]
    source: Source


class Config:
    """All entries, each kind in the order in which it applies."""

    __slots__ = ("aliases", "blacklists", "install", "options", "remove", "softdeps", "weakdeps")

    def __init__(self) -> None:
        self.aliases: list[Alias] = []
        self.blacklists: list[Blacklist] = []
        self.options: list[Options] = []
        self.install: list[Command] = []
        self.remove: list[Command] = []
        self.softdeps: list[Softdep] = []
        self.weakdeps: list[Weakdep] = []

    def lines(self) -> Iterator[str]:
        """Yield the entries as ``modprobe --show-config`` prints them."""
        yield from (f"blacklist {entry.module}" for entry in self.blacklists)
        yield from (f"install {entry.pattern} {entry.command}" for entry in self.install)
        yield from (f"remove {entry.pattern} {entry.command}" for entry in self.remove)
        yield from (f"alias {entry.pattern} {entry.module}" for entry in self.aliases)
        yield from (f"options {entry.module} {entry.text}" for entry in self.options)
        yield from (f"softdep {entry.pattern} {entry}" for entry in self.softdeps)
        yield from (f"weakdep {entry.pattern} {' '.join(entry.weak)}" for entry in self.weakdeps)


def load_config(
    dirname: str,
    paths: Sequence[str],
    files: Files,
    *,
    kernel_cmdline: bytes = b"",
    cmdline_source: Source = PROC_CMDLINE,
    log: LibraryLog = silent,
) -> Config:
    """Read the tree's soft and weak dependencies, ``paths`` (files or directories) and the command line.

    A file that cannot be read is passed over, as kmod does; a bad line is logged and passed over.
    """
    config = Config()
    for path in config_files(dirname, paths, files, log):
        try:
            content = files.read(path)
        except OSError:
            continue
        if len(content) > CONFIG_LIMIT:
            log(LOG_ERR, "kmod_config_parse", f"{path}: larger than 16 MiB, passed over")
            continue
        parse_config(config, os.fsdecode(content), path, log)
    parse_cmdline(config, os.fsdecode(kernel_cmdline[: cmdline.READ_LIMIT]), log, cmdline_source)
    return config


def config_files(dirname: str, paths: Sequence[str], files: Files, log: LibraryLog = silent) -> list[str]:
    """Return the configuration files in the order they apply: by name, whatever directory they are in."""
    chosen = {name: f"{dirname}/{name}" for name in ("modules.softdep", "modules.weakdep")}
    for path in paths:
        try:
            is_directory = stat.S_ISDIR(files.stat(path).st_mode)
        except OSError:
            continue
        if not is_directory:
            chosen.setdefault(path.rpartition("/")[2], path)
            continue
        try:
            names = files.listdir(path)
        except OSError as error:
            log(LOG_ERR, "conf_files_list", f"opendir({path}): {error.strerror}")
            continue
        for name in names:
            if _is_config_file(path, name, files, log):
                chosen.setdefault(name, f"{path}/{name}")
    return [chosen[name] for name in sorted(chosen, key=os.fsencode)]


def _is_config_file(directory: str, name: str, files: Files, log: LibraryLog) -> bool:
    if name.startswith(".") or not name.endswith(".conf"):
        return False
    path = f"{directory}/{name}"
    try:
        mode = files.stat(path).st_mode
    except OSError:
        log(LOG_ERR, "conf_files_filter_out", f"Cannot stat directory entry: {path}")
        return False
    if stat.S_ISDIR(mode):
        log(LOG_ERR, "conf_files_filter_out", f"Directories inside directories are not supported: {path}")
        return False
    return True


def parse_config(config: Config, text: str, path: str, log: LibraryLog = silent) -> None:
    """Add the directives of one file's text."""
    for number, line in logical_lines(text):
        parse_line(config, line, Source(path, number), log)


def parse_line(config: Config, line: str, source: Source, log: LibraryLog = silent) -> None:
    """Add the directive of one line, continuations joined."""
    if line.startswith("#"):
        return
    word, rest = _token(line)
    if not word:
        return
    if word in {"include", "config"}:
        message = f"{source.file}: command {word} is deprecated and not parsed anymore"
        log(LOG_ERR, "kmod_config_parse", message)
        return
    add = _DIRECTIVES.get(word)
    if add is None or not add(config, rest, source):
        message = f"{source.file} line {source.line}: ignoring bad line starting with '{word}'"
        log(LOG_ERR, "kmod_config_parse", message)


def parse_cmdline(config: Config, text: str, log: LibraryLog = silent, source: Source = PROC_CMDLINE) -> None:
    """Add what the kernel's command line says."""
    for module, parameter in cmdline.module_parameters(text):
        if module == "modprobe" and parameter.startswith("blacklist="):
            # Not normalized: here, `foo-bar` matches no module, in kmod and so in ukmod.
            names = parameter.partition("=")[2].split(",")
            config.blacklists += [Blacklist(name, source) for name in names]
            continue
        name = normalize_alias(module)
        if name is None:
            message = "Ignoring bad option on kernel command line while parsing module name: "
            log(LOG_ERR, "kcmdline_parse_result", f"{message}'{module}'")
        else:
            config.options.append(Options(name, parameter.replace("\t", " "), source))


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines of modprobe.d or depmod.d; yield the number of the last physical one with each.

    A backslash vanishes before any character, not only before a newline; two stand for one. At the end of the
    file it becomes the byte 255: libkmod takes getc(3)'s EOF for a character.
    """
    number = 1
    if "\\" not in text:
        for number, line in enumerate(text.split("\n"), 1):
            yield number, line.partition("\0")[0]
        return
    parts: list[str] = []
    characters = iter(text)
    for char in characters:
        if char == "\n":
            yield number, "".join(parts).partition("\0")[0]
            parts = []
            number += 1
        elif char == "\\":
            char = next(characters, END_ESCAPED)  # noqa: PLW2901 - the escaped character takes its place
            number += char == "\n"
            parts.append("" if char == "\n" else char)
        else:
            parts.append(char)
    yield number, "".join(parts).partition("\0")[0]


def _token(text: str) -> tuple[str, str]:
    """Cut off the first word and the one blank after it, as strtok_r(3) does; the rest keeps its blanks."""
    text = text.lstrip("\t ")
    for at, char in enumerate(text):
        if char in "\t ":
            return text[:at], text[at + 1 :]
    return text, ""


def _named(rest: str) -> tuple[str | None, str]:
    """Split "NAME REST"; the name is normalized, None if missing or malformed."""
    word, rest = _token(rest)
    return (normalize_alias(word) if word else None), rest


def _add_alias(config: Config, rest: str, source: Source) -> bool:
    pattern, rest = _named(rest)
    module, _ignored = _named(rest)
    if pattern is None or module is None:
        return False
    config.aliases.append(Alias(pattern, module, source))
    return True


def _add_blacklist(config: Config, rest: str, source: Source) -> bool:
    module, _ignored = _named(rest)
    if module is None:
        return False
    config.blacklists.append(Blacklist(module, source))
    return True


def _add_options(config: Config, rest: str, source: Source) -> bool:
    module, text = _named(rest)
    if module is None or not text:
        return False
    config.options.append(Options(module, text.replace("\t", " "), source))
    return True


def _add_install(config: Config, rest: str, source: Source) -> bool:
    return _add_command(config.install, rest, source)


def _add_remove(config: Config, rest: str, source: Source) -> bool:
    return _add_command(config.remove, rest, source)


def _add_command(commands: list[Command], rest: str, source: Source) -> bool:
    pattern, command = _named(rest)
    if pattern is None or not command:
        return False
    commands.append(Command(pattern, command, source))
    return True


def _add_softdep(config: Config, rest: str, source: Source) -> bool:
    pattern, text = _named(rest)
    if pattern is None or not text:
        return False
    names: dict[str, list[str]] = {"": [], "pre:": [], "post:": []}
    mode = ""
    for word in _dependency_words(text):
        if word in {"pre:", "post:"}:
            mode = word
        else:
            names[mode].append(word)  # what stands before the first of them counts for nothing
    config.softdeps.append(Softdep(pattern, tuple(names["pre:"]), tuple(names["post:"]), source))
    return True


def _add_weakdep(config: Config, rest: str, source: Source) -> bool:
    pattern, text = _named(rest)
    if pattern is None or not text:
        return False
    config.weakdeps.append(Weakdep(pattern, tuple(_dependency_words(text)), source))
    return True


def _dependency_words(text: str) -> Iterable[str]:
    """Split at blanks, but a single leading blank sticks to the first word.

    So ``softdep a  pre: b`` (two blanks after the name) has no dependency at all, and with three it has.
    Trees and files in the wild have been tested against kmod, so that is how they are read here.
    """
    words = [word for word in text.translate(_TO_BLANKS).split(" ") if word]
    leading = len(text) - len(text.lstrip(_ISSPACE))
    if leading == 1 and words:
        words[0] = text[0] + words[0]
    return words


if TYPE_CHECKING:
    _Directive = Callable[[Config, str, Source], bool]

_DIRECTIVES: dict[str, _Directive] = {
    "alias": _add_alias,
    "blacklist": _add_blacklist,
    "options": _add_options,
    "install": _add_install,
    "remove": _add_remove,
    "softdep": _add_softdep,
    "weakdep": _add_weakdep,
}
