"""A kernel that exists on paper: a Host for tests, which records what is asked of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.host import Files
from ukmod.kmod.index_write import write_index
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.overlay import OverlayFiles
from ukmod.kmod.tree import Tree

T = TypeVar("T")

RELEASE = "4.4.4"


class Text:
    """A stream that keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is kept back."""


class FakeHost:
    """Knows ``loaded`` modules by name: [refcnt, holders]; ``calls`` is what was done, in order.

    ``failures`` maps a module's name to the errno that loading or unloading it gives.
    """

    def __init__(self, root: str | os.PathLike[str] = "/nonexistent", tree: Tree | None = None) -> None:
        self.environ: dict[str, str] = {}
        self.stdout = Text()
        self.stderr = Text()
        self.files = DirectoryFiles(os.fspath(root))
        self.calls: list[tuple[object, ...]] = []
        self.loaded: dict[str, tuple[int, list[str]]] = {}
        self.initstates: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        self.failures: dict[str, list[int]] = {}
        self.kernel_cmdline = b""
        self.kernel_compression = ""
        self.statuses: dict[str, int] = {}
        self.now = 0.0
        self.during_system: Callable[[], object] = lambda: None
        self.tree = tree

    def has_stderr(self) -> bool:
        return True

    def getcwd(self) -> str:
        return "/home"

    def openlog(self, ident: str) -> None:
        self.calls.append(("openlog", ident))

    def syslog(self, priority: int, text: str) -> None:
        self.calls.append(("syslog", priority, text))

    def release(self) -> str:
        return RELEASE

    def cmdline(self) -> bytes:
        return self.kernel_cmdline

    def proc_modules(self) -> str:
        return "".join(f"{name} 16384 {count} - Live 0x0\n" for name, (count, _by) in self.loaded.items())

    def module_attribute(self, name: str, attribute: str) -> str:
        if name not in self.loaded:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if attribute == "initstate":
            return self.initstates.get(name, "live") + "\n"
        if attribute.startswith("sections/"):
            return self.sections[attribute.removeprefix("sections/")]
        return f"{self.loaded[name][0] if attribute == 'refcnt' else 16384}\n"

    def has_module_directory(self, name: str) -> bool:
        return name in self.loaded

    def module_holders(self, name: str) -> list[str]:
        if name not in self.loaded:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self.loaded[name][1]

    def module_sections(self, name: str) -> list[str]:
        if name not in self.loaded:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return [*self.sections]

    def compression(self) -> str:
        return self.kernel_compression

    def open_tree(self, dirname: str) -> Tree:
        return self.tree or Tree(dirname, self.files)

    def open_module(self, path: str) -> ModuleFile:
        return ModuleFile(path, self.files.real(path))

    def finit_module(self, file: ModuleFile, params: str, flags: int) -> None:
        name = modname_from_path(file.path)
        self.calls.append(("finit_module", name, params, flags))
        self._fail(name)
        self.loaded[name] = (0, [])

    def init_module(self, image: bytes, params: str) -> None:
        self.calls.append(("init_module", len(image), params))

    def delete_module(self, name: str, flags: int) -> None:
        self.calls.append(("delete_module", name, flags))
        self._fail(name)
        self.loaded.pop(name, None)

    def system(self, command: str) -> int:
        self.calls.append(("system", command, self.environ.get("MODPROBE_MODULE")))
        self.during_system()
        return self.statuses.get(command, 0) << 8

    def beside(self, work: Callable[[], T], /) -> Callable[[], T]:
        """Do the work when its result is needed: there is one processor."""
        return work

    def leave(self, status: int) -> None:
        """Go on: the process is not the tool's alone."""

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _fail(self, name: str) -> None:
        if self.failures.get(name):
            number = self.failures[name].pop(0)
            if number:
                raise OSError(number, os.strerror(number))


def memory_tree(
    dependencies: dict[str, list[str]],
    *,
    aliases: dict[str, list[str]] | None = None,
    symbols: dict[str, list[str]] | None = None,
    builtin: tuple[str, ...] = (),
    builtin_aliases: dict[str, list[str]] | None = None,
    files: Files | None = None,
) -> Tree:
    """Make a tree of modules that need each other; ``dependencies`` lists users before what they use.

    Everything but the indexes is in ``files``, or exists and is empty.
    """
    dirname = f"/lib/modules/{RELEASE}"
    lines = {
        name: [f"kernel/{name}.ko:" + "".join(f" kernel/{other}.ko" for other in needed)]
        for name, needed in dependencies.items()
    }
    indexes = {
        "dep": lines,
        "alias": aliases or {},
        "symbols": symbols or {},
        "builtin": {name: [""] for name in builtin},
        "builtin.alias": builtin_aliases or {},
    }
    contents = {
        f"{dirname}/modules.{name}.bin": write_index(
            (key, priority, value) for key, values in index.items() for priority, value in enumerate(values)
        )
        for name, index in indexes.items()
    }
    return Tree(dirname, OverlayFiles(files or AllFiles(), contents))


class AllFiles:
    """Files of which each can be found and none has anything in it; ``contents`` says otherwise."""

    def __init__(self, contents: dict[str, str] | None = None, missing: tuple[str, ...] = ()) -> None:
        self.contents = contents or {}
        self.missing = missing

    def real(self, path: str) -> str:
        return path

    def follow(self, path: str) -> tuple[list[tuple[str, str]], str]:
        return [], path

    def open_module(self, path: str) -> ModuleFile:
        return ModuleFile(path)

    def read(self, path: str) -> bytes:
        if path not in self.contents:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return os.fsencode(self.contents[path])

    paged = read

    def listdir(self, path: str) -> list[str]:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def stat(self, path: str) -> os.stat_result:
        if path in self.missing:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return os.stat("/")
