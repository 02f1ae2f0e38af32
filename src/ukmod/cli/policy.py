"""``ukmod policy``: a deny list of all modules except some, proven; or whether a system has one."""

from __future__ import annotations

import os
import sys

from ukmod import __version__
from ukmod.cli import command_lines
from ukmod.cli.audit import status_of
from ukmod.cli.document import print_document, print_json
from ukmod.cli.inspection import inspection, with_initramfs
from ukmod.cli.junit import Case, CaseProblem, Suite, junit_document
from ukmod.cli.progress import AUDITING, Progress
from ukmod.cli.terminal import write, write_lines
from ukmod.errors import NotFoundError
from ukmod.kmod.audit.policy import check_policy, generate_policy
from ukmod.kmod.audit.report import finding_object
from ukmod.kmod.audit.sarif import sarif_log
from ukmod.kmod.regular import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.audit import AuditFinding

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the lines if they are proven, or the modules of which the policy is not true."""
    arguments = command_lines.policy().parse_args(argv)
    keep = _names(arguments.keep)
    content: dict[str, object] = {}
    lines: tuple[str, ...] = ()
    with Progress(AUDITING):
        found = with_initramfs(inspection(arguments), arguments.initramfs)
        if arguments.action == "generate":
            policy = generate_policy(found.system, found.inspector, keep, arguments.config)
            findings, lines = policy.findings, policy.lines
            content = {"path": policy.path, "kept": list(policy.kept), "lines": list(lines)}
        else:
            findings = check_policy(found.system, found.inspector, keep, arguments.config)
    head = {"root": found.system.root, "release": found.system.tree.release}
    if arguments.json:
        print_document("policy", {**head, **content, "findings": [finding_object(one) for one in findings]})
    elif arguments.sarif:
        print_json(sarif_log(findings, found.system.root, __version__))
    elif arguments.junit:
        write(junit_document([Suite("ukmod.policy", (_case(findings),))]))
    else:
        status = status_of(findings)
        write_lines(lines if not status else ())
        write_lines(map(str, findings), sys.stderr if lines else sys.stdout)
    return status_of(findings)


def _case(findings: Sequence[AuditFinding]) -> Case:
    """Return the one case of a policy: each error fails it, else the first doubt skips it."""
    errors = [CaseProblem("failure", str(one)) for one in findings if one.level == "error"]
    doubts = [CaseProblem("skipped", str(one)) for one in findings if one.level != "error"]
    return Case("nothing is loaded but what is kept", tuple(errors or doubts[:1]))


def _names(path: str) -> list[str]:
    try:
        text = os.fsdecode(read_regular(path))
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), subject=path) from error
    return [word for line in text.splitlines() for word in line.partition("#")[0].split()]
