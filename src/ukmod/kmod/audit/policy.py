"""Allow lists: all modules but those that are to be kept, and those that they need, are denied."""

from __future__ import annotations

from ukmod.errors import NotFoundError
from ukmod.kmod.audit.amended import lines_path, with_lines
from ukmod.kmod.audit.block import deny_lines
from ukmod.kmod.audit.denials import AuditFinding, routes_text
from ukmod.kmod.audit.early import audit_system
from ukmod.kmod.audit.routes import BLOCKED, OPEN, UNKNOWN
from ukmod.kmod.closures import closure
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.audit.routes import ModuleAudit
    from ukmod.kmod.objections import Inspector
    from ukmod.kmod.system import System

__all__ = ["Policy", "check_policy", "generate_policy"]


@record
class Policy:
    """Lines for the file ``path`` of modprobe.d, which deny all modules except the ``kept`` ones.

    They are meant for the system's initramfs, too, which has to be made anew with them.
    ``findings`` are the modules of which that is not so, with the lines applied in memory: none if the policy
    is proven. Built-in modules are in the kernel whatever a line says: they are no part of it.
    """

    path: str
    lines: tuple[str, ...]
    kept: tuple[str, ...]
    findings: tuple[AuditFinding, ...]


def generate_policy(
    system: System, inspector: Inspector, keep: Iterable[str], config_paths: Sequence[str] | None = None
) -> Policy:
    """Return the policy that keeps modules, by names or aliases, with all that they need.

    Raises NotFoundError for a name that stands for no module.
    """
    kept = _kept(system, keep, config_paths)
    names = [name for name in system.tree.module_names() if name not in kept]
    softdeps = system.context(config_paths).config.softdeps
    lines = [line for name in names for line in deny_lines(name, softdeps)]
    path = lines_path(system, config_paths)
    changed = with_lines(system, path, lines, in_initramfs=True)
    return Policy(path, tuple(lines), tuple(sorted(kept)), _findings(changed, inspector, kept, config_paths))


def check_policy(
    system: System, inspector: Inspector, keep: Iterable[str], config_paths: Sequence[str] | None = None
) -> tuple[AuditFinding, ...]:
    """Return the modules that are not kept and get in, and those that are kept and do not.

    Raises NotFoundError for a name that stands for no module.
    """
    return _findings(system, inspector, _kept(system, keep, config_paths), config_paths)


def _kept(system: System, keep: Iterable[str], config_paths: Sequence[str] | None) -> frozenset[str]:
    found = closure(system.context(config_paths), list(keep))
    if faults := [one for one in found.missing if one.is_fault]:
        first, *others = faults
        more = f"; so {'is' if len(others) == 1 else 'are'} " if others else ""
        more += ", ".join([one.name for one in others])
        raise NotFoundError(f"{first.kind}{first.state}{more}", subject=first.name)
    return frozenset([one.module for one in found.modules])


def _findings(
    system: System, inspector: Inspector, kept: frozenset[str], config_paths: Sequence[str] | None
) -> tuple[AuditFinding, ...]:
    modules = audit_system(system, inspector, config_paths=config_paths).modules
    found = [_finding(one, is_kept=one.module in kept) for one in modules if one.path is not None]
    return tuple([one for one in found if one is not None])


def _finding(module: ModuleAudit, *, is_kept: bool) -> AuditFinding | None:
    name, verdict = module.module, module.verdict
    if is_kept:
        if verdict == OPEN:
            return None
        reasons = [f"{route.why} ({route.source})" for route in module.routes if route.why and route.source]
        text = f"{name} is to be kept, and is {verdict}" + (f": {reasons[0]}" if reasons else "")
        level = "error" if verdict == BLOCKED else "warning"
        return AuditFinding("kept-blocked", level, name, verdict, text)
    if verdict == BLOCKED:
        return None
    routes = [route for route in module.routes if route.verdict == verdict]
    word = "gets in" if verdict == OPEN else "may get in"
    text = f"{name} is not kept, and {word}: {routes_text(routes)}"
    return AuditFinding("not-kept", "warning" if verdict == UNKNOWN else "error", name, verdict, text)
