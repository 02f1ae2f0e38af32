"""The kernel's interface to user space: files of /proc and /sys, as text."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EACCES
from typing import TYPE_CHECKING

from ukmod.kernel import params
from ukmod.kernel.module.main import Module, ModuleState
from ukmod.kernel.syscalls import missing
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_STATES = {ModuleState.LIVE: "live", ModuleState.COMING: "coming", ModuleState.GOING: "going"}


@record
class File:
    """A file: a function that returns its text, and one that handles a write (None: not writable)."""

    read: Callable[[], str]
    write: Callable[[str], None] | None = None


def refuse(result: int, path: str) -> None:
    """Raise the OSError for a negative ``result``."""
    if result < 0:
        raise OSError(-result, os.strerror(-result), path)


class ProcFs:
    """Files by absolute path. Reading a missing file raises FileNotFoundError, as open(2) would."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel

    def _proc(self) -> dict[str, File]:
        k = self._k
        files = {
            "/proc/modules": File(k.modules.proc_modules),
            "/proc/cmdline": File(lambda: k.cmdline + "\n"),
            "/proc/version": File(lambda: f"Linux version {k.release}\n"),
            "/proc/uptime": File(lambda: f"{k.clock.now / 1e9:.2f} 0.00\n"),
            "/proc/sys/kernel/osrelease": File(lambda: k.release + "\n"),
        }
        for name in k.sysctl:
            files["/proc/sys/" + name.replace(".", "/")] = self._sysctl(name)
        return files

    def _sysctl(self, name: str) -> File:
        k = self._k
        write = (lambda text: k.sysctl.write(name, text)) if k.sysctl.writable(name) else None
        return File(lambda: k.sysctl[name] + "\n", write)

    def _file(self, path: str) -> File:
        if (found := self._proc().get(path)) is not None:
            return found
        parts = path.split("/")
        if path.startswith("/sys/module/") and len(parts) > 4:
            module = self._k.modules.find(parts[3])
            if module is not None and module.state is not ModuleState.UNFORMED:
                return self._attribute(module, parts[4:], path)
        raise missing(path)

    def _attribute(self, module: Module, parts: list[str], path: str) -> File:
        k = self._k
        if parts[0] == "parameters" and len(parts) == 2:
            name = parts[1]
            if name not in params.names(k, module):
                raise missing(path)
            return File(
                lambda: params.read(k, module, name),
                lambda text: refuse(params.write(k, module, name, text), path),
            )
        if parts[0] == "sections" and len(parts) == 2:
            if parts[1] not in _sections(module):
                raise missing(path)
            return File(lambda: f"0x{module.layout.sections[parts[1]][0]:016x}\n")
        attributes = self._attributes(module)
        if len(parts) != 1 or parts[0] not in attributes:
            raise missing(path)
        text = attributes[parts[0]]
        return File(lambda: text() + "\n")

    def _attributes(self, module: Module) -> dict[str, Callable[[], str]]:
        """The files directly in a module's directory."""
        attributes: dict[str, Callable[[], str]] = {
            "coresize": lambda: str(module.layout.core_size),
            "initsize": lambda: str(module.layout.init_size),
            "initstate": lambda: _STATES[module.state],
            "refcnt": lambda: str(self._k.modules.refcount(module)),
            "taint": lambda: module.flags(state=False).strip("()"),
        }
        for key in ("version", "srcversion"):
            if key in module.modinfo:
                attributes[key] = lambda key=key: module.modinfo[key][0]  # type: ignore[misc]
        return attributes

    def read(self, path: str) -> str:
        """A file's contents. Raises FileNotFoundError."""
        return self._file(path).read()

    def write(self, path: str, text: str) -> None:
        """Write to a file. Raises FileNotFoundError, PermissionError, or the file's own error."""
        file = self._file(path)
        if file.write is None:
            raise PermissionError(EACCES, "read-only", path)
        file.write(text)

    def list(self, path: str) -> list[str]:
        """The entries of a directory. Raises FileNotFoundError."""
        path = path.rstrip("/")
        modules = [module for module in self._k.modules if module.state is not ModuleState.UNFORMED]
        if path == "/sys/module":
            return [module.name for module in modules]
        for module in modules:
            base = f"/sys/module/{module.name}"
            if path == base:
                return sorted([*self._attributes(module), "holders", "parameters", "sections"])
            if path == f"{base}/holders":
                return [user.name for user in module.users]
            if path == f"{base}/sections":
                return _sections(module)
            if path == f"{base}/parameters":
                return params.names(self._k, module)
        raise missing(path)


def _sections(module: Module) -> list[str]:
    """The sections that have a file in sysfs.

    add_sect_attrs() skips empty sections; sections freed with the init part keep their files.
    """
    return [name for name, (_address, size) in module.layout.sections.items() if size]
