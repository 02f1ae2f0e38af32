"""Routes by which a module may get into the kernel, and the verdict for each."""

from __future__ import annotations

from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.config import Source

__all__ = ["BLOCKED", "EARLY", "KINDS", "OPEN", "UNKNOWN", "ModuleAudit", "Route", "combined"]

OPEN, BLOCKED, UNKNOWN = "open", "blocked", "unknown"
"""Verdicts: the module gets into the kernel this way, it does not, it depends on what nobody can tell."""

EARLY = "initramfs"
"""The first word of the kinds of routes inside of an initramfs."""

_KINDS = {
    "name": "asked for by its name",
    "alias": "asked for by an alias: by the kernel, or by udev for a device",
    "symbol": "asked for by a symbol that it exports",
    "dependency": "loaded with a module that needs it",
    "softdep": "loaded with a module that has it for a soft dependency",
    "install": "loaded by an install command",
}
KINDS = {
    **_KINDS,
    **{f"{EARLY} {kind}": f"inside of an initramfs: {text}" for kind, text in _KINDS.items()},
    "builtin": "built into the kernel",
    "live": "loaded at present",
}
"""The kinds of routes, in the order in which they are listed."""


@record
class Route:
    """A way into the kernel.

    ``via`` is what is asked for: the name, the alias (it may be a pattern), the module that brings it along;
    for the routes inside of an initramfs, its path.
    ``why`` says what blocks the route, or what nobody can tell; of an open one, the condition on which it is
    open, if there is one. ``source`` is the line that decides, if it is a line.
    """

    kind: str
    via: str
    verdict: str
    why: str = ""
    source: Source | None = None


@record
class ModuleAudit:
    """A module and all routes to it; ``path`` is None for a built-in one."""

    module: str
    path: str | None
    routes: tuple[Route, ...]

    @property
    def verdict(self) -> str:
        """Open if a route is, else unknown if one is, else blocked."""
        return combined(route.verdict for route in self.routes)


def combined(verdicts: Iterable[str]) -> str:
    """Return the verdict for several routes together."""
    found = set(verdicts)
    return next((one for one in (OPEN, UNKNOWN) if one in found), BLOCKED)
