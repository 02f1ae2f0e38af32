"""An audit as an HTML page: the counts, the findings, and each module with the routes to it."""

from __future__ import annotations

from ukmod import __version__
from ukmod.kmod.audit.report import counted, summary
from ukmod.kmod.audit.routes import BLOCKED, KINDS, OPEN, UNKNOWN
from ukmod.kmod.page import TableCell, TableRow, escaped, page, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ukmod.kmod.audit import AuditFinding, ModuleAudit, Route
    from ukmod.kmod.system import System

__all__ = ["audit_page"]

_VERDICT_STYLES = {BLOCKED: "good", OPEN: "bad", UNKNOWN: "doubt"}
_LEVEL_STYLES = {"error": "bad", "warning": "doubt", "note": ""}


def audit_page(system: System, modules: Sequence[ModuleAudit], findings: Sequence[AuditFinding]) -> str:
    """Return the page about some modules of a system."""
    title = f"Audit of {system.root}, {system.tree.release}"
    return page(title, _body(system, modules, findings))


def _body(system: System, modules: Sequence[ModuleAudit], findings: Sequence[AuditFinding]) -> Iterator[str]:
    yield f"<p>{escaped(summary(modules))}. Made by ukmod {escaped(__version__)}.</p>\n"
    if system.boots:
        places = "".join(f"<li><code>{escaped(boot.source)}</code></li>" for boot in system.boots)
        yield f"<p>The kernel's command line is that of:</p><ul>{places}</ul>\n"
    rows = [
        TableRow(
            (
                TableCell(one.level, _LEVEL_STYLES.get(one.level, "")),
                TableCell(one.module, "code"),
                TableCell(one.text),
                TableCell(one.source or "", "code"),
            ),
            one.level,
        )
        for one in findings
    ]
    columns = ("level", "module", "finding", "line")
    yield from table("findings", f"Findings: {len(rows)}", columns, rows, filtered=bool(rows))
    rows = [_row(one) for one in modules]
    words = ", ".join(f"{count} {verdict}" for verdict, count in counted(modules).items())
    yield from table("modules", f"Modules: {words}", ("module", "verdict", "routes"), rows, filtered=True)


def _row(module: ModuleAudit) -> TableRow:
    verdict = module.verdict
    routes = "".join(f"<li>{_route(one)}</li>" for one in module.routes)
    more = f"<details><summary>{_count(module)}</summary><ul>{routes}</ul></details>" if routes else ""
    cells = (
        TableCell(module.module, "code"),
        TableCell(verdict, _VERDICT_STYLES[verdict]),
        TableCell(more=more),
    )
    return TableRow(cells, verdict)


def _count(module: ModuleAudit) -> str:
    count = dict.fromkeys((OPEN, BLOCKED, UNKNOWN), 0)
    for route in module.routes:
        count[route.verdict] += 1
    return escaped(", ".join(f"{number} {verdict}" for verdict, number in count.items() if number))


def _route(route: Route) -> str:
    style = _VERDICT_STYLES[route.verdict]
    kind = f'<span title="{escaped(KINDS.get(route.kind, route.kind))}">{escaped(route.kind)}</span>'
    why = f": {escaped(route.why)}" if route.why else ""
    where = f" <code>({escaped(route.source)})</code>" if route.source is not None else ""
    head = f'<span class="{style}">{escaped(route.verdict)}</span>'
    return f"{head} {kind} <code>{escaped(route.via)}</code>{why}{where}"
