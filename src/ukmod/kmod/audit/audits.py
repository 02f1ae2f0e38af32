"""The audit of a tree: each module with the verdict for each route to it."""

from __future__ import annotations

from ukmod.errors import NotFoundError
from ukmod.kmod.audit.denials import findings_of
from ukmod.kmod.audit.outcomes import Outcomes
from ukmod.kmod.audit.routes import BLOCKED, KINDS, OPEN, UNKNOWN, ModuleAudit, Route
from ukmod.kmod.loaded import NothingLoaded
from ukmod.kmod.names import normalize_alias, normalize_modname
from ukmod.kmod.predict.kernel import builtin_notes, policy_notes
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ukmod.kmod.audit.denials import AuditFinding
    from ukmod.kmod.audit.outcomes import RequestOutcome
    from ukmod.kmod.config import Alias, Source
    from ukmod.kmod.explanation import Explainer
    from ukmod.kmod.kernelargs import BootArguments

__all__ = ["Audit", "audit"]

_WILD = "*?["
_ORDER = {kind: number for number, kind in enumerate(KINDS)}


@record
class Audit:
    """The verdicts for a tree's modules, sorted by name, and the denials that fail."""

    modules: tuple[ModuleAudit, ...]
    findings: tuple[AuditFinding, ...]


def audit(ways: Sequence[tuple[BootArguments, Explainer]], names: Iterable[str] | None = None) -> Audit:
    """Return the verdicts for some modules, by default for all of the tree, built-in ones included.

    ``ways`` are the command lines that the system may be booted with, each with its explainer
    (:meth:`ukmod.kmod.system.System.explainers`). If they do not agree on a route, its verdict is unknown.

    Raises NotFoundError for a name that no module has, or if the tree has no indexes.
    """
    auditors = [_Auditor(explainer) for _, explainer in ways]
    wanted = auditors[0].names if names is None else sorted({normalize_modname(name) for name in names})
    boots = [boot for boot, _ in ways]
    modules = tuple([_agreed(boots, [one.module(name) for one in auditors]) for name in wanted])
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
    text = "; ".join([f"{route.verdict} with {boot.source}" for boot, route in ways])
    return replace(first, verdict=UNKNOWN, why=f"it depends on how the system is booted: {text}")


def _place(route: Route) -> tuple[int, str]:
    return _ORDER[route.kind], route.via


