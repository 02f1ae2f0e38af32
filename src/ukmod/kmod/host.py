"""The interface of kmod's decisions and tools to everything outside the module tree.

One protocol, two worlds: :class:`ukmod.kmod.linux.LinuxHost` is the machine this process runs on; an emulated
kernel hands in its own, and the same modprobe then runs as one of its tasks. A method may block for as long
as it likes (a module's init function may sleep): callers only see it return later.

Failures are :class:`OSError` with the errno the kernel gave; no method prints.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, MutableMapping
    from typing import Protocol, TypeVar

    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.paged import PagedFile
    from ukmod.kmod.tree import Tree
else:
    Protocol = object  # typing costs 8 ms of start-up, and nothing here is checked at run time

__all__ = [
    "DELETE_FORCE",
    "DELETE_NONBLOCK",
    "INIT_COMPRESSED_FILE",
    "INIT_IGNORE_MODVERSIONS",
    "INIT_IGNORE_VERMAGIC",
    "LOG_CRIT",
    "LOG_DEBUG",
    "LOG_EMERG",
    "LOG_ERR",
    "LOG_INFO",
    "LOG_NOTICE",
    "LOG_WARNING",
    "Files",
    "Host",
    "LibraryLog",
    "Writer",
    "silent",
]

# Flags of finit_module(2); of delete_module(2), whose are O_NONBLOCK and O_TRUNC.
INIT_IGNORE_MODVERSIONS = 1
INIT_IGNORE_VERMAGIC = 2
INIT_COMPRESSED_FILE = 4
DELETE_NONBLOCK = 0o4000
DELETE_FORCE = 0o1000

# Priorities of syslog(3).
LOG_EMERG, LOG_CRIT, LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG = 0, 2, 3, 4, 5, 6, 7

if TYPE_CHECKING:
    T = TypeVar("T")
    LibraryLog = Callable[[int, str, str], None]
    """``log(priority, function, text)``: how the library half reports; ``function`` is libkmod's name for the
    place, which its default format shows. ``text`` has no newline at its end."""
    Followed = tuple[list[tuple[str, str]], str]
    """The symbolic links that a path leads through, as (where it is, its target as written), and its end."""
else:
    LibraryLog = object


def silent(_priority: int, _function: str, _text: str) -> None:
    """Drop a message: the log of callers that only want values."""


class Writer(Protocol):
    """A standard stream."""

    def write(self, text: str, /) -> object:
        """Write text; surrogate escapes stand for bytes that are not UTF-8."""

    def flush(self) -> None:
        """Hand on what is buffered."""


class Files(Protocol):
    """The files that trees and configuration are read from."""

    def read(self, path: str) -> bytes:
        """Return a file's content."""

    def paged(self, path: str) -> bytes | PagedFile:
        """Return a file's content, or what reads a few places of it."""

    def listdir(self, path: str) -> list[str]:
        """Return a directory's entries, in the order the file system gives them."""

    def stat(self, path: str) -> os.stat_result:
        """Return a file's status, symbolic links followed."""

    def real(self, path: str) -> str:
        """Return where a path lies on the machine this process runs on."""

    def follow(self, path: str) -> Followed:
        """Return the symbolic links on the way that an absolute path takes, and where it ends."""

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file. OSError as ModuleFile raises it."""


class Host(Protocol):
    """A running Linux, as modprobe sees it."""

    @property
    def environ(self) -> MutableMapping[str, str]:
        """The environment; what is set here, commands that are run will see."""

    @property
    def stdout(self) -> Writer:
        """Standard output."""

    @property
    def stderr(self) -> Writer:
        """Standard error."""

    @property
    def files(self) -> Files:
        """The files."""

    def has_stderr(self) -> bool:
        """Tell whether standard error is open; a helper that the kernel starts may have none."""

    def getcwd(self) -> str:
        """Return the working directory."""

    def openlog(self, ident: str) -> None:
        """Begin to use the system's log, as the daemon facility."""

    def syslog(self, priority: int, text: str) -> None:
        """Write a line to the system's log."""

    def release(self) -> str:
        """Return the kernel's release: ``uname -r``."""

    def cmdline(self) -> bytes:
        """Return what /proc/cmdline holds."""

    def proc_modules(self) -> str:
        """Return what /proc/modules holds."""

    def module_attribute(self, name: str, attribute: str) -> str:
        """Return what /sys/module/NAME/ATTRIBUTE holds (initstate, refcnt, coresize, sections/.text)."""

    def has_module_directory(self, name: str) -> bool:
        """Tell whether /sys/module/NAME is a directory."""

    def module_holders(self, name: str) -> list[str]:
        """Return the entries of /sys/module/NAME/holders, in directory order."""

    def module_sections(self, name: str) -> list[str]:
        """Return the entries of /sys/module/NAME/sections, in directory order."""

    def compression(self) -> str:
        """Return the compression the kernel itself unpacks (gzip, xz, zstd), or an empty string."""

    def open_tree(self, dirname: str) -> Tree:
        """Return the module tree at a directory such as /lib/modules/6.1.0; it need not exist."""

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file."""

    def finit_module(self, file: ModuleFile, params: str, flags: int) -> None:
        """Load a module from its file."""

    def init_module(self, image: bytes, params: str) -> None:
        """Load a module from memory."""

    def delete_module(self, name: str, flags: int) -> None:
        """Unload a module."""

    def system(self, command: str) -> int:
        """Run a shell command with ``environ`` and return its wait status, or -1 if it could not be run."""

    def beside(self, work: Callable[[], T], /) -> Callable[[], T]:
        """Begin a part of a tool's work on another processor, where one is free.

        The function returned waits for its end, and returns what ``work`` does: it must be made of what
        marshal knows. What the work writes appears at that moment.
        """

    def leave(self, status: int) -> None:
        """Called when a tool has finished except for clean-up; a dedicated process may exit here."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
