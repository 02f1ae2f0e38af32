"""Audits for people, and as values for JSON."""

from __future__ import annotations

from itertools import groupby

from ukmod.kmod.audit.routes import BLOCKED, OPEN, UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.audit.denials import AuditFinding
    from ukmod.kmod.audit.routes import ModuleAudit, Route

__all__ = ["counted", "finding_object", "module_lines", "module_object", "summary"]

_SHOWN = 4
"""Routes of one kind, with one verdict and one reason, that are named."""


def summary(modules: Sequence[ModuleAudit]) -> str:
    """Return how many modules have which verdict, in words."""
    count = counted(modules)
    words = [f"{count[verdict]} {verdict}" for verdict in (OPEN, BLOCKED, UNKNOWN)]
    return f"{len(modules)} modules: {', '.join(words)}"


def counted(modules: Iterable[ModuleAudit]) -> dict[str, int]:
    """Return the number of modules for each verdict."""
    count = dict.fromkeys((OPEN, BLOCKED, UNKNOWN), 0)
    for one in modules:
        count[one.verdict] += 1
    return count


def module_lines(module: ModuleAudit) -> list[str]:
    """Return a module's verdict and its routes as lines of text; routes that are alike share a line."""
    lines = [f"{module.module}: {module.verdict}"]
    for (verdict, kind, why, source), same in groupby(module.routes, _likeness):
        names = [route.via for route in same]
        more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
        reason = f": {why}" if why else ""
        where = f" ({source})" if source else ""
        lines.append(f"  {verdict:<8}{kind}: {', '.join(names[:_SHOWN])}{more}{reason}{where}")
    return lines


def _likeness(route: Route) -> tuple[str, str, str, str]:
    return route.verdict, route.kind, route.why, "" if route.source is None else str(route.source)


def module_object(module: ModuleAudit) -> dict[str, object]:
    """Return a module's audit as a value for JSON."""
    return {
        "module": module.module,
        "path": module.path,
        "verdict": module.verdict,
        "routes": [
            {
                "kind": route.kind,
                "via": route.via,
                "verdict": route.verdict,
                "why": route.why,
                "source": None if route.source is None else str(route.source),
            }
            for route in module.routes
        ],
    }


def finding_object(finding: AuditFinding) -> dict[str, object]:
    """Return a finding as a value for JSON."""
    return {
        "rule": finding.rule,
        "level": finding.level,
        "module": finding.module,
        "verdict": finding.verdict,
        "text": finding.text,
        "source": None if finding.source is None else str(finding.source),
    }
