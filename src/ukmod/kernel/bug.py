"""WARN_ON() and WARN_ON_ONCE() in kernel functions: include/asm-generic/bug.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel


@dataclass(frozen=True, slots=True)
class Site:
    """The place of a warning in the kernel's source (v6.1), as it appears in the warning."""

    file: str
    line: int
    function: str


def warn(k: Kernel, site: Site, message: str = "") -> None:
    """WARN(): report and continue."""
    k.crash.warn(message, site.file, site.line, function=site.function)


def warn_once(k: Kernel, site: Site, message: str = "") -> None:
    """WARN_ONCE(): report only the first time."""
    if site not in k.warned:
        k.warned.add(site)
        warn(k, site, message)
