"""Findings as a SARIF log, version 2.1.0 (OASIS), which code scanning services read."""

from __future__ import annotations

import urllib.parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.audit.denials import AuditFinding

__all__ = ["RULES", "sarif_log"]

RULES = {
    "denied-open": "A line denies a module that is loaded all the same.",
    "denied-unknown": "A line denies a module, and nobody can tell whether it is loaded all the same.",
    "blacklist-passed": "A module is blacklisted, and comes in by another way than its aliases.",
    "blacklist-by-name": "A module is blacklisted, which closes its aliases alone.",
    "route-open": "A module that is to be blocked gets into the kernel.",
    "route-unknown": "Nobody can tell whether a module that is to be blocked gets into the kernel.",
    "not-kept": "A module that is not on the list of those to be kept gets into the kernel.",
    "kept-blocked": "A module that is to be kept cannot be loaded.",
    "verdict-differs": "A module's verdict is another one in the other system.",
    "route-differs": "The verdict for a route to a module is another one in the other system.",
}
"""A description of each rule."""

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_log(findings: Iterable[AuditFinding], root: str, version: str) -> dict[str, object]:
    """Return a log of one run; files below ``root`` are named relative to it."""
    found = list(findings)
    rules = sorted({one.rule for one in found})
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "ukmod",
                        "version": version,
                        "rules": [{"id": rule, "shortDescription": {"text": RULES[rule]}} for rule in rules],
                    }
                },
                "originalUriBaseIds": {"ROOT": {"uri": f"file://{_quoted(root.rstrip('/'))}/"}},
                "results": [_result(one, rules.index(one.rule), root.rstrip("/")) for one in found],
                "columnKind": "unicodeCodePoints",
            }
        ],
    }


def _result(finding: AuditFinding, rule: int, root: str) -> dict[str, object]:
    location: dict[str, object] = {
        "logicalLocations": [{"name": finding.module, "kind": "module"}],
    }
    source = finding.source
    if source is not None and source.file.startswith("/"):
        physical: dict[str, object] = {"artifactLocation": _artifact(source.file, root)}
        if source.line:
            physical["region"] = {"startLine": source.line}
        location["physicalLocation"] = physical
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": finding.level,
        "message": {"text": finding.text},
        "locations": [location],
    }


def _artifact(path: str, root: str) -> dict[str, str]:
    if path.startswith(f"{root}/"):
        return {"uri": _quoted(path[len(root) + 1 :]), "uriBaseId": "ROOT"}
    return {"uri": f"file://{_quoted(path)}"}


def _quoted(path: str) -> str:
    return urllib.parse.quote(path, errors="surrogateescape")
