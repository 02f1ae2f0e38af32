"""The modules in the kernel: /proc/modules and /sys/module, as kmod reads them."""

from __future__ import annotations

import errno
import os

from ukmod.errors import NotFoundError
from ukmod.kmod.host import LOG_ERR, silent
from ukmod.kmod.regular import read_regular
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from ukmod.kmod.host import Host, LibraryLog

    class State(Protocol):
        """The kernel's modules, as far as decisions depend on them; names with underscores."""

        def initstate(self, name: str) -> str | None:
            """Return live, coming or going; None if there is no such module."""

        def refcnt(self, name: str) -> int | None:
            """Return how often a module is used: negative if unknown, None if there is no such count."""

        def holders(self, name: str) -> list[str]:
            """Return the modules that use it."""


__all__ = ["LoadedModule", "NothingLoaded", "SysModules", "listed_modules", "loaded_modules"]


@record
class LoadedModule:
    """One line of lsmod. ``size`` is in bytes; it and ``refcnt`` are negative errnos if not known."""

    name: str
    size: int
    refcnt: int
    holders: tuple[str, ...]


class NothingLoaded:
    """The state of a kernel just booted: what plans for another machine start from."""

    __slots__ = ()

    def initstate(self, _name: str) -> str | None:
        """Return None."""
        return None

    def refcnt(self, _name: str) -> int | None:
        """Return None."""
        return None

    def holders(self, _name: str) -> list[str]:
        """Return nothing."""
        return []


class SysModules:
    """/sys/module of a host, read afresh at every question."""

    __slots__ = ("_host", "_log")

    def __init__(self, host: Host, log: LibraryLog = silent) -> None:
        self._host = host
        self._log = log

    def initstate(self, name: str) -> str | None:
        """Return live, coming or going; a directory without the file is a module that is still coming."""
        try:
            text = self._host.module_attribute(name, "initstate")
        except OSError:
            return "coming" if self._host.has_module_directory(name) else None
        state = text.removesuffix("\n")
        if state in {"live", "coming", "going"} and state != text:
            return state
        self._error("initstate", f"unknown /sys/module/{name}/initstate: '{text}'")
        return None

    def refcnt(self, name: str) -> int | None:
        """Return the reference count, or a negative errno if it is there but cannot be read.

        Then it is the kernel that says whether the module is in use, as with kmod.
        """
        count = _or_errno(self.reference_count, name)
        return None if count == -errno.ENOENT else count

    def reference_count(self, name: str) -> int:
        """Return the reference count; OSError if there is none, as without CONFIG_MODULE_UNLOAD."""
        text = self._host.module_attribute(name, "refcnt")
        try:
            return _c_long(text)
        except OSError as error:
            path = f"/sys/module/{name}/refcnt"
            self._error("refcnt", f"could not read integer from '{path}': '{error.strerror}'")
            raise

    def holders(self, name: str) -> list[str]:
        """Return the modules that use this one."""
        try:
            return self._host.module_holders(name)
        except OSError as error:
            self._error("holders", f"could not open '/sys/module/{name}/holders': {error.strerror}")
            return []

    def sections(self, name: str) -> dict[str, int]:
        """Return where the module's sections lie: virtual addresses by name.

        All are 0 for those who may not know (sysctl kernel.kptr_restrict). OSError if the module is not
        loaded, the kernel has no CONFIG_KALLSYMS, or a file may not be read: they are root's.
        """
        try:
            return {
                section: int(self._host.module_attribute(name, f"sections/{section}"), 16)
                for section in self._host.module_sections(name)
            }
        except OSError as error:
            path = error.filename or f"/sys/module/{name}/sections"
            self._error("sections", f"could not open '{path}': {error.strerror}")
            raise
        except ValueError:
            path = f"/sys/module/{name}/sections"
            self._error("sections", f"could not read long from '{path}': {os.strerror(errno.EINVAL)}")
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from None

    def size(self, name: str) -> int:
        """Return a module's size in bytes; OSError if it is not loaded."""
        try:
            return _c_long(self._host.module_attribute(name, "coresize"))
        except OSError as error:
            if error.errno == errno.EINVAL:
                self._error("size", f"failed to read coresize from /sys/module/{name}")
                return 0
            if not self._host.has_module_directory(name):
                raise
        return self._size_from_proc(name)

    def _size_from_proc(self, name: str) -> int:
        """Kernels before 3.3 have no coresize."""
        for number, line in enumerate(self._host.proc_modules().splitlines(), 1):
            words = line.split()
            if not words or words[0] != name:
                continue
            if len(words) > 1 and words[1].isascii() and words[1].isdigit():
                return int(words[1])
            self._error("size", f"invalid line format at /proc/modules:{number}")
            break
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _error(self, what: str, text: str) -> None:
        self._log(LOG_ERR, f"kmod_module_get_{what}", text)


def loaded_modules(host: Host, log: LibraryLog = silent) -> Iterator[LoadedModule]:
    """Yield what lsmod prints, in the kernel's order (newest first); OSError if there is no /proc/modules."""
    try:
        lines = host.proc_modules().splitlines()
    except OSError as error:
        log(LOG_ERR, "kmod_module_new_from_loaded", f"could not open /proc/modules: {error.strerror}")
        raise
    state = SysModules(host, log)
    for line in lines:
        words = line.split()
        if not words:
            continue
        name = words[0].partition(".")[0].replace("-", "_")
        refcnt = _or_errno(state.reference_count, name)
        size = _or_errno(state.size, name)
        yield LoadedModule(name, size, refcnt, tuple(state.holders(name)))


def _or_errno(read: Callable[[str], int], name: str) -> int:
    try:
        return read(name)
    except OSError as error:
        return -(error.errno or errno.EINVAL)


def _c_long(text: str) -> int:
    """Read a number as strtol(3) does, where something blank must follow; OSError(EINVAL) otherwise."""
    stripped = text.lstrip(" \t\n\v\f\r")
    digits = stripped[: len(stripped) - len(stripped.lstrip("+-0123456789"))]
    following = stripped[len(digits) : len(digits) + 1]
    try:
        number = int(digits)
    except ValueError:
        number, following = 0, ""
    if not following.isspace():
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return number


def listed_modules(path: str) -> list[str]:
    """Return the names in a listing of a machine's modules: /proc/modules, lsmod's output, or /sys/module.

    NotFoundError if it cannot be read.
    """
    try:
        if os.path.isdir(path):
            names = sorted(os.listdir(path))
            return [name for name in names if os.path.exists(f"{path}/{name}/initstate")]
        lines = os.fsdecode(read_regular(path)).splitlines()
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), subject=path) from error
    header = ["Module", "Size", "Used"]
    return [words[0] for line in lines if (words := line.split()) and words[:3] != header]
