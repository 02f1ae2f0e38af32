"""How the tools talk: ``modprobe: ERROR: ...`` to standard error or the system's log.

Two voices, as in kmod: the tool's own, whose FATAL ends the tool, and the library's, which names itself
``libkmod`` until the tool has taken over its log.
"""

from __future__ import annotations

from ukmod.errors import UkmodError
from ukmod.kmod.host import (
    LOG_CRIT,
    LOG_DEBUG,
    LOG_EMERG,
    LOG_ERR,
    LOG_INFO,
    LOG_NOTICE,
    LOG_WARNING,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Host

__all__ = ["VERSION", "FatalError", "ToolLog", "program_name", "version_text"]

VERSION = 34
"""The version of kmod whose behaviour the tools have."""

_NAMES = {
    LOG_CRIT: "FATAL",
    LOG_ERR: "ERROR",
    LOG_WARNING: "WARNING",
    LOG_NOTICE: "NOTICE",
    LOG_INFO: "INFO",
    LOG_DEBUG: "DEBUG",
}
_LIBRARY_NAMES = {LOG_EMERG: "EMERGENCY", 1: "ALERT", **_NAMES, LOG_CRIT: "CRITICAL"}


class FatalError(UkmodError):
    """A FATAL message was written: the tool ends here, with status 1."""


def program_name(argv0: str) -> str:
    """Return the name a program goes by in messages."""
    return argv0.rpartition("/")[2]


def version_text() -> str:
    """Return what ``-V`` prints: the version, and which compressions and signatures can be read."""
    from importlib.util import find_spec

    has_zstd = any(find_spec(name) for name in ("compression.zstd", "backports.zstd") if _has_parent(name))
    features = {
        "ZSTD": has_zstd,
        "XZ": bool(find_spec("lzma")),
        "ZLIB": bool(find_spec("zlib")),
        "OPENSSL": True,
    }
    words = " ".join(("+" if present else "-") + name for name, present in features.items())
    return f"kmod version {VERSION}\n{words}\n"


def _has_parent(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name.partition(".")[0]) is not None


class ToolLog:
    """A tool's messages."""

    __slots__ = ("_host", "_library", "_library_priority", "_priority", "_program", "_syslog")

    def __init__(self, host: Host, program: str) -> None:
        self._host = host
        self._program = program
        self._priority = LOG_WARNING
        self._library_priority = _environment_priority(host.environ.get("KMOD_LOG"))
        self._library = "libkmod"
        self._syslog = False

    def open(self, *, syslog: bool) -> None:
        """Say where messages go."""
        self._syslog = syslog
        if syslog:
            self._host.openlog(self._program)

    def set_priority(self, priority: int) -> None:
        """Drop what is less urgent from now on, and speak for the library too."""
        self._priority = self._library_priority = priority
        self._library = self._program
        self.library(LOG_INFO, "kmod_set_log_fn", f"custom logging function {id(self):#x} registered")

    def close(self) -> None:
        """Say, to who wants to know everything, that the library is no longer needed."""
        self.library(LOG_INFO, "kmod_unref", f"context {id(self):#x} released")

    def library(self, priority: int, function: str, text: str) -> None:
        """Write a message of the library: a :data:`ukmod.kmod.host.LibraryLog`."""
        if priority > self._library_priority:
            return
        if self._library == "libkmod":
            name = _LIBRARY_NAMES.get(priority, f"L:{priority}")
            self._host.stderr.write(f"libkmod: {name}: {function}: {text}\n")
        else:
            self._write(priority, text)

    def message(self, priority: int, text: str) -> None:
        """Write a message of the tool; FatalError after one of priority LOG_CRIT."""
        if priority > self._priority:
            return
        self._write(priority, text)
        if priority <= LOG_CRIT:
            raise FatalError(text)

    def err(self, text: str) -> None:
        """Write an ERROR."""
        self.message(LOG_ERR, text)

    def wrn(self, text: str) -> None:
        """Write a WARNING."""
        self.message(LOG_WARNING, text)

    def _write(self, priority: int, text: str) -> None:
        name = _NAMES.get(priority, f"LOG-{priority:03}")
        if self._syslog:
            self._host.syslog(priority, f"{name}: {text}")
        else:
            self._host.stderr.write(f"{self._program}: {name}: {text}\n")


def _environment_priority(value: str | None) -> int:
    """Return what $KMOD_LOG asks for: a number, or err, info, debug; anything else is nothing at all."""
    if value is None:
        return LOG_ERR
    stripped = value.lstrip()
    digits = stripped[: len(stripped) - len(stripped.lstrip("+-0123456789"))]
    rest = stripped[len(digits) :]
    try:
        number = int(digits or "0")
    except ValueError:
        number = 0
    if not rest or rest[0].isspace():
        return number if -(2**31) <= number < 2**31 else 0
    words = {"err": LOG_ERR, "info": LOG_INFO, "debug": LOG_DEBUG}
    return next((priority for word, priority in words.items() if value.startswith(word)), 0)
