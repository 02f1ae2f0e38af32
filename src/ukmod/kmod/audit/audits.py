"""The audit of a tree: each module with the verdict for each route to it."""

from __future__ import annotations

import difflib

from ukmod.errors import NotFoundError
from ukmod.kmod.audit.denials import findings_of
from ukmod.kmod.audit.outcomes import Asked, Outcomes
from ukmod.kmod.audit.routes import BLOCKED, KINDS, OPEN, UNKNOWN, ModuleAudit, Route
from ukmod.kmod.context import Context
from ukmod.kmod.loaded import NothingLoaded
from ukmod.kmod.names import normalize_alias, normalize_modname
from ukmod.kmod.predict.kernel import builtin_notes, policy_notes
from ukmod.kmod.still import StillFiles
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ukmod.kmod.audit.denials import AuditFinding
    from ukmod.kmod.config import Alias, Source
    from ukmod.kmod.context import Module
    from ukmod.kmod.explanation import Explainer
    from ukmod.kmod.kernelargs import BootArguments

__all__ = ["Audit", "audit"]

_WILD = frozenset("*?[")
_ORDER = {kind: number for number, kind in enumerate(KINDS)}


@record
class Audit:
    """The verdicts for a tree's modules, sorted by name, and the denials that fail."""

    modules: tuple[ModuleAudit, ...]
    findings: tuple[AuditFinding, ...]


def audit(
    ways: Sequence[tuple[BootArguments, Explainer]],
    names: Iterable[str] | None = None,
    early: Mapping[str, Sequence[Route]] = {},
) -> Audit:
    """Return the verdicts for some modules, by default for all of the tree, built-in ones included.

    ``ways`` are the command lines that the system may be booted with, each with its explainer
    (:meth:`ukmod.kmod.system.System.explainers`). If they do not agree on a route, its verdict is unknown.
    ``early`` are more routes, by module: those through an initramfs.

    Raises NotFoundError for a name that no module has, or if the tree has no indexes.
    """
    auditors = [_Auditor(explainer) for _, explainer in ways]
    wanted = auditors[0].names if names is None else sorted({normalize_modname(name) for name in names})
    boots = [boot for boot, _ in ways]
    modules = tuple(
        [
            _with(_agreed(boots, [one.module(name) for one in auditors]), early.get(name, ()))
            for name in wanted
        ]
    )
    return Audit(modules, findings_of(modules, [explainer for _, explainer in ways]))


def _agreed(boots: Sequence[BootArguments], found: Sequence[ModuleAudit]) -> ModuleAudit:
    """Return one audit of a module for all command lines."""
    if len(found) == 1:
        return found[0]
    routes: dict[tuple[str, str], list[tuple[BootArguments, Route]]] = {}
    for boot, one in zip(boots, found, strict=True):
        for route in one.routes:
            routes.setdefault((route.kind, route.via), []).append((boot, route))
    merged = tuple([_agreed_route(ways, len(boots)) for ways in routes.values()])
    return replace(found[0], routes=tuple(sorted(merged, key=_place)))


def _agreed_route(ways: Sequence[tuple[BootArguments, Route]], boots: int) -> Route:
    first = ways[0][1]
    if len({route.verdict for _, route in ways}) == 1 and len(ways) == boots:
        return first
    text = "; ".join([f"{route.verdict}, {boot.condition} ({boot.source})" for boot, route in ways])
    return replace(first, verdict=UNKNOWN, why=f"it depends: {text}")


def _with(module: ModuleAudit, routes: Sequence[Route]) -> ModuleAudit:
    if not routes or module.path is None:
        return module
    return replace(module, routes=tuple(sorted((*module.routes, *routes), key=_place)))


def _place(route: Route) -> tuple[int, str]:
    return _ORDER[route.kind], route.via


