"""WARN_ON() and WARN_ON_ONCE() in kernel functions: include/asm-generic/bug.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class Site:
    """The place of a warning in the kernel's source (v6.1), as it appears in the warning."""

    file: str
    line: int
    function: str


def warn(k: Core, site: Site, message: str = "") -> None:
    """WARN(): report and continue."""
    k.crash.warn(message, site.file, site.line, function=site.function)


def warn_once(k: Core, site: Site, message: str = "") -> None:
    """WARN_ONCE(): report only the first time."""
    if site not in k.warned:
        k.warned.add(site)
        warn(k, site, message)
