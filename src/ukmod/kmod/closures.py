"""Everything a set of modules needs: what an initramfs has to hold so that they can be loaded.

Hard dependencies (modules.dep), soft ones (modules.softdep and softdep lines), and weak ones if asked for;
of each module its file and the firmware it names. Cycles, which soft dependencies may have, do no harm.
"""

from __future__ import annotations

import errno
from collections import deque

from ukmod.errors import MissingExtraError, UkmodError
from ukmod.kmod.firmware import firmware_files
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.names import is_path
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.context import Context, Module

__all__ = ["Closure", "ClosureModule", "Firmware", "Missing", "closure"]


@record
class ClosureModule:
    """A module of the closure. ``path`` is None for one that is built into the kernel.

    ``reason`` is requested, dependency, softdep or weakdep; ``of`` the word or module it is there for.
    """

    module: str
    path: str | None
    reason: str
    of: str


@record
class Firmware:
    """A firmware file and the module that names it."""

    path: str
    module: str


@record
class Missing:
    """Something that is not there. ``kind`` is module, file, softdep, weakdep or firmware.

    The first two are faults of the tree or the request; the rest is usual: few systems have all firmware, and
    soft dependencies name modules of other configurations.
    """

    kind: str
    name: str
    needed_by: str
    why: str = ""
    """The fault of a file that is there and cannot be used; empty if it is not there."""

    @property
    def is_fault(self) -> bool:
        """Whether something required is missing."""
        return self.kind in ("module", "file")

    def __str__(self) -> str:
        state = f": {self.why}" if self.why else " is missing"
        return f"{self.kind} {self.name}{state}" + (f" (for {self.needed_by})" if self.needed_by else "")


@record
class Closure:
    """The result: modules in an order they can be loaded in, their firmware, and what was not found."""

    modules: tuple[ClosureModule, ...]
    firmware: tuple[Firmware, ...]
    missing: tuple[Missing, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """All files, modules first."""
        modules = [member.path for member in self.modules if member.path is not None]
        return (*modules, *dict.fromkeys(one.path for one in self.firmware))


def closure(
    context: Context,
    words: Iterable[str],
    *,
    weakdeps: bool = False,
    firmware_directories: Sequence[str] = (),
) -> Closure:
    """Return what the modules that ``words`` (names, aliases or paths) stand for need.

    Without ``firmware_directories`` firmware is left out.

    Raises NotFoundError if the tree has no indexes, MissingExtraError for a module that is compressed with
    zstd, if this Python cannot unpack it.
    """
    words = list(words)
    if not all(map(is_path, words)):
        context.tree.require_indexes()
    walk = _Walk(context, weakdeps=weakdeps, firmware_directories=firmware_directories)
    for word in words:
        walk.request(word)
    walk.run()
    return Closure(tuple(walk.members.values()), tuple(walk.firmware), tuple(dict.fromkeys(walk.missing)))


def _fault(error: OSError | UkmodError) -> str:
    """The fault of a file that cannot be read; empty if it is not there."""
    if isinstance(error, UkmodError):
        return error.message
    return "" if error.errno == errno.ENOENT else error.strerror or str(error)


class _Walk:
    def __init__(self, context: Context, *, weakdeps: bool, firmware_directories: Sequence[str]) -> None:
        self.members: dict[str, ClosureModule] = {}
        self.firmware: list[Firmware] = []
        self.missing: list[Missing] = []
        self._context = context
        self._weakdeps = weakdeps
        self._directories = firmware_directories
        self._looked_at: set[str] = set()
        self._todo: deque[tuple[Module, str, str]] = deque()

    def request(self, word: str) -> None:
        """Take up what a word of the request stands for."""
        if is_path(word):
            try:
                self._todo.append((self._context.by_path(word), "requested", word))
            except OSError as error:
                self.missing.append(Missing("file", word, "", _fault(error)))
        else:
            self._lookup(word, "requested", word, "module", "")

    def run(self) -> None:
        """Add modules until there is none left to add; each after its hard dependencies."""
        while self._todo:
            module, reason, of = self._todo.popleft()
            for dependency in self._context.dependencies(module):
                self._add(dependency, "dependency", module.name)
            self._add(module, reason, of)

    def _add(self, module: Module, reason: str, of: str) -> None:
        if module.name in self._looked_at:
            return
        path = self._context.path_of(module)
        if path is None and not self._context.is_builtin(module):
            self.missing.append(Missing("module", module.name, of))
            return
        self._looked_at.add(module.name)
        if path is None or self._read(module.name, path):
            self.members[module.name] = ClosureModule(module.name, path, reason, of)
        self._soft(module.name)

    def _soft(self, name: str) -> None:
        for line in self._context.config.softdeps:
            if fnmatch(line.pattern, name):
                for word in (*line.pre, *line.post):
                    self._lookup(word, "softdep", name, "softdep", name)
                break  # as for modprobe, the first line counts
        for weak in self._context.config.weakdeps if self._weakdeps else ():
            if fnmatch(weak.pattern, name):
                for word in weak.weak:
                    self._lookup(word, "weakdep", name, "weakdep", name)

    def _lookup(self, word: str, reason: str, of: str, kind: str, needed_by: str) -> None:
        found = self._context.lookup(word)
        if not found:
            self.missing.append(Missing(kind, word, needed_by))
        self._todo.extend((module, reason, of) for module in found)

    def _read(self, name: str, path: str) -> bool:
        """Look into a module's file for the firmware it names; False if the file cannot be used."""
        try:
            with self._context.tree.open_module(path) as file:
                named = read_module(file, name).firmware
        except MissingExtraError:
            raise
        except (OSError, UkmodError) as error:
            self.missing.append(Missing("file", path, name, _fault(error)))
            return False
        for firmware in named if self._directories else ():
            files = firmware_files(firmware, self._directories, self._context.tree.files)
            if not files:
                self.missing.append(Missing("firmware", firmware, name))
            self.firmware += [Firmware(one, name) for one in files]
        return True
