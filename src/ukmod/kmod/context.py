"""Names to modules: what a tree and a configuration together say about each (libkmod's ``kmod_ctx``).

A module here is one that something has named: by its name, by an alias, or by a path. The same .ko reached
by its name and by an alias are two of them, as in libkmod: options may be given for the alias alone, a
blacklist closes the alias only, and a cycle of soft dependencies is broken once for each.
"""

from __future__ import annotations

import errno
import os

from ukmod.kmod.config import PROC_CMDLINE, Config, Source, load_config
from ukmod.kmod.host import LOG_ERR, silent
from ukmod.kmod.names import modname_from_path, normalize_alias, normalize_modname
from ukmod.kmod.wildcard import fnmatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ukmod.kmod.config import Blacklist, Command, Options, Softdep
    from ukmod.kmod.host import Host, LibraryLog
    from ukmod.kmod.tree import Tree

__all__ = ["Context", "Module", "Softdeps"]

_SPECIAL = frozenset("*?[\\")
"""Characters of a pattern that stand for anything but themselves."""


class Module:
    """A module somebody named. Ask the :class:`Context` it came from for more."""

    __slots__ = ("alias", "builtin", "install", "name", "origin", "parsed", "path", "prerequisites", "remove")

    def __init__(self, name: str, alias: str | None = None, origin: Source | None = None) -> None:
        self.name = name
        self.alias = alias
        self.origin = origin
        """The line that made the alias stand for this module."""
        self.path: str | None = None
        self.builtin: bool | None = None
        """Whether the kernel image holds it; None before anyone asked."""
        self.prerequisites: list[Module] = []
        self.parsed = False
        self.install: Command | None = None
        self.remove: Command | None = None

    def __repr__(self) -> str:
        alias = "" if self.alias is None else f" alias {self.alias}"
        return f"<Module {self.name}{alias}>"


class Softdeps:
    """The modules a softdep line asks for, and the line."""

    __slots__ = ("line", "post", "pre")

    def __init__(
        self, pre: Sequence[Module] = (), post: Sequence[Module] = (), line: Softdep | None = None
    ) -> None:
        self.pre = pre
        self.post = post
        self.line = line

    def __bool__(self) -> bool:
        return bool(self.pre or self.post)

    @property
    def source(self) -> Source | None:
        """Where the line is."""
        return None if self.line is None else self.line.source


