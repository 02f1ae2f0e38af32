"""depmod.d: which of several modules of one name wins, and what is left out ("man depmod.d(5)").

The entries are kept in the order in which depmod asks them: the last line first.
"""

from __future__ import annotations

import os
import stat

from ukmod.errors import UsageError
from ukmod.kmod.config import CONFIG_LIMIT, logical_lines
from ukmod.kmod.depmod.log import silent
from ukmod.kmod.host import LOG_ERR, LOG_INFO
from ukmod.kmod.regular import read_regular
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.depmod.log import DepmodLog

__all__ = ["BUILT_IN", "CONFIG_DIRECTORIES", "DEFAULT", "EXTERNAL", "DepmodConfig", "load_config"]

CONFIG_DIRECTORIES = (
    "/etc/depmod.d",
    "/run/depmod.d",
    "/usr/local/lib/depmod.d",
    "/usr/lib/depmod.d",
    "/lib/depmod.d",
)
"""Where configuration lies; a file hides those of the same name in later directories."""

BUILT_IN, EXTERNAL = "built-in", "external"
"""Words that stand for directories in a search line: all that no line names, and the external ones."""


@record
class DepmodConfig:
    """The configuration of depmod.d for one kernel release.

    ``searches`` by rising priority; ``overrides`` are ``SUBDIR/MODULE`` paths without extension, and
    ``externals`` absolute directories, both beginning with the last line; ``excludes`` are names of files or
    directories anywhere in the tree.
    """

    searches: tuple[str, ...] = ("updates",)
    overrides: tuple[str, ...] = ()
    externals: tuple[str, ...] = ()
    excludes: frozenset[str] = frozenset()


DEFAULT = DepmodConfig()

_EXPRESSIONS_LIMIT = 1 << 16
"""Bytes of all expressions for kernel releases: what three thousand lines have."""


def load_config(
    release: str, paths: Sequence[str] = CONFIG_DIRECTORIES, log: DepmodLog = silent
) -> DepmodConfig:
    """Read the configuration files at ``paths``, files or directories, as they apply to a kernel release."""
    parser = _Parser(release, log)
    for path in _files(paths, log):
        try:
            text = read_regular(path, CONFIG_LIMIT).decode("utf-8", "surrogateescape")
        except OSError as error:
            log(LOG_ERR, f"file parse {path}: {error.strerror}")
            continue
        parser.parse(text, path)
    return parser.result()


def _files(paths: Sequence[str], log: DepmodLog) -> list[str]:
    """Return the files that apply, by name; of several of one name the first."""
    chosen: dict[str, str] = {}
    for path in paths:
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                chosen.setdefault(path.rpartition("/")[2], path)
                continue
        except OSError:
            continue
        try:
            names = os.listdir(path)
        except OSError as error:
            log(LOG_ERR, f"files list {path}: {error.strerror}")
            continue
        for name in names:
            if _is_config_file(path, name, log):
                chosen.setdefault(name, f"{path}/{name}")
    return [chosen[name] for name in sorted(chosen, key=os.fsencode)]


def _is_config_file(directory: str, name: str, log: DepmodLog) -> bool:
    if name.startswith("."):
        return False
    if len(name) < len("x.conf") or not name.endswith(".conf"):
        log(LOG_INFO, f"All cfg files need .conf: {directory}/{name}")
        return False
    try:
        mode = os.stat(f"{directory}/{name}").st_mode
    except OSError:
        log(LOG_ERR, f"Cannot stat directory entry: {directory}{name}")
        return False
    if stat.S_ISDIR(mode):
        log(LOG_ERR, f"Directories inside directories are not supported: {directory}/{name}")
        return False
    return True


class _Parser:
    """The lines so far, in the order they were written."""

    def __init__(self, release: str, log: DepmodLog) -> None:
        self.release = release
        self.log = log
        self.searches: list[str] = []
        self.overrides: list[str] = []
        self.externals: list[str] = []
        self.excludes: set[str] = set()
        self.room = _EXPRESSIONS_LIMIT

    def result(self) -> DepmodConfig:
        return DepmodConfig(
            tuple(reversed(self.searches)) or DEFAULT.searches,
            tuple(reversed(self.overrides)),
            tuple(reversed(self.externals)),
            frozenset(self.excludes),
        )

    def parse(self, text: str, path: str) -> None:
        for number, line in logical_lines(text):
            if line and not line.startswith("#"):
                words = line.replace("\t", " ").split(" ")
                words = [word for word in words if word]
                if words and not self._directive(words, f"{path}:{number}"):
                    self.log(LOG_ERR, f"{path}:{number}: ignoring bad line starting with '{words[0]}'")

    def _directive(self, words: list[str], where: str) -> bool:
        match words:
            case ["search", *directories]:
                self.searches += directories
            case ["override", module, kernel, subdirectory, *_]:
                if self._applies(kernel, f"{where}: override kernel"):
                    self.overrides.append(f"{subdirectory}/{module}")
            case ["external", kernel, directory, *_]:
                if self._applies(kernel, f"{where}: external directory"):
                    self.externals.append(directory)
            case ["exclude", *names]:
                self.excludes.update(names)
            case ["include" | "make_map_files" as word, *_]:
                self.log(LOG_INFO, f"{where}: command {word} not implemented yet")
            case _:
                return False
        return True

    def _applies(self, pattern: str, what: str) -> bool:
        """Tell whether a line is for this kernel: ``*``, or a POSIX extended expression found in its release.

        A malformed expression fits no kernel.
        """
        if pattern == "*":
            return True
        from ukmod.kmod.depmod.ere import search

        self.room -= len(pattern)
        if self.room < 0:
            self.log(LOG_ERR, f"{what}: more than 64 KiB of expressions, passed over")
            return False
        try:
            applies = search(pattern, self.release)
        except UsageError:
            applies = False
        if not applies:
            self.log(LOG_INFO, f"{what} did not match {pattern}")
        return applies
