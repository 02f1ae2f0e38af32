"""The reference of the JSON documents names each of their members."""

from __future__ import annotations

import re

import pytest
from tests.golden import REPOSITORY

from ukmod.cli.faults import VERDICTS
from ukmod.cli.matrix_report import Cell
from ukmod.cli.report import Outcome
from ukmod.kernel.image.assumptions import Assumption, Standing
from ukmod.kernel.trace import Request
from ukmod.kmod.audit import AuditFinding, ModuleAudit, Route
from ukmod.kmod.audit.diff import ABSENT, ModuleChange
from ukmod.kmod.audit.routes import KINDS
from ukmod.kmod.audit.surface import NEEDS, Asker, FamilyMember
from ukmod.kmod.explanation_report import _OUTCOMES
from ukmod.machine.image.installed import Installed
from ukmod.survey.verdict import CLASSES, ModuleVerdict

EXPLAIN = (
    *("word", "verdict", "notes", "targets", "module", "outcome", "reason", "steps", "action", "path"),
    *("command", "options", "required", "kind", "text", "fatal", "source"),
)
SURFACE = (
    *("name", "needs", "counts", "requests", "askers", "members", "function", "owner", "image"),
    *(*Asker.__match_args__, *FamilyMember.__match_args__, *NEEDS),
)
AUDIT = (
    *("root", "release", "boots", "counts", "modules", "findings", "routes", "remedy", "arguments", "proven"),
    *(*ModuleAudit.__match_args__, *Route.__match_args__, *AuditFinding.__match_args__, "path", "lines"),
    *("against", "changes", *ModuleChange.__match_args__, ABSENT),
    *("open", "blocked", "unknown", *KINDS),
)
PAGE = (REPOSITORY / "docs/reference/json.md").read_text()


def part(schema: str) -> set[str]:
    """The words in backticks of the part about a schema."""
    text = PAGE.partition(f"## {schema}:")[2].partition("\n## ")[0]
    return set(re.findall("`([^`]+)`", text))


@pytest.mark.parametrize(
    ("schema", "members"),
    [
        ("ukmod.run/1", (*Outcome.__match_args__, *Request.__match_args__)),
        ("ukmod.explain/1", (*EXPLAIN, *_OUTCOMES)),
        ("ukmod.audit/1", AUDIT),
        ("ukmod.policy/1", ("root", "release", "findings", "path", "lines", "kept")),
        ("ukmod.surface/1", ("families", "unresolved", *SURFACE)),
        ("ukmod.lint/1", ("kind", "severity", "file", "line", "words", "text", "fix", "about")),
        ("ukmod.kernel/1", ("image", "release", "assumptions", "steps", "failed")),
        ("ukmod.kernel/1", ("symbol", *Assumption.__match_args__[1:], *(state.value for state in Standing))),
        ("ukmod.kernels/1", ("kernels", *Installed.__match_args__)),
        (
            "ukmod.matrix/1",
            (
                "clean",
                "modules",
                "kernels",
                "results",
                "runs",
                "name",
                "image",
                *Cell.__match_args__,
                *VERDICTS,
            ),
        ),
        ("ukmod.survey/1", (*ModuleVerdict.__match_args__, *CLASSES)),
    ],
)
def test_each_member_of_a_document_is_explained(schema: str, members: tuple[str, ...]) -> None:
    assert set(members) <= part(schema)