class _Auditor:
    """Finds the routes to modules, for one kernel command line, on outcomes that are found once."""

    def __init__(self, explainer: Explainer) -> None:
        given = explainer.circumstances
        tree = given.context.tree.through(StillFiles(given.context.tree.files))
        tree.require_indexes()
        self._context = Context(tree, given.context.config, log=given.context.log)
        self._given = replace(given, context=self._context, state=NothingLoaded())
        self._state = given.state
        self._initcalls = None if explainer.initcalls is None else dict(explainer.initcalls)
        self._builtin = frozenset(tree.builtin_names())
        self._loadable = tuple(tree.module_names())
        self.names = sorted({*self._loadable, *self._builtin})
        config = self._context.config
        self._optioned = frozenset([line.module for line in config.options])
        self._denials = {line.module: line.source for line in reversed(config.blacklists)}
        self._aliases: dict[str, list[str]] = {}
        for pattern, module in tree.alias_items():
            self._aliases.setdefault(module, []).append(pattern)
        self._symbols: dict[str, list[str]] = {}
        for symbol, module in tree.symbol_items():
            self._symbols.setdefault(module, []).append(symbol)
        named = [line.module for line in config.aliases] + [line.pattern for line in config.install]
        users = [Asked(name) for name in sorted({*self._loadable, *named} - self._builtin)]
        self._words = {one.text: self._word_for(one.text) for one in users}
        reached = [one for one in users if self._words[one.text] is not None]
        self._outcomes = Outcomes(self._given)
        self._outcomes.look(reached)
        self._users: dict[str, list[tuple[str, str]]] = {}
        for user in users:
            for module, kind in self._outcomes.brought(user).items():
                self._users.setdefault(module, []).append((user.text, kind))
        self._wild = [one for one in reached if self._outcomes.first(one).wild]

    def module(self, name: str) -> ModuleAudit:
        """Return the audit of one module. Raises NotFoundError for a name that no module has."""
        if name in self._builtin:
            return ModuleAudit(name, None, (self._builtin_route(name),))
        line = self._context.tree.dependency_line(name)
        if line is None:
            raise NotFoundError(f"no module of the tree has this name{self._similar(name)}", subject=name)
        routes = [self._by_name(name), *self._by_alias(name), *self._by_symbol(name), *self._by_users(name)]
        if self._state.initstate(name) is not None:
            routes.append(Route("live", name, OPEN, "it is in the kernel already"))
        if not any(route.verdict != BLOCKED for route in routes):
            routes += self._by_anything(name)
        path = self._context.tree.path(line.partition(":")[0])
        return ModuleAudit(name, path, tuple(sorted(dict.fromkeys(routes), key=_place)))

    def _similar(self, name: str) -> str:
        """Return what to add to the message about a name that no module has."""
        near = difflib.get_close_matches(name, [*self._loadable, *self._builtin])
        return f"; similar names: {', '.join(near)}" if near else ""

    # The kinds of routes

    def _builtin_route(self, name: str) -> Route:
        notes = list(builtin_notes(name, self._given.policy, self._initcalls))
        fatal = next((note for note in notes if note.fatal), None)
        if fatal is not None:
            return Route("builtin", name, BLOCKED, fatal.text, fatal.source)
        if notes:
            return Route("builtin", name, UNKNOWN, notes[0].text, notes[0].source)
        return Route("builtin", name, OPEN)

    def _by_name(self, name: str) -> Route:
        if self._config_aliases(name):
            return self._by_word("name", name, name)
        return self._plain("name", name, name)

    def _by_alias(self, name: str) -> Iterator[Route]:
        for pattern in self._aliases.get(name, ()):
            yield self._alias(name, pattern)
        for line in self._context.config.aliases:
            if line.module == name:
                route = self._alias(name, line.pattern, is_configured=True)
                yield replace(route, source=route.source or line.source)

    def _by_symbol(self, name: str) -> Iterator[Route]:
        symbols = self._symbols.get(name)
        if symbols:
            more = f" and {len(symbols) - 1} more" if symbols[1:] else ""
            yield replace(self._alias(name, symbols[0]), kind="symbol", via=symbols[0] + more)

    def _by_users(self, name: str) -> Iterator[Route]:
        for user, kind in self._users.get(name, ()):
            word = self._words[user]
            route = self._plain(kind, user, name) if word == user else self._by_word(kind, user, name)
            if route.verdict == BLOCKED and word not in {user, None}:
                route = self._plain(kind, user, name)
                why = "; ".join(filter(None, (route.why, f"{user} is asked for by {word}")))
                route = route if route.verdict == BLOCKED else replace(route, why=why)
            yield route

    def _by_anything(self, name: str) -> Iterator[Route]:
        """Yield commands that nobody knows: they may load a module that is blocked otherwise."""
        for asked in self._wild:
            if asked.text != name and not self._is_refused(name):
                text = f"cannot tell: {'; '.join(self._outcomes.first(asked).wild)}"
                yield Route("install", asked.text, UNKNOWN, text)

    # Words

    def _config_aliases(self, pattern: str) -> list[Alias]:
        """Return the aliases of the configuration that stand for all words of a pattern."""
        is_wild = _is_wild(pattern)
        return [
            line
            for line in self._context.config.aliases
            if fnmatch(line.pattern, pattern) and not (is_wild and set(line.pattern) & set("?[\\"))
        ]

    def _word_for(self, name: str) -> str | None:
        """Return a word by which a module is asked for: its name, unless that has another meaning here.

        None: no word stands for the module. Others may bring it along all the same.
        """
        if not self._config_aliases(name) and self._stands_for(name, name):
            return name
        if name in self._denials:
            return None
        own = next((line.pattern for line in self._context.config.aliases if line.module == name), None)
        if own is not None:  # all lines for a word count
            return own
        words = (*self._aliases.get(name, ()), *self._symbols.get(name, ()))
        return next((word for word in words if self._stands_for(word, name)), None)

    def _stands_for(self, word: str, name: str) -> bool:
        if not _is_wild(word):
            return name in [one.name for one in self._lookup(word)]
        return not self._config_aliases(word)

    def _lookup(self, word: str) -> list[Module]:
        self._context.forget()
        return self._context.lookup(word)

    # Verdicts

    def _alias(self, name: str, alias: str, *, is_configured: bool = False) -> Route:
        """Return the route by an alias of a module; the configuration may have given it another meaning.

        ``is_configured``: it is the configuration's own, whose lines for a word all count.
        """
        if _is_wild(alias):
            lines = () if is_configured else self._config_aliases(alias)
            if lines and name not in {line.module for line in lines}:
                return self._diverted(alias, lines, name)
        else:
            found = self._lookup(alias)
            is_plain = len(found) == 1 and found[0].name == name and found[0].alias is not None
            if not is_plain or normalize_alias(alias) in self._optioned:
                return self._by_word("alias", alias, name)
        source = self._denials.get(name)
        if source is not None:
            return Route("alias", alias, BLOCKED, "it is blacklisted", source)
        return self._plain("alias", alias, name, name)

    def _diverted(self, pattern: str, lines: Sequence[Alias], name: str) -> Route:
        """Return the route by words that stand for other modules here, which may need this one."""
        for line in lines:
            if line.module in self._words and line.module not in self._denials:
                route = self._plain("alias", pattern, name, line.module)
                if route.verdict != BLOCKED:
                    return replace(route, source=line.source)
        others = ", ".join([line.module for line in lines])
        return Route("alias", pattern, BLOCKED, f"here this is an alias of {others}", lines[0].source)

    def _by_word(self, kind: str, word: str, name: str) -> Route:
        """Return the route by a word, with everything that it stands for."""
        verdict, why, source = self._judged(Asked(word, is_word=True), name)
        found = self._lookup(word)
        if name not in [one.name for one in found]:
            source = source or next((one.origin for one in found if one.origin is not None), None)
            if verdict == BLOCKED and not why:
                why = f"here this is an alias of {', '.join([one.name for one in found])}"
        return Route(kind, word, verdict, why, source)

    def _plain(self, kind: str, via: str, name: str, asked: str | None = None) -> Route:
        """Return the route by a module that is asked for as such, by default the one of the name ``via``."""
        verdict, why, source = self._judged(Asked(via if asked is None else asked), name)
        return Route(kind, via, verdict, why, source)

    def _judged(self, asked: Asked, name: str) -> tuple[str, str, Source | None]:
        """Return whether an outcome holds a module, and why not, or on which condition."""
        first = self._outcomes.first(asked)
        if name in first.certain:
            return OPEN, "", None
        later = self._outcomes.later(asked, name)
        possible = first.possible | (frozenset() if later is None else later.possible)
        if later is not None and name in later.certain and self._outcomes.is_sure:
            return OPEN, "once other modules are loaded", None
        doubts = [*first.doubts, *(() if later is None else later.doubts)]
        is_wild = bool(first.wild or (later is not None and later.wild)) and not self._is_refused(name)
        if name in possible or is_wild:
            return UNKNOWN, f"cannot tell: {'; '.join(dict.fromkeys(doubts))}", None
        obstacle = first.obstacle(name)
        return (BLOCKED, "", None) if obstacle is None else (BLOCKED, obstacle.text, obstacle.source)

    def _is_refused(self, name: str) -> bool:
        """Tell whether the kernel refuses the module, whoever hands it over."""
        tree = self._context.tree
        facts = self._given.inspector.facts(name, tree.path(tree.module_path(name)))
        return any(note.fatal for note in policy_notes(facts, self._given.policy))


def _is_wild(alias: str) -> bool:
    """Tell whether an alias is a pattern, which stands for many words."""
    return not _WILD.isdisjoint(alias)
