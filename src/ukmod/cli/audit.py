"""``ukmod audit``: which modules can get into the kernel, and by which routes."""

from __future__ import annotations

import os
from itertools import chain

from ukmod import __version__
from ukmod.cli import command_lines
from ukmod.cli.document import print_document, print_json
from ukmod.cli.inspection import inspection, with_initramfs
from ukmod.cli.junit import Case, CaseProblem, Suite, junit_document
from ukmod.cli.options import action_of
from ukmod.cli.progress import AUDITING, Progress
from ukmod.cli.terminal import write, write_lines
from ukmod.errors import UsageError
from ukmod.kmod.audit import audit, audit_system
from ukmod.kmod.audit.block import prove
from ukmod.kmod.audit.diff import changes
from ukmod.kmod.audit.report import counted, finding_object, module_lines, module_object, summary
from ukmod.kmod.audit.sarif import sarif_log
from ukmod.record import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ukmod.cli.inspection import Inspection
    from ukmod.kmod.audit import AuditFinding, ModuleAudit
    from ukmod.kmod.audit.block import Proof
    from ukmod.kmod.audit.diff import ModuleChange
    from ukmod.kmod.system import System

__all__ = ["main", "status_of"]


def main(argv: Sequence[str]) -> int:
    """Do what the first word says; without such a word, audit the modules that are named."""
    arguments = command_lines.audit().parse_args(argv)
    action, words = action_of(argv, arguments.words, _ACTIONS)
    return _ACTIONS[action](arguments, words)


def _audit(arguments: argparse.Namespace, names: Sequence[str]) -> int:
    with Progress(AUDITING):
        found = with_initramfs(inspection(arguments), arguments.initramfs)
        result = audit_system(found.system, found.inspector, names or None, arguments.config)
    content = {
        "counts": counted(result.modules),
        "modules": [module_object(one) for one in result.modules],
    }
    shown = [one for one in result.findings if one.level != "note" or names or arguments.notes]
    about = chain.from_iterable(map(module_lines, result.modules)) if names else [summary(result.modules)]
    lines = chain(about, map(str, shown))
    _report(arguments, found.system, result.modules, result.findings, content, lines)
    return status_of(result.findings)


def _block(arguments: argparse.Namespace, names: Sequence[str]) -> int:
    if not names:
        raise UsageError(
            "audit block: name the modules that are to be blocked; for a module of this name: -- block"
        )
    with Progress(AUDITING):
        found = with_initramfs(inspection(arguments), arguments.initramfs)
        proofs = prove(found.system, found.inspector, names, arguments.config)
    findings = [finding for one in proofs for finding in one.findings()]
    content = {"modules": [_proof_object(one) for one in proofs]}
    lines = [line for one in proofs for line in _proof_lines(one)]
    _report(arguments, found.system, [one.audit for one in proofs], findings, content, lines)
    return status_of(findings)


def _surface(arguments: argparse.Namespace, names: Sequence[str]) -> int:
    from ukmod.cli.audit_surface import surface  # with an image, it needs what reads one

    return surface(arguments, names)


def _diff(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    if len(words) != 2:
        raise UsageError(
            "audit diff: name two roots, or two kernels below -d; for a module of this name: -- diff"
        )
    with Progress(AUDITING):
        systems = [_side(arguments, word) for word in words]
        both = [audit(one.system.explainers(one.inspector, arguments.config)).modules for one in systems]
    found = changes(*both)
    findings = [one.finding() for one in found]
    content = {
        "against": {"root": systems[1].system.root, "release": systems[1].system.tree.release},
        "changes": [asdict(one) for one in found],
    }
    lines = [line for one in found for line in _change_lines(one)]
    _report(arguments, systems[0].system, both[1], findings, content, lines)
    return int(bool(found))


def _side(arguments: argparse.Namespace, word: str) -> Inspection:
    """Return the system of a root, which has a slash or is a file, or of a release below -d."""
    if "/" in word or os.path.exists(word):
        return inspection(arguments, word)
    given = vars(arguments) | {"set_version": word}
    return inspection(type(arguments)(**given))


def _change_lines(change: ModuleChange) -> Iterator[str]:
    yield f"{change.module}: {change.before} -> {change.after}"
    yield from (f"  {one.kind} {one.via}: {one.before} -> {one.after}" for one in change.routes)


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, Sequence[str]], int]] = {
    "": _audit,
    "block": _block,
    "diff": _diff,
    "surface": _surface,
}


def status_of(findings: Sequence[AuditFinding]) -> int:
    """Return 1 if a denial fails, 2 if nobody can tell of one, else 0."""
    if any(one.level == "error" for one in findings):
        return 1
    return 2 if any(one.verdict == "unknown" for one in findings) else 0


def _report(
    arguments: argparse.Namespace,
    system: System,
    modules: Sequence[ModuleAudit],
    findings: Sequence[AuditFinding],
    content: Mapping[str, object],
    lines: Iterable[str],
) -> None:
    """Print a result in the form that was asked for."""
    if arguments.json:
        head = {
            "root": system.root,
            "release": system.tree.release,
            "boots": [str(boot.source) for boot in system.boots],
            "initramfs": [one.path for one in system.initramfs],
        }
        print_document("audit", {**head, **content, "findings": [finding_object(one) for one in findings]})
    elif arguments.sarif:
        print_json(sarif_log(findings, system.root, __version__))
    elif arguments.junit:
        write(junit_document([Suite("ukmod.audit", tuple(_cases(modules, findings)))]))
    elif arguments.html:
        from ukmod.cli.audit_page import audit_page  # it is for few

        write(audit_page(system, modules, findings))
    else:
        write_lines(lines)


def _cases(modules: Iterable[ModuleAudit], findings: Iterable[AuditFinding]) -> Iterator[Case]:
    """Return a case for each module: errors fail it, what nobody can tell skips it."""
    about: dict[str, list[AuditFinding]] = {}
    for finding in findings:
        about.setdefault(finding.module, []).append(finding)
    for module in modules:
        own = about.get(module.module, [])
        errors = [CaseProblem("failure", str(one)) for one in own if one.level == "error"]
        doubts = [CaseProblem("skipped", str(one)) for one in own if one.verdict == "unknown"]
        yield Case(module.module, tuple(errors or doubts[:1]))


# Proofs


def _proof_lines(proof: Proof) -> Iterator[str]:
    name, remedy = proof.audit.module, proof.remedy
    if proof.is_proven:
        yield f"{name}: blocked by each of its {len(proof.audit.routes)} routes"
        return
    yield from module_lines(proof.audit)
    if remedy is None or not remedy.is_proven:
        yield "  no line of modprobe.d or of the kernel's command line is known to block it"
        return
    where = "on the kernel's command line" if remedy.arguments else f"at the head of {remedy.path}"
    yield f"  with this it is blocked by every route, {where}:"
    yield from (f"    {line}" for line in (*remedy.lines, *remedy.arguments))
    if remedy.initramfs:
        yield "  and in the initramfs, which has to be made anew:"
        yield from (f"    {path}" for path in remedy.initramfs)
    if any(route.kind == "live" for route in proof.audit.routes):
        yield f"  and, as it is loaded already: rmmod {name}"


def _proof_object(proof: Proof) -> dict[str, object]:
    remedy = proof.remedy
    return {
        **module_object(proof.audit),
        "remedy": None
        if remedy is None
        else {
            "path": remedy.path,
            "lines": list(remedy.lines),
            "arguments": list(remedy.arguments),
            "proven": remedy.is_proven,
            "initramfs": list(remedy.initramfs),
        },
    }