class _Auditor:
    """Finds the routes to modules, for one kernel command line, on outcomes that are found once."""

    def __init__(self, explainer: Explainer) -> None:
        given = explainer.circumstances
        self._context = given.context
        tree = self._context.tree
        tree.require_indexes()
        self._given = replace(given, state=NothingLoaded())
        self._state = given.state
        self._initcalls = None if explainer.initcalls is None else dict(explainer.initcalls)
        self._builtin = frozenset(tree.builtin_names())
        self._loadable = tuple(tree.module_names())
        self.names = sorted({*self._loadable, *self._builtin})
        config = self._context.config
        self._commands = frozenset([line.pattern for line in (*config.install, *config.remove)])
        self._optioned = frozenset([line.module for line in config.options])
        self._denials = {line.module: line.source for line in reversed(config.blacklists)}
        self._outcomes = Outcomes(self._given)
        named = [line.module for line in config.aliases]
        named += [line.pattern for line in config.install]
        self._outcomes.look(sorted({*self._loadable, *named} - self._builtin))
        self._aliases: dict[str, list[str]] = {}
        for pattern, module in tree.alias_items():
            self._aliases.setdefault(module, []).append(pattern)
        self._symbols: dict[str, list[str]] = {}
        for symbol, module in tree.symbol_items():
            self._symbols.setdefault(module, []).append(symbol)
        self._users: dict[str, list[tuple[str, str]]] = {}
        for outcome in self._outcomes.first.values():
            for module, kind in outcome.brought:
                self._users.setdefault(module, []).append((outcome.module, kind))
        self._wild = [one for one in self._outcomes.first.values() if one.wild]

    def module(self, name: str) -> ModuleAudit:
        """Return the audit of one module. Raises NotFoundError for a name that no module has."""
        if name in self._builtin:
            return ModuleAudit(name, None, (self._builtin_route(name),))
        line = self._context.tree.dependency_line(name)
        if line is None:
            raise NotFoundError("no module of the tree has this name", subject=name)
        routes = [self._by_name(name), *self._by_alias(name), *self._by_symbol(name), *self._by_users(name)]
        if self._state.initstate(name) is not None:
            routes.append(Route("live", name, OPEN, "it is in the kernel already"))
        if not any(route.verdict != BLOCKED for route in routes):
            routes += self._by_anything(name)
        path = self._context.tree.path(line.partition(":")[0])
        return ModuleAudit(name, path, tuple(sorted(dict.fromkeys(routes), key=_place)))

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
        lines = self._config_aliases(name)
        if not lines or name in {line.module for line in lines}:
            return self._route("name", name, name, name)
        return self._diverted("name", name, lines, name)

    def _by_alias(self, name: str) -> Iterator[Route]:
        denied = self._denied(name)
        for pattern in self._aliases.get(name, ()):
            yield self._alias(name, pattern, denied)
        for line in self._context.config.aliases:
            if line.module == name:
                route = self._asked(name, line.pattern, denied)
                yield replace(route, source=route.source or line.source)

    def _by_symbol(self, name: str) -> Iterator[Route]:
        symbols = self._symbols.get(name)
        if symbols:
            more = f" and {len(symbols) - 1} more" if symbols[1:] else ""
            yield replace(
                self._asked(name, symbols[0], self._denied(name)), kind="symbol", via=symbols[0] + more
            )

    def _by_users(self, name: str) -> Iterator[Route]:
        for user, kind in self._users.get(name, ()):
            yield self._route(kind, user, user, name)

    def _by_anything(self, name: str) -> Iterator[Route]:
        """Yield commands that nobody knows: they may load a module that is blocked otherwise."""
        for outcome in self._wild:
            if outcome.module != name and not self._is_refused(name):
                text = f"cannot tell: {'; '.join(outcome.wild)}"
                yield Route("install", outcome.module, UNKNOWN, text)

    # Aliases

    def _denied(self, name: str) -> Route | None:
        source = self._denials.get(name)
        return None if source is None else Route("alias", "", BLOCKED, "it is blacklisted", source)

    def _alias(self, name: str, pattern: str, denied: Route | None) -> Route:
        """Return the route by an alias of modules.alias, which other places may have given a meaning."""
        lines = self._config_aliases(pattern)
        if lines and name not in {line.module for line in lines}:
            return self._diverted("alias", pattern, lines, name)
        if not set(pattern) & set(_WILD) and not lines and ":" not in pattern:
            named = self._named(pattern)
            if named not in {None, name}:
                return Route("alias", pattern, BLOCKED, f"the name stands for {named}")
        return self._asked(name, pattern, denied)

    def _named(self, word: str) -> str | None:
        """Return the module that a word names, before it is looked up as an alias."""
        if self._context.tree.dependency_line(word) is not None or word in self._commands:
            return word
        return None

    def _config_aliases(self, pattern: str) -> list[Alias]:
        """Return the aliases of the configuration that stand for all words of a pattern."""
        is_wild = bool(set(pattern) & set(_WILD))
        return [
            line
            for line in self._context.config.aliases
            if fnmatch(line.pattern, pattern) and not (is_wild and set(line.pattern) & set("?[\\"))
        ]

    def _diverted(self, kind: str, word: str, lines: Sequence[Alias], name: str) -> Route:
        """Return the route by a word that stands for other modules here, which may need this one."""
        for line in lines:
            if line.module in self._outcomes.first and (kind == "name" or self._denied(line.module) is None):
                route = self._route(kind, word, line.module, name)
                if route.verdict != BLOCKED:
                    return replace(route, source=line.source)
        others = ", ".join([line.module for line in lines])
        return Route(kind, word, BLOCKED, f"here this is an alias of {others}", lines[0].source)

    def _asked(self, name: str, alias: str, denied: Route | None) -> Route:
        """Return the route by an alias that stands for a module."""
        if denied is not None:
            return replace(denied, via=alias)
        if normalize_alias(alias) in self._optioned:
            self._context.forget()
            found = next((one for one in self._context.lookup(alias) if one.name == name), None)
            if found is not None:
                verdict, why, source = self._judged(self._outcomes.of(found), None, name)
                return Route("alias", alias, verdict, why, source)
        return self._route("alias", alias, name, name)

    # Verdicts

    def _route(self, kind: str, via: str, asked: str, name: str) -> Route:
        first = self._outcomes.first[asked]
        verdict, why, source = self._judged(first, self._outcomes.later.get(asked), name)
        return Route(kind, via, verdict, why, source)

    def _judged(
        self, first: RequestOutcome, later: RequestOutcome | None, name: str
    ) -> tuple[str, str, Source | None]:
        """Return whether an outcome holds a module, and why not, or on which condition."""
        if name in first.certain:
            return OPEN, "", None
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
