"""A proof that modules are blocked, by every route; or the lines that would make it so, proven as well."""

from __future__ import annotations

from functools import partial

from ukmod.kmod.audit.amended import lines_path, with_arguments, with_lines
from ukmod.kmod.audit.denials import AuditFinding, routes_text
from ukmod.kmod.audit.early import audit_system
from ukmod.kmod.audit.routes import BLOCKED, EARLY, OPEN, UNKNOWN, combined
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ukmod.kmod.audit.routes import ModuleAudit
    from ukmod.kmod.config import Softdep
    from ukmod.kmod.objections import Inspector
    from ukmod.kmod.system import System

__all__ = ["Proof", "Remedy", "deny_lines", "prove"]


@record
class Remedy:
    """Lines that block a module, for the file ``path``, or words for the kernel's command line.

    ``is_proven`` tells whether the module is blocked by every route with them: they have been applied in
    memory, and the proof was run again. ``initramfs`` are the paths of those that have to be made anew, with
    the lines in them.
    """

    path: str
    lines: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    is_proven: bool = False
    initramfs: tuple[str, ...] = ()


@record
class Proof:
    """A module with the verdicts for its routes; ``remedy`` is None if it is blocked, or nothing helps."""

    audit: ModuleAudit
    remedy: Remedy | None = None

    @property
    def is_proven(self) -> bool:
        """Whether the module is blocked by every route."""
        return self.audit.verdict == BLOCKED

    def findings(self) -> list[AuditFinding]:
        """Return a finding for what is open, and one for what nobody can tell."""
        found = []
        for verdict, rule, words in (
            (OPEN, "route-open", "gets into the kernel"),
            (UNKNOWN, "route-unknown", "may get into the kernel, as far as anybody can tell"),
        ):
            routes = [route for route in self.audit.routes if route.verdict == verdict]
            if routes:
                text = f"{self.audit.module} {words}: {routes_text(routes)}"
                source = next((route.source for route in routes if route.source is not None), None)
                level = "error" if verdict == OPEN else "warning"
                found.append(AuditFinding(rule, level, self.audit.module, verdict, text, source))
        return found


def prove(
    system: System,
    inspector: Inspector,
    names: Iterable[str],
    config_paths: Sequence[str] | None = None,
) -> tuple[Proof, ...]:
    """Return for each module whether it is blocked by every route, and if it is not, what blocks it.

    ``config_paths`` are those of ``modprobe -C``. Raises NotFoundError for a name that no module has.
    """
    first = audit_system(system, inspector, names, config_paths).modules
    remedies: dict[str, Remedy] = {}
    path = lines_path(system, config_paths)
    softdeps = system.context(config_paths).config.softdeps
    initcalls = system.initcalls() or {}
    for make in (
        partial(_by_lines, path, softdeps),
        partial(_by_lines_in_initramfs, path, softdeps),
        partial(_by_arguments, path, initcalls),
    ):
        todo = [one for one in first if one.verdict != BLOCKED and not _is_proven(remedies.get(one.module))]
        made = {one.module: make(one) for one in todo}
        wanted = {name: remedy for name, remedy in made.items() if remedy is not None}
        if wanted:
            remedies |= _tried(system, inspector, wanted, config_paths)
    return tuple([Proof(one, remedies.get(one.module)) for one in first])


def _is_proven(remedy: Remedy | None) -> bool:
    return remedy is not None and remedy.is_proven


def _tried(
    system: System, inspector: Inspector, remedies: dict[str, Remedy], config_paths: Sequence[str] | None
) -> dict[str, Remedy]:
    """Apply remedies in memory, all at once, and run the proof again."""
    changed = system
    for remedy in remedies.values():
        changed = with_arguments(changed, remedy.arguments)
    path = next(iter(remedies.values())).path
    lines = [line for one in remedies.values() for line in one.lines]
    in_initramfs = any(one.initramfs for one in remedies.values())
    changed = with_lines(changed, path, lines, in_initramfs=in_initramfs)
    after = audit_system(changed, inspector, remedies, config_paths).modules
    return {one.module: replace(remedies[one.module], is_proven=_is_shut(one)) for one in after}


def _is_shut(module: ModuleAudit) -> bool:
    """Tell whether a module stays out from the next start on, loaded or not at present."""
    return combined(route.verdict for route in module.routes if route.kind != "live") == BLOCKED


# Remedies


def _by_lines(path: str, softdeps: Iterable[Softdep], module: ModuleAudit) -> Remedy | None:
    """Return the lines of modprobe.d that stop modprobe; None for a built-in module."""
    if module.path is None:
        return None
    return Remedy(path, tuple(deny_lines(module.module, softdeps)))


def _by_lines_in_initramfs(path: str, softdeps: Iterable[Softdep], module: ModuleAudit) -> Remedy | None:
    """Return the same lines, for the files of initramfs, too, through which the module gets in."""
    remedy = _by_lines(path, softdeps, module)
    through = [
        route.via for route in module.routes if route.kind.startswith(EARLY) and route.verdict != BLOCKED
    ]
    return None if remedy is None or not through else replace(remedy, initramfs=tuple(dict.fromkeys(through)))


def deny_lines(name: str, softdeps: Iterable[Softdep]) -> list[str]:
    """Return the lines that deny a module, if they come before all others.

    An install line is not run for a module with soft dependencies. As the first softdep line counts, one
    without any takes them from it.
    """
    has_softdeps = any(fnmatch(line.pattern, name) for line in softdeps)
    return [f"install {name} /bin/false", *([f"softdep {name} pre:"] if has_softdeps else [])]


def _by_arguments(path: str, initcalls: Mapping[str, str], module: ModuleAudit) -> Remedy | None:
    """Return the words of the kernel's command line that make the kernel itself refuse the module."""
    if module.path is not None:
        return Remedy(path, arguments=(f"module_blacklist={module.module}",))
    functions = [name for name, owner in initcalls.items() if owner == module.module]
    return Remedy(path, arguments=(f"initcall_blacklist={','.join(functions)}",)) if functions else None