class Context:
    """A tree, a configuration, and the modules named so far."""

    __slots__ = ("_matches", "_modules", "config", "getcwd", "log", "tree")

    def __init__(
        self,
        tree: Tree,
        config: Config | None = None,
        *,
        log: LibraryLog = silent,
        getcwd: Callable[[], str] = os.getcwd,
    ) -> None:
        """``config`` defaults to none at all; ``getcwd`` says what relative paths are relative to."""
        self.tree = tree
        self.config = Config() if config is None else config
        self.log = log
        self.getcwd = getcwd
        self._modules: dict[tuple[str, str | None], Module] = {}
        self._matches: dict[str, _FirstMatch] = {}

    @classmethod
    def open(
        cls,
        tree: Tree,
        *,
        config_paths: Sequence[str] | None = None,
        kernel_cmdline: bytes = b"",
        cmdline_source: Source = PROC_CMDLINE,
        log: LibraryLog = silent,
    ) -> Context:
        """Read a tree's configuration, from ``config_paths`` instead of the usual places if given.

        ``cmdline_source`` is where the kernel's command line was found.
        """
        paths = tree.config_paths if config_paths is None else config_paths
        config = load_config(
            tree.dirname,
            paths,
            tree.files,
            kernel_cmdline=kernel_cmdline,
            cmdline_source=cmdline_source,
            log=log,
        )
        return cls(tree, config, log=log)

    @classmethod
    def on(cls, host: Host, tree: Tree, config_paths: Sequence[str] | None, log: LibraryLog) -> Context:
        """Read the configuration as it applies on a host, its kernel's command line included."""
        try:
            cmdline = host.cmdline()
        except OSError:
            cmdline = b""
        context = cls.open(tree, config_paths=config_paths, kernel_cmdline=cmdline, log=log)
        context.getcwd = host.getcwd
        return context

    def forget(self) -> None:
        """Forget the modules named so far; each word of a command line starts afresh."""
        self._modules.clear()

    # How modules come to be named

    def by_name(self, name: str) -> Module:
        """Return the module of a name; whether it exists is another question."""
        return self._named(normalize_modname(name), None, None)

    def by_path(self, path: str, *, is_there: bool = False) -> Module:
        """Return the module of a file; OSError if there is none, or a namesake elsewhere was named before.

        ``is_there`` says that the caller has just looked.
        """
        absolute = path if path.startswith("/") else f"{self.getcwd()}/{path}"
        if not is_there:
            self.tree.files.stat(absolute)
        name = modname_from_path(path)
        if not path.rpartition("/")[2]:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        module = self._named(name, None, None)
        if module.path is None:
            module.path = absolute
        elif module.path != absolute:
            spelled = f"new-path='{absolute}' old-path='{module.path}'"
            self._error(
                "kmod_module_new_from_path",
                f"kmod_module '{name}' already exists with different path: {spelled}",
            )
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        module.builtin = False
        return module

    def lookup(self, word: str) -> list[Module]:
        """Return the modules a name or alias stands for, from the first place that knows it.

        The places, as in libkmod: aliases of the configuration, modules.dep, modules.symbols, install and
        remove commands, modules.alias, modules.builtin, modules.builtin.alias.
        """
        alias = normalize_alias(word)
        if alias is None:
            return []
        for place in (
            self._from_config,
            self._from_dependencies,
            self._from_symbols,
            self._from_commands,
            self._from_aliases,
            self._from_builtin,
            self._from_builtin_aliases,
        ):
            found = place(alias)
            if found:
                return found
        return []

    def lookup_name(self, word: str) -> Module | None:
        """Return the module of a name, without the configuration's aliases and those of modules.alias."""
        name = normalize_modname(word)
        for place in (self._from_dependencies, self._from_builtin, self._from_builtin_aliases):
            found = place(name)
            if found:
                return found[0]
        return None

    def named_by_command(self, name: str) -> Module | None:
        """Return the module of a name that an install or a remove line has, as it stands there."""
        return next(iter(self._from_commands(name)), None)

    # What is known of a module

    def path_of(self, module: Module) -> str | None:
        """Return where the module's file is; None for a built-in one, or a name without a module."""
        if module.path is None:
            self._read_dependencies(module)
        return module.path

    def dependencies(self, module: Module) -> list[Module]:
        """Return all modules this one needs, each after those it needs itself: the order to load them in."""
        self._read_dependencies(module)
        return module.prerequisites

    def is_builtin(self, module: Module) -> bool:
        """Tell whether the kernel image holds the module."""
        if module.builtin is None:
            module.builtin = self.tree.is_builtin(module.name)
        return module.builtin

    def options(self, module: Module) -> list[Options]:
        """Return the options lines for the module, or for the alias it was named by."""
        names = {module.name, module.alias}
        return [line for line in self.config.options if line.module in names and line.text]

    def install_command(self, module: Module) -> Command | None:
        """Return the first install line that matches."""
        if module.install is None:
            module.install = self._first("install", module.name)
        return module.install

    def remove_command(self, module: Module) -> Command | None:
        """Return the first remove line that matches."""
        if module.remove is None:
            module.remove = self._first("remove", module.name)
        return module.remove

    def softdeps(self, module: Module) -> Softdeps:
        """Return what the first matching softdep line asks for; names nobody knows are passed over."""
        line = self._first("softdeps", module.name)
        if line is None:
            return Softdeps()
        return Softdeps(self._lookup_all(line.pre), self._lookup_all(line.post), line)

    def weakdeps(self, module: Module) -> list[Module]:
        """Return what the first matching weakdep line names: modules it may use later, and nobody loads for
        it.
        """
        line = self._first("weakdeps", module.name)
        return [] if line is None else self._lookup_all(line.weak)

    def blacklist(self, module: Module) -> Blacklist | None:
        """Return the line that blacklists the module, whether or not it will be heeded."""
        return next((line for line in self.config.blacklists if line.module == module.name), None)

    # The places lookup() asks

    def _from_config(self, alias: str) -> list[Module]:
        return [
            self._named(line.module, line.pattern, line.source)
            for line in self.config.aliases
            if fnmatch(line.pattern, alias)
        ]

    def _from_dependencies(self, name: str) -> list[Module]:
        # No module's name has a colon in it, most aliases do.
        line = None if ":" in name else self.tree.dependency_line(name)
        if line is None:
            return []
        module = self.by_name(name)
        self._parse_dependencies(module, line)
        return [module]

    def _from_symbols(self, alias: str) -> list[Module]:
        if not alias.startswith("symbol:"):
            return []
        return self._indexed(alias, "modules.symbols.bin", self.tree.symbols(alias))

    def _from_commands(self, name: str) -> list[Module]:
        for commands, kind in ((self.config.install, "install"), (self.config.remove, "remove")):
            for line in commands:
                if line.pattern == name:
                    module = self.by_name(name)
                    # The line that gave the name a meaning wins over a wildcard that stands before it.
                    setattr(module, kind, line)
                    return [module]
        return []

    def _from_aliases(self, alias: str) -> list[Module]:
        return self._indexed(alias, "modules.alias.bin", self.tree.aliases(alias))

    def _from_builtin(self, name: str) -> list[Module]:
        if not self.tree.is_builtin(name):
            return []
        module = self.by_name(name)
        module.builtin = True
        return [module]

    def _from_builtin_aliases(self, alias: str) -> list[Module]:
        found = self._indexed(alias, "modules.builtin.alias.bin", self.tree.builtin_aliases(alias))
        for module in found:
            module.builtin = True
        return found

    def _indexed(self, alias: str, file: str, names: list[str]) -> list[Module]:
        source = Source(f"{self.tree.dirname}/{file}")
        return [self._named(name, alias, source) for name in names]

    def _lookup_all(self, words: Sequence[str]) -> list[Module]:
        found: list[Module] = []
        for word in words:
            if normalize_alias(word) is None:
                self._error("lookup_dep", f"failed to lookup dependency '{word}', continuing anyway.")
            found += self.lookup(word)
        return found

    # modules.dep

    def _read_dependencies(self, module: Module) -> None:
        if not module.parsed:
            line = self.tree.dependency_line(module.name)
            if line is not None:
                self._parse_dependencies(module, line)

    def _parse_dependencies(self, module: Module, line: str) -> None:
        """Take a module's path and dependencies from its line of modules.dep.

        When one of the files is gone, the module has no dependencies, as far as libkmod is concerned:
        loading it then fails in the kernel, which is where the user gets to see why.
        """
        if module.parsed:
            return
        module.parsed = True
        own, colon, rest = line.partition(":")
        if not colon:
            return
        if module.path is None:
            module.path = self.tree.path(own)
        found: list[Module] = []
        for word in filter(None, rest.replace("\t", " ").split(" ")):
            path = self.tree.path(word)
            try:
                found.append(self.by_path(path))
            except OSError as error:
                reason = os.strerror(error.errno or errno.EINVAL)
                self._error("kmod_module_parse_depline", f"ctx={id(self):#x} path={path} error={reason}")
                module.parsed = False
                return
        module.prerequisites = found[::-1]  # the line has users before what they use

    def _named(self, name: str, alias: str | None, origin: Source | None) -> Module:
        key = (name, alias)
        if key not in self._modules:
            self._modules[key] = Module(name, alias, origin)
        return self._modules[key]

    def _first(self, kind: str, name: str) -> Any:
        """Return the first line of a kind, as the configuration calls it, whose pattern a name matches."""
        lines = getattr(self.config, kind)
        known = self._matches.get(kind)
        if known is None or known.count != len(lines):
            known = self._matches[kind] = _FirstMatch(lines)
        return known.of(name)

    def _error(self, function: str, text: str) -> None:
        self.log(LOG_ERR, function, text)


class _FirstMatch:
    """Finds the first of some lines whose pattern a name matches.

    Most patterns are plain names: thousands of lines cost no more than a few, if all modules are asked for.
    """

    __slots__ = ("_exact", "_lines", "_wild", "count")

    def __init__(self, lines: Sequence[Any]) -> None:
        self.count = len(lines)
        self._lines = lines
        self._exact: dict[str, int] = {}
        self._wild: list[int] = []
        for number, line in enumerate(lines):
            if set(line.pattern) & _SPECIAL:
                self._wild.append(number)
            else:
                self._exact.setdefault(line.pattern, number)

    def of(self, name: str) -> Any:
        """Return the line; None if no pattern matches."""
        found = self._exact.get(name)
        for number in self._wild:
            if found is not None and number > found:
                break
            if fnmatch(self._lines[number].pattern, name):
                return self._lines[number]
        return None if found is None else self._lines[found]
