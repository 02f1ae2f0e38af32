"""Everything a set of modules needs: what an initramfs has to hold so that they can be loaded.

Hard dependencies (modules.dep), soft ones (modules.softdep and softdep lines), and weak ones if asked for;
of each module its file and the firmware it names. Cycles, which soft dependencies may have, do no harm. A
module built into the kernel has neither file nor dependencies, but it names firmware and soft dependencies as
any other does: in modules.builtin.modinfo.
"""

from __future__ import annotations

import errno
import os
from collections import deque

from ukmod.errors import MissingExtraError, UkmodError
from ukmod.kmod.devices import UNKNOWN, matcher
from ukmod.kmod.firmware import firmware_files
from ukmod.kmod.modinfo import ModuleInfo, builtin_modules, read_module
from ukmod.kmod.names import is_path, modname_from_path, normalize_modname
from ukmod.kmod.selection import is_pattern, selector, selector_of_any
from ukmod.kmod.symbols import needed_names
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.context import Context, Module

__all__ = ["Closure", "ClosureModule", "Firmware", "Link", "Missing", "closure"]


@record
class ClosureModule:
    """A module of the closure. ``path`` is None for one that is built into the kernel.

    ``reason`` is requested, pattern, loaded, device, dependency, softdep or weakdep; ``of`` the word, the
    pattern, the device's modalias or the module it is there for. ``needs`` are the modules that it needs, all
    of them, as modules.dep has them; ``softdeps`` and ``weakdeps`` those that it names itself, as far as
    the tree has them. Weak ones are empty unless they are followed.
    """

    module: str
    path: str | None
    reason: str
    of: str
    needs: tuple[str, ...] = ()
    softdeps: tuple[str, ...] = ()
    weakdeps: tuple[str, ...] = ()


@record
class Firmware:
    """A firmware file and the module that names it, by the name ``field``."""

    path: str
    module: str
    field: str = ""


@record
class Link:
    """A symbolic link that a file's path leads through; ``end`` is where that path ends."""

    path: str
    target: str
    end: str


@record
class Missing:
    """Something that is not there. ``kind`` is module, file, softdep, weakdep, firmware, loaded or device.

    The first two are faults of the tree or the request. The rest is usual: few systems have all firmware,
    soft dependencies name modules of other configurations, a machine's modules may be those of another
    kernel, and most devices need no module.
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

    @property
    def state(self) -> str:
        """Its state, as the end of a sentence that begins with its name."""
        return f": {self.why}" if self.why else " is missing"

    def __str__(self) -> str:
        if self.kind == "device":
            return f"no module is for the device {self.name}"
        return f"{self.kind} {self.name}{self.state}" + (f" (for {self.needed_by})" if self.needed_by else "")


@record
class Closure:
    """The result: modules in an order they can be loaded in, their firmware, and what was not found.

    ``links`` are the symbolic links that the paths lead through below the tree and the firmware directories.
    """

    modules: tuple[ClosureModule, ...]
    firmware: tuple[Firmware, ...]
    missing: tuple[Missing, ...]
    links: tuple[Link, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All files, modules first; after them the links that lead to any of them, and the links' targets."""
        modules = [member.path for member in self.modules if member.path is not None]
        targets = [path for link in self.links for path in (link.path, link.end)]
        return tuple(dict.fromkeys((*modules, *(one.path for one in self.firmware), *targets)))

    def chain(self, name: str) -> tuple[ClosureModule, ...]:
        """Return why a module is in the closure: itself, the one that needs it, and so on to the request.

        ``name`` may be a firmware file's name or path, too; it is there for the module that names it. Nothing
        is returned for what is not in the closure.
        """
        members = {member.module: member for member in self.modules}
        named = (one.module for one in self.firmware if name in (one.field, one.path))
        module = normalize_modname(name)
        member = members.get(module) or members.get(next(named, ""))
        found: list[ClosureModule] = []
        while member is not None and member not in found:
            found.append(member)
            member = members.get(_user(member, members))
        return tuple(found)


