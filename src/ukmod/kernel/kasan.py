"""Misuse of kernel memory, found and reported: the subject of mm/kasan/report.c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ukmod.kernel.unwind import Trace, capture

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel
    from ukmod.kernel.fence import Object


@dataclass(frozen=True, slots=True)
class Report:
    """One misuse of an object: ``kind`` in KASAN's words, "slab-use-after-free" is its "use-after-free"."""

    kind: str
    address: int
    trace: Trace
    object_address: int = 0
    object_size: int = 0
    cache: str = ""
    allocated: Trace | None = None
    freed: Trace | None = None


def report_bad_free(k: Kernel, address: int) -> None:
    """kfree() of something that is no object in use: it is reported and nothing else happens."""
    item = k.slab.fence.object_near(address)
    kind = "double-free" if item is not None and item.freed and item.address == address else "invalid-free"
    _record(k, kind, address, item)


def report_damage(k: Kernel, item: Object, address: int) -> None:
    """The bytes around an object that is being freed were written to."""
    _record(k, "slab-out-of-bounds", address, item)


def _record(k: Kernel, kind: str, address: int, item: Object | None) -> None:
    trace = capture(k)
    if item is None:
        k.reports.append(Report(kind, address, trace))
        return
    k.reports.append(
        Report(kind, address, trace, item.address, item.size, item.cache, item.allocated, item.freed)
    )
