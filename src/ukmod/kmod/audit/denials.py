"""Lines that are meant to keep a module out, and whether they do."""

from __future__ import annotations

from ukmod.kmod.audit.routes import EARLY, OPEN, UNKNOWN
from ukmod.kmod.predict.modprobe import Predictor
from ukmod.kmod.predict.world import UnpredictableError, World
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ukmod.kmod.audit.routes import ModuleAudit, Route
    from ukmod.kmod.config import Command, Source
    from ukmod.kmod.explanation import Explainer
    from ukmod.kmod.predict.modprobe import Circumstances

__all__ = ["AuditFinding", "Denial", "findings_of"]

_NAMED = 3
"""Routes that a finding names."""


@record
class Denial:
    """A line that denies a module: a blacklist line by its aliases, any other line altogether."""

    module: str
    text: str
    source: Source
    is_blacklist: bool = False


@record
class AuditFinding:
    """A module that gets into the kernel although a line, or a request, denies it.

    ``rule`` is a word for programs; ``level`` is error (the denial fails), warning (in part, or nobody can
    tell) or note (the line works, but denies less than it seems to). ``verdict`` is open or unknown.
    ``source`` is the line; None if no line is to blame.
    """

    rule: str
    level: str
    module: str
    verdict: str
    text: str
    source: Source | None = None

    def __str__(self) -> str:
        where = self.module if self.source is None else str(self.source)
        return f"{where}: {self.level}: {self.text}"


def findings_of(modules: Sequence[ModuleAudit], explainers: Sequence[Explainer]) -> tuple[AuditFinding, ...]:
    """Return the denials that fail, or do less than they seem to, in the order of their modules."""
    by_name = {one.module: one for one in modules}
    denials = dict.fromkeys(denial for one in explainers for denial in _denials(by_name, one.circumstances))
    found = [finding for one in denials for finding in _findings(by_name[one.module], one)]
    return tuple(sorted(found, key=lambda one: (one.module, str(one.source))))


def routes_text(routes: Sequence[Route]) -> str:
    """Return a few routes in words."""
    words = list(dict.fromkeys(_words(route) for route in routes))
    more = f", and {len(words) - _NAMED} more" if words[_NAMED:] else ""
    return ", ".join(words[:_NAMED]) + more


def _way(route: Route) -> str:
    """Return the kind of a route; of one inside of an initramfs that which it has there."""
    return route.kind.removeprefix(f"{EARLY} ")


def _words(route: Route) -> str:
    if route.kind != _way(route):
        return f"in the initramfs {route.via}"
    of = {"dependency": "dependency of", "softdep": "soft dependency of", "install": "install command of"}
    if route.kind in of:
        return f"{of[route.kind]} {route.via}"
    return {"name": "by its name", "builtin": "built into the kernel", "live": "loaded already"}.get(
        route.kind, f"{route.kind} {route.via}"
    )


def _denials(modules: Mapping[str, ModuleAudit], given: Circumstances) -> Iterator[Denial]:
    for line in given.context.config.blacklists:
        if line.module in modules:
            yield Denial(line.module, f"blacklist {line.module}", line.source, is_blacklist=True)
    for command in given.context.config.install:
        for name in (command.pattern,) if command.pattern in modules else modules:
            if fnmatch(command.pattern, name) and _is_denial(command, name, given):
                yield Denial(name, f"install {command.pattern} {command.command}", command.source)
    for name, source in given.policy.denied:
        if name in modules:
            yield Denial(name, f"module_blacklist={name}", source)


def _is_denial(command: Command, name: str, given: Circumstances) -> bool:
    """Tell whether a command loads its module in no way: then it is there to keep it out."""
    try:
        ways = Predictor(given).run(command.command, name, World())
    except UnpredictableError:
        return False
    return not any(world.wild or name in world.loaded for world, _ in ways)


def _findings(module: ModuleAudit, denial: Denial) -> Iterator[AuditFinding]:
    name = module.module
    ways = [route for route in module.routes if route.verdict == OPEN]
    doubtful = [route for route in module.routes if route.verdict == UNKNOWN]
    others = [route for route in ways if _way(route) != "name"]
    if ways and not denial.is_blacklist:
        text = f"{denial.text}: {name} is loaded all the same: {routes_text(ways)}"
        yield AuditFinding("denied-open", "error", name, OPEN, text, denial.source)
    elif others:
        level = "error" if {_way(route) for route in others} & {"alias", "builtin"} else "warning"
        text = f"{denial.text} does not keep {name} out: {routes_text(others)}"
        yield AuditFinding("blacklist-passed", level, name, OPEN, text, denial.source)
    elif ways:
        text = f"{denial.text} closes its aliases: modprobe {name} loads it all the same"
        yield AuditFinding("blacklist-by-name", "note", name, OPEN, text, denial.source)
    elif doubtful:
        text = f"{denial.text}: nobody can tell about {name}: {routes_text(doubtful)}: {doubtful[0].why}"
        yield AuditFinding("denied-unknown", "warning", name, UNKNOWN, text, denial.source)