def _user(member: ClosureModule, members: dict[str, ClosureModule]) -> str:
    """The module that a member is there for: of a dependency, the one that needs it itself."""
    if member.reason != "dependency":
        return member.of if member.reason in ("softdep", "weakdep") else ""
    root = members.get(member.of)
    above = [one for one in (root.needs if root is not None else ()) if one in members]
    users = [one for one in (*above, member.of) if one in members and member.module in members[one].needs]
    # The lowest of them is the one that needs no other user: nothing stands between it and the member.
    return next(
        (one for one in users if not any(other in members[one].needs for other in users if other != one)),
        member.of,
    )


def closure(
    context: Context,
    words: Iterable[str],
    *,
    weakdeps: bool = False,
    firmware_directories: Sequence[str] = (),
    exclude: Iterable[str] = (),
    loaded: Iterable[str] = (),
    devices: Iterable[str] = (),
) -> Closure:
    """Return what modules need.

    words: names, aliases, paths of module files, and patterns, see :mod:`ukmod.kmod.selection`. A file from
    elsewhere than the tree says itself what it depends on.
    firmware_directories: where to look for firmware, which is left out otherwise.
    exclude: names and patterns of modules to leave out, unless they are requested by name. A module that
    depends on such a one is left out too.
    loaded: names of modules that some machine has loaded: it does no harm if the tree lacks them.
    devices: modaliases of devices, as :func:`ukmod.kmod.devices.read_devices` returns them.

    Raises NotFoundError if the tree has no indexes, UsageError for a pattern that makes no sense.
    """
    words, loaded, devices = list(words), list(loaded), list(devices)
    if loaded or devices or not all(map(is_path, words)):
        context.tree.require_indexes()
    walk = _Walk(context, weakdeps=weakdeps, firmware_directories=firmware_directories, exclude=exclude)
    walk.take_files(filter(is_path, words))
    for word in words:
        walk.request(word)
    for name in loaded:
        walk.lookup(name, "loaded", name)
    for modalias in devices:
        walk.device(modalias)
    walk.run()
    return walk.result()


def _fault(error: OSError | UkmodError) -> str:
    """The fault of a file that cannot be read; empty if it is not there."""
    if isinstance(error, MissingExtraError):
        return f"cannot read (needs extra {error.extra}): {error.message}"
    if isinstance(error, UkmodError):
        return error.message
    return "" if error.errno == errno.ENOENT else error.strerror or str(error)


