"""Routes through the initramfs: what it holds is loaded at boot by the configuration inside of it."""

from __future__ import annotations

from ukmod.kmod.audit.audits import Audit, audit
from ukmod.kmod.audit.routes import EARLY, UNKNOWN, Route, combined
from ukmod.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.audit.routes import ModuleAudit
    from ukmod.kmod.initramfs import Initramfs
    from ukmod.kmod.objections import Inspector
    from ukmod.kmod.system import System

__all__ = ["audit_system"]


def audit_system(
    system: System,
    inspector: Inspector,
    names: Iterable[str] | None = None,
    config_paths: Sequence[str] | None = None,
) -> Audit:
    """Return the verdicts for some modules of a system, by default for all, with those of its initramfs.

    Raises what :func:`audit` raises.
    """
    early: dict[str, list[Route]] = {}
    for initramfs in system.initramfs:
        for name, routes in _routes(initramfs, system).items():
            early.setdefault(name, []).extend(routes)
    return audit(system.explainers(inspector, config_paths), names, early)


def _routes(initramfs: Initramfs, system: System) -> dict[str, list[Route]]:
    """Return the routes through an initramfs by module. If it cannot be read, nobody can tell of any."""
    if initramfs.system is None or initramfs.inspector is None:
        policies = [system.policy(boot) for boot in system.boots]
        refused = set.intersection(*({name for name, _ in policy.denied} for policy in policies))
        route = Route(f"{EARLY} name", initramfs.path, UNKNOWN, f"cannot tell: {initramfs.fault}")
        return {name: [route] for name in system.tree.module_names() if name not in refused}
    found = audit(initramfs.system.explainers(initramfs.inspector)).modules
    return {one.module: _by_kind(one, initramfs.path) for one in found if one.path is not None}


def _by_kind(module: ModuleAudit, path: str) -> list[Route]:
    """Return one route for each kind of a module's routes inside of an initramfs."""
    kinds: dict[str, list[Route]] = {}
    for route in module.routes:
        kinds.setdefault(route.kind, []).append(route)
    found = []
    for kind, routes in kinds.items():
        verdict = combined(route.verdict for route in routes)
        first = next(route for route in routes if route.verdict == verdict)
        found.append(replace(first, kind=f"{EARLY} {kind}", via=path))
    return found
