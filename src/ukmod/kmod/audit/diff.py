"""The difference between two audits: modules, and routes to them, whose verdict is another one."""

from __future__ import annotations

from ukmod.kmod.audit.denials import AuditFinding
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.audit.routes import ModuleAudit

__all__ = ["ABSENT", "ModuleChange", "RouteChange", "changes"]

ABSENT = "absent"
"""Stands for a verdict where there is no such module, or no such route."""


@record
class RouteChange:
    """A route whose verdict is ``before`` in the first system and ``after`` in the second."""

    kind: str
    via: str
    before: str
    after: str


@record
class ModuleChange:
    """A module that differs, in its verdict or in that of a route; ``routes`` are empty if it is absent."""

    module: str
    before: str
    after: str
    routes: tuple[RouteChange, ...]

    def finding(self) -> AuditFinding:
        """Return the change as a finding; a module that has become reachable is a warning."""
        if self.before == self.after:
            text = f"{self.module} is {self.after} in both, by other routes"
            return AuditFinding("route-differs", "note", self.module, self.after, text)
        text = f"{self.module} was {self.before}, and is {self.after}"
        level = "warning" if self.after in {"open", "unknown"} else "note"
        return AuditFinding("verdict-differs", level, self.module, self.after, text)


def changes(first: Iterable[ModuleAudit], second: Iterable[ModuleAudit]) -> tuple[ModuleChange, ...]:
    """Return the modules that differ, sorted by name."""
    before = {one.module: one for one in first}
    after = {one.module: one for one in second}
    found = (
        _change(name, before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())
    )
    return tuple([one for one in found if one.before != one.after or one.routes])


def _change(name: str, before: ModuleAudit | None, after: ModuleAudit | None) -> ModuleChange:
    if before is None or after is None:
        return ModuleChange(name, _verdict(before), _verdict(after), ())
    old = {(route.kind, route.via): route.verdict for route in before.routes}
    new = {(route.kind, route.via): route.verdict for route in after.routes}
    routes = [
        RouteChange(*key, old.get(key, ABSENT), new.get(key, ABSENT))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    return ModuleChange(name, before.verdict, after.verdict, tuple(routes))


def _verdict(audit: ModuleAudit | None) -> str:
    return ABSENT if audit is None else audit.verdict