class _Walk:
    def __init__(
        self,
        context: Context,
        *,
        weakdeps: bool,
        firmware_directories: Sequence[str],
        exclude: Iterable[str],
    ) -> None:
        self._members: dict[str, ClosureModule] = {}
        self._firmware: list[Firmware] = []
        self._missing: list[Missing] = []
        self._context = context
        self._weakdeps = weakdeps
        self._directories = firmware_directories
        self._is_excluded = selector_of_any(exclude)
        self._wanted: set[str] = set()
        """Modules requested by name: no pattern excludes them."""
        self._looked_at: set[str] = set()
        self._files: dict[str, ModuleInfo] = {}
        """The information in each requested file, by the name of its module."""
        self._needs: dict[str, list[Module]] = {}
        self._builtin: dict[str, ModuleInfo] | None = None
        self._aliases: list[tuple[str, str]] = []
        self._todo: deque[tuple[Module, str, str]] = deque()

    def result(self) -> Closure:
        """Return what was found."""
        links: list[Link] = []
        bases = (self._context.tree.dirname, *self._directories)
        for path in [member.path for member in self._members.values() if member.path is not None]:
            links += self._links(path, bases[:1])
        for firmware in self._firmware:
            links += self._links(firmware.path, bases[1:])
        return Closure(
            tuple(self._members.values()),
            tuple(self._firmware),
            tuple(dict.fromkeys(self._missing)),
            tuple(dict.fromkeys(links)),
        )

    # What is asked for

    def take_files(self, paths: Iterable[str]) -> None:
        """Read the files that are requested: they may need each other, and do not care for modules.dep."""
        for path in paths:
            if self._is_of_tree(path):
                continue
            name = modname_from_path(path)
            try:
                with self._context.tree.open_module(self._absolute(path)) as file:
                    info = read_module(file, name, signature=False, build_id=False)
                    owners = [owner for need in needed_names(file.elf())[0] for owner in self._owners(need)]
            except (OSError, UkmodError):
                continue  # which is reported when the module is added
            depends = ",".join(dict.fromkeys((*map(normalize_modname, info.depends), *owners)))
            others = [field for field in info.fields if field[0] != "depends"]
            self._files[name] = ModuleInfo(name, path, (*others, ("depends", depends)))

    def request(self, word: str) -> None:
        """Take up what a word of the request stands for."""
        if is_path(word):
            try:
                module = self._context.by_path(word)
            except OSError as error:
                self._missing.append(Missing("file", word, "", _fault(error)))
                return
            self._wanted.add(module.name)
            self._todo.append((module, "requested", word))
        elif is_pattern(word):
            selects = selector(word)
            names = [name for name, path in self._context.tree.modules() if selects(name, path)]
            if not names:
                self._missing.append(Missing("module", word, "", "no module matches"))
            self._todo.extend((self._context.by_name(name), "pattern", word) for name in names)
        else:
            self._wanted.update(module.name for module in self._context.lookup(word))
            self.lookup(word, "requested", word, "module")

    def lookup(
        self, word: str, reason: str, of: str, kind: str = "", needed_by: str = ""
    ) -> Sequence[Module]:
        """Take up and return the modules of a name or an alias; ``kind`` is that of one that is missing."""
        found = self._context.lookup(word)
        if not found:
            self._missing.append(Missing(kind or reason, word, needed_by))
        self._todo.extend((module, reason, of) for module in found)
        return found

    def device(self, modalias: str) -> None:
        """Take up the modules that a device's modalias can stand for, as far as it is known."""
        if UNKNOWN not in modalias:
            self.lookup(modalias, "device", modalias)
            return
        if not self._aliases:
            tree = self._context.tree
            own = [(line.pattern, line.module) for line in self._context.config.aliases]
            self._aliases = [*own, *tree.alias_items(), *tree.builtin_alias_items()]
        matches = matcher(modalias)
        names = dict.fromkeys(name for alias, name in self._aliases if matches(alias))
        if not names:
            self._missing.append(Missing("device", modalias, ""))
        self._todo.extend((self._context.by_name(name), "device", modalias) for name in names)

    # The walk

    def run(self) -> None:
        """Add modules until there is none left to add; each after its hard dependencies."""
        while self._todo:
            module, reason, of = self._todo.popleft()
            needs = self._dependencies(module)
            if excluded := next((one for one in (module, *needs) if self._leaves_out(one)), None):
                if excluded is not module or reason == "requested":
                    why = f"depends on {excluded.name}, which is excluded"
                    kind = "module" if reason == "requested" else "softdep" if of in self._members else reason
                    self._missing.append(Missing(kind, module.name, "", why))
                continue
            for dependency in needs:
                self._add(dependency, "dependency", module.name)
            self._add(module, reason, of)

    def _leaves_out(self, module: Module) -> bool:
        if module.name in self._wanted or module.name in self._members:
            return False
        path = self._context.path_of(module) or ""
        inside = f"{self._context.tree.dirname}/"
        return self._is_excluded(module.name, path.removeprefix(inside)) and bool(path)

    def _dependencies(self, module: Module) -> list[Module]:
        """All modules that one needs, in the order to load them in."""
        if module.name not in self._files:
            return self._context.dependencies(module)
        if module.name not in self._needs:
            found: dict[str, Module] = {}
            self._needs[module.name] = []  # for files that need each other
            for name in self._files[module.name].depends:
                own = self._files.get(name)
                if own is not None and own.path is not None:
                    one: Module | None = self._context.by_path(own.path)
                else:
                    one = self._context.lookup_name(name)
                if one is None:
                    self._context.tree.require_indexes()
                    self._missing.append(Missing("module", name, module.name))
                    continue
                found |= {needed.name: needed for needed in (*self._dependencies(one), one)}
            self._needs[module.name] = list(found.values())
        return self._needs[module.name]

    def _add(self, module: Module, reason: str, of: str) -> None:
        if module.name in self._looked_at:
            return
        path = self._context.path_of(module)
        if path is None and not self._context.is_builtin(module):
            kind = "module" if reason in ("requested", "dependency", "pattern") else reason
            self._missing.append(Missing(kind, module.name, of))
            return
        self._looked_at.add(module.name)
        info = self._of_builtin(module.name) if path is None else self._read(module.name, path)
        if info is None:
            self._follow(ModuleInfo(module.name, path, ()))
            return
        needs = tuple(needed.name for needed in self._dependencies(module))
        self._find_firmware(info)
        soft, weak = self._follow(info)
        self._members[module.name] = ClosureModule(module.name, path, reason, of, needs, soft, weak)

    def _follow(self, info: ModuleInfo) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Take up a module's soft and weak dependencies, and return their modules."""
        config = self._context.config
        # As for modprobe, the first line that matches counts.
        soft = next((line for line in config.softdeps if fnmatch(line.pattern, info.name)), None)
        weak = next((line for line in config.weakdeps if fnmatch(line.pattern, info.name)), None)
        soft_words = [] if soft is None else [*soft.pre, *soft.post]
        weak_words = [] if weak is None else [*weak.weak]
        if info.path is None or info.name in self._files:  # the tree's files have the others' own
            own = [word for text in info.softdeps for word in text.split()]
            soft_words += [word for word in own if word not in ("pre:", "post:")]
            weak_words += [word for text in info.weakdeps for word in text.split()]
        return (
            self._lookup_all(soft_words, "softdep", info.name),
            self._lookup_all(weak_words if self._weakdeps else (), "weakdep", info.name),
        )

    def _lookup_all(self, words: Iterable[str], reason: str, of: str) -> tuple[str, ...]:
        found = [module.name for word in words for module in self.lookup(word, reason, of, needed_by=of)]
        return tuple(dict.fromkeys(found))

    # Files

    def _read(self, name: str, path: str) -> ModuleInfo | None:
        """Return what a module's file says of itself; None if the file cannot be used.

        One that only this Python cannot unpack is as good as any other; its firmware is not known.
        """
        try:
            with self._context.tree.open_module(path) as file:
                return read_module(file, name, signature=False, build_id=False)
        except (OSError, UkmodError) as error:
            self._missing.append(Missing("file", path, name, _fault(error)))
            return ModuleInfo(name, path, ()) if isinstance(error, MissingExtraError) else None

    def _find_firmware(self, info: ModuleInfo) -> None:
        for field in dict.fromkeys(info.firmware) if self._directories else ():
            files = firmware_files(field, self._directories, self._context.tree.files)
            if not files:
                self._missing.append(Missing("firmware", field, info.name))
            self._firmware += [Firmware(one, info.name, field) for one in files]

    def _of_builtin(self, name: str) -> ModuleInfo:
        if self._builtin is None:
            tree = self._context.tree
            try:
                content = tree.files.read(f"{tree.dirname}/modules.builtin.modinfo")
            except OSError:
                content = b""  # kernels before 5.2 have none
            self._builtin = builtin_modules(content)
        return self._builtin.get(normalize_modname(name)) or ModuleInfo(name, None, ())

    def _owners(self, symbol: str) -> list[str]:
        return self._context.tree.symbols(f"symbol:{symbol}")[:1]

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else f"{self._context.getcwd()}/{path}"

    def _is_of_tree(self, path: str) -> bool:
        """Tell whether a file is the one that the tree's modules.dep has for the module of that name."""
        line = self._context.tree.dependency_line(modname_from_path(path))
        if line is None:
            return False
        own = self._context.tree.path(line.partition(":")[0])
        return own == os.path.normpath(self._absolute(path))

    def _links(self, path: str, bases: Sequence[str]) -> list[Link]:
        """Return the links below one of the directories that a path leads through."""
        base = next((one for one in bases if path.startswith(f"{one}/")), "")
        if not base:
            return []
        files = self._context.tree.files
        try:
            links, end = files.follow(path)
            above, real = files.follow(base)
        except OSError:
            return []
        return [
            Link(_spelled(where, base, real), target, _spelled(end, base, real))
            for where, target in links[len(above) :]
        ]


def _spelled(path: str, base: str, real: str) -> str:
    """Spell a path as the closure's others: those below a directory begin as it was spelled."""
    return base + path.removeprefix(real) if path.startswith(f"{real}/") else path
