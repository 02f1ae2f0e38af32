"""Results in the XML of JUnit, as continuous integration services read it."""

from __future__ import annotations

import re
from xml.sax.saxutils import quoteattr

from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.audit.denials import AuditFinding
    from ukmod.kmod.audit.routes import ModuleAudit

__all__ = ["Case", "cases_of", "junit_document"]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""


@record
class Case:
    """A test case: it fails with each of ``failures``, or is ``skipped`` for a reason, or passes."""

    name: str
    failures: tuple[str, ...] = ()
    skipped: str = ""


def cases_of(modules: Iterable[ModuleAudit], findings: Sequence[AuditFinding]) -> list[Case]:
    """Return a case for each module: errors fail it, what nobody can tell skips it."""
    about: dict[str, list[AuditFinding]] = {}
    for finding in findings:
        about.setdefault(finding.module, []).append(finding)
    cases = []
    for module in modules:
        own = about.get(module.module, [])
        errors = tuple([str(one) for one in own if one.level == "error"])
        doubts = [str(one) for one in own if one.verdict == "unknown"]
        cases.append(Case(module.module, errors, "" if errors or not doubts else doubts[0]))
    return cases


def junit_document(suite: str, cases: Sequence[Case]) -> str:
    """Return the document for one suite."""
    failures = sum(bool(case.failures) for case in cases)
    skipped = sum(bool(case.skipped) for case in cases)
    numbers = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="{skipped}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {numbers}>"]
    lines.append(f"  <testsuite name={_quoted(suite)} {numbers}>")
    for case in cases:
        head = f"    <testcase classname={_quoted(suite)} name={_quoted(case.name)}"
        inner = [f"      <failure message={_quoted(text)}/>" for text in case.failures]
        inner += [f"      <skipped message={_quoted(case.skipped)}/>"] if case.skipped else []
        lines += [f"{head}>", *inner, "    </testcase>"] if inner else [f"{head}/>"]
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _quoted(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text))
