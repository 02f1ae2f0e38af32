"""WARN_ON() and WARN_ON_ONCE() in kernel functions: include/asm-generic/bug.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class Site:
    """The place of a warning in the kernel's source (v6.1), as it appears in the warning.

    others: functions that it is in if the compiler makes no ``function``, or in newer kernels.
    nth, of: which of the function's warnings it is, or of its BUG()s, and how many there are; from 0.
    """

    file: str
    line: int
    function: str
    others: tuple[str, ...] = ()
    nth: int = 0
    of: int = 1


def warn(k: Core, site: Site, message: str = "") -> None:
    """WARN(): report and continue."""
    k.crash.warn_at(site, message)


def warn_once(k: Core, site: Site, message: str = "") -> None:
    """WARN_ONCE(): report only the first time."""
    if site not in k.warned:
        k.warned.add(site)
        warn(k, site, message)
