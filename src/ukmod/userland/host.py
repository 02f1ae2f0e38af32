"""The emulated kernel as a kmod Host: what modprobe sees when the kernel starts it as its helper."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from ukmod.errors import UkmodError
from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tree import Tree
from ukmod.userland.files import NoFiles, TreeFiles

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from ukmod.kmod.host import Files
    from ukmod.userland.process import Process

    T = TypeVar("T")


class OutputStream:
    """A standard stream of a process, kept in memory."""

    def __init__(self, parts: list[str]) -> None:
        self._parts = parts

    def write(self, text: str) -> None:
        """Append."""
        self._parts.append(text)

    def flush(self) -> None:
        """Nothing is held back."""


class ProcessHost:
    """A kmod Host for a process of the emulated kernel: /proc, /sys and system calls are that kernel's, the
    module tree is the one the user gave.
    """

    def __init__(self, process: Process, tree: Tree | None) -> None:
        self._process = process
        self.files: Files = NoFiles() if tree is None else TreeFiles.of(tree)
        """Only the tree's files exist; without a tree, none."""
        self._tree = None if tree is None else tree.through(self.files)
        self.environ: MutableMapping[str, str] = dict(process.env)
        self.stdout = OutputStream(process.output)
        self.stderr = OutputStream(process.output)

    def has_stderr(self) -> bool:
        """A helper's streams are /dev/null, but what it writes is kept for the user."""
        return True

    def getcwd(self) -> str:
        """The kernel starts helpers in /."""
        return "/"

    def openlog(self, ident: str) -> None:
        """There is no syslogd."""

    def syslog(self, priority: int, text: str) -> None:
        """Keep the line with the rest of the output."""
        del priority
        self._process.output.append(text + "\n")

    def release(self) -> str:
        """uname -r."""
        return self._process.sys.uname_release()

    def cmdline(self) -> bytes:
        """/proc/cmdline."""
        return os.fsencode(self._process.sys.read_proc("/proc/cmdline"))

    def proc_modules(self) -> str:
        """/proc/modules."""
        return self._process.sys.read_proc("/proc/modules")

    def module_attribute(self, name: str, attribute: str) -> str:
        """A file of /sys/module/NAME."""
        return self._process.sys.read_proc(f"/sys/module/{name}/{attribute}")

    def has_module_directory(self, name: str) -> bool:
        """Is /sys/module/NAME there?"""
        try:
            self._process.sys.list_proc(f"/sys/module/{name}")
        except OSError:
            return False
        return True

    def module_holders(self, name: str) -> list[str]:
        """/sys/module/NAME/holders."""
        return self._process.sys.list_proc(f"/sys/module/{name}/holders")

    def module_sections(self, name: str) -> list[str]:
        """/sys/module/NAME/sections."""
        return self._process.sys.list_proc(f"/sys/module/{name}/sections")

    def compression(self) -> str:
        """Modules are unpacked before the emulated kernel gets them."""
        return ""

    def open_tree(self, dirname: str) -> Tree:
        """The user's tree, under the name that modprobe asks for it by."""
        if self._tree is None:
            return Tree(dirname, NoFiles(), config_paths=())
        return self._tree

    def open_module(self, path: str) -> ModuleFile:
        """A file of the tree."""
        return self.files.open_module(path)

    def finit_module(self, file: ModuleFile, params: str, flags: int) -> None:
        """finit_module(2)."""
        try:
            image = file.contents()
        except UkmodError as error:
            raise OSError(error.errno, os.strerror(error.errno), file.path) from error
        kept = flags & (INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC)
        self._process.sys.finit_module(file.path, image, params, kept)

    def init_module(self, image: bytes, params: str) -> None:
        """init_module(2)."""
        self._process.sys.finit_module("", image, params, 0)

    def delete_module(self, name: str, flags: int) -> None:
        """delete_module(2)."""
        self._process.sys.delete_module(name, flags)

    def system(self, command: str) -> int:
        """Run an install or remove command, of the programs the emulated machine has."""
        from ukmod.userland.shell import run_command  # few configurations have such lines

        return run_command(command, self.environ, self._process.sys)

    def beside(self, work: Callable[[], T], /) -> Callable[[], T]:
        """Do the work when its result is needed: there is one processor."""
        return work

    def leave(self, status: int) -> None:
        """Go on: the process is not the tool's alone."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC, virtual."""
        return self._process.sys.clock() / 1e9

    def sleep(self, seconds: float) -> None:
        """Sleep, in virtual time."""
        self._process.sys.nanosleep(round(seconds * 1e9))
