"""The kernel's interface to user space: files of /proc and /sys, as text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from errno import EACCES, EFAULT, EINVAL, EISDIR
from typing import TYPE_CHECKING, Final

from ukmod.kernel import params
from ukmod.kernel.kern_levels import KERN_WARNING
from ukmod.kernel.module.main import Module, ModuleState
from ukmod.kernel.syscalls import missing
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_UEVENT_ACTIONS: Final = ("add", "remove", "change", "move", "online", "offline", "bind", "unbind")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_VARIABLE: Final = re.compile(r"[0-9a-zA-Z]+=[0-9a-zA-Z]+", re.ASCII)
_STATES = {ModuleState.LIVE: "live", ModuleState.COMING: "coming", ModuleState.GOING: "going"}


@record
class File:
    """A file: a function that returns its text, and one that handles a write (None: not permitted)."""

    read: Callable[[], str] | None
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
            "/proc/uptime": File(lambda: f"{k.clock.now / 1e9:.2f} 0.00\n"),
            "/proc/sys/kernel/osrelease": File(lambda: k.release + "\n"),
        }
        if k.image is None:
            files["/proc/version"] = File(lambda: f"Linux version {k.release}\n")
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
        if parts[0] == "holders" and len(parts) > 2:
            for user in module.users:  # a symbolic link to its directory
                if user.name == parts[1]:
                    return self._attribute(user, parts[2:], path)
        if parts[0] == "parameters" and len(parts) == 2:
            name = parts[1]
            if name not in params.names(k, module):
                raise missing(path)
            return File(
                lambda: params.read(k, module, name),
                lambda text: self._store(module, name, text, path),
            )
        if parts[0] == "sections" and len(parts) == 2:
            if parts[1] not in _sections(module):
                raise missing(path)
            return File(lambda: f"0x{module.layout.sections[parts[1]][0]:016x}\n")
        if parts[0] == "notes" and len(parts) == 2:
            if parts[1] not in module.layout.notes:
                raise missing(path)
            return File(lambda: k.memory.read(*module.layout.sections[parts[1]]).decode("latin-1"))
        if parts == ["uevent"]:
            return File(None, lambda text: self._uevent(module, text, path))
        attributes = _attributes(k, module)
        if len(parts) != 1 or parts[0] not in attributes:
            raise missing(path)
        text = attributes[parts[0]]
        return File(lambda: text() + "\n")

    def _store(self, module: Module, name: str, text: str, path: str) -> None:
        """Write a parameter's file as programs do: what one write(2) has not taken is written again."""
        while text:
            result = params.write(self._k, module, name, text)
            refuse(result, path)
            if result > len(text):  # the program's pointer is past its buffer by then
                refuse(-EFAULT, path)
            text = text[result:] if result else ""

    def _uevent(self, module: Module, text: str, path: str) -> None:
        """kobject_synth_uevent(): no process listens."""
        words = text.removesuffix("\n").split(" ")
        reason = ""
        if words[0] not in _UEVENT_ACTIONS:
            reason = "unknown uevent action string"
        elif words[1:] and not all(map(_valid_argument, range(len(words) - 1), words[1:])):
            reason = "incorrect uevent action arguments"
        if reason:
            self._k.printk(f"synth uevent: /module/{module.name}: {reason}\n", KERN_WARNING)
            refuse(-EINVAL, path)

    def has(self, path: str) -> bool:
        """True if there is such a file."""
        try:
            self._file(path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str) -> str:
        """A file's contents. Raises OSError: ENOENT, EACCES, EISDIR."""
        try:
            file = self._file(path)
        except FileNotFoundError:
            if self._is_directory(path):
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR), path) from None
            raise
        if file.read is None:
            raise PermissionError(EACCES, "write-only", path)
        return file.read()

    def _is_directory(self, path: str) -> bool:
        try:
            self.list(path)
        except FileNotFoundError:
            return False
        return True

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
        parts = path.split("/")
        module = next(
            (module for module in modules if path.startswith("/sys/module/") and module.name == parts[3]),
            None,
        )
        if module is None:
            raise missing(path)
        return _entries(self._k, module, parts[4:], path)


def _attributes(k: Core, module: Module) -> dict[str, Callable[[], str]]:
    """The files directly in a module's directory."""
    attributes: dict[str, Callable[[], str]] = {
        "coresize": lambda: str(module.layout.core_size),
        "initsize": lambda: str(module.layout.init_size),
        "initstate": lambda: _STATES[module.state],
        "refcnt": lambda: str(k.modules.refcount(module)),
        "taint": lambda: module.flags(state=False).strip("()"),
    }
    for key in ("version", "srcversion"):
        if key in module.modinfo:
            attributes[key] = lambda key=key: module.modinfo[key][0]  # type: ignore[misc]
    return attributes


def _entries(k: Core, module: Module, parts: list[str], path: str) -> list[str]:
    """The entries of a directory below a module's own."""
    users = {user.name: user for user in module.users}
    if len(parts) > 1 and parts[0] == "holders" and parts[1] in users:
        return _entries(k, users[parts[1]], parts[2:], path)
    directories = {
        "holders": list(users),
        "notes": list(module.layout.notes),
        "parameters": params.names(k, module),
        "sections": _sections(module),
    }
    if not directories["parameters"]:
        del directories["parameters"]
    if not parts:
        return sorted([*_attributes(k, module), "uevent", *directories])
    if len(parts) == 1 and parts[0] in directories:
        return directories[parts[0]]
    raise missing(path)


def _valid_argument(n: int, word: str) -> bool:
    """kobject_action_args(): a UUID, and then variables."""
    return bool(_UUID.fullmatch(word) if n == 0 else _VARIABLE.fullmatch(word))


def _sections(module: Module) -> list[str]:
    """The sections that have a file in sysfs.

    add_sect_attrs() skips empty sections; sections freed with the init part keep their files.
    """
    return [name for name, (_address, size) in module.layout.sections.items() if size]
