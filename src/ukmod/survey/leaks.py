"""Leaks: memory lost with each load and unload of a module, unlike what a kernel allocates once and keeps.

The first user of a radix tree's slab, a class in sysfs or a list of static calls makes the kernel allocate
it; later users find it there. Only a second cycle distinguishes that from a leak.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from ukmod.errors import StoppedError, UkmodError
from ukmod.kernel.api import DEFERRED, Kernel
from ukmod.kernel.mm.slab import Allocation, Leak, Slab
from ukmod.kmod import processes
from ukmod.record import record

SOON = 2.0
"""Virtual seconds after which most deferred work is done; waiting that long costs little."""


def lost(k: Kernel, before: frozenset[int], again: Callable[[], bool]) -> Sequence[Leak]:
    """The memory that each cycle of an unloaded module loses, whoever allocated it.

    before: the memory in use before it was loaded. again: runs a second cycle; returns True if that ended
    like the first.
    """
    slab = k.core.slab
    if slab.in_use() <= before:
        return ()
    _wait(k, SOON)
    if (between := slab.in_use()) <= before:
        return ()
    kept = _Usage.of(slab)
    alike = again()
    known = between if alike else before
    _wait(k, SOON)
    if not slab.in_use() <= known:
        _wait(k, DEFERRED)
    found = slab.leaks(known=known)
    return kept.grown(slab, found) if alike and found else found


@record
class _Usage:
    """The memory in use; of the kernel's own, only the number of objects of each cache."""

    others: tuple[Allocation, ...]
    kernels: Counter[str]

    @classmethod
    def of(cls, slab: Slab) -> _Usage:
        return cls(tuple(slab.allocations()), slab.kernels_own())

    def grown(self, slab: Slab, leaks: Sequence[Leak]) -> list[Leak]:
        """The leaks since then of which there is more: the nodes of a tree are often replaced by others."""
        now, kernels, kinds = slab.in_use(), slab.kernels_own(), {leak.kind for leak in leaks}
        gone = slab.by_place(one for one in self.others if one[0] in kinds and one[1] not in now)
        fewer = Counter({_place(leak): leak.count for leak in gone})
        return [
            leak
            for leak in leaks
            if leak.count - fewer[_place(leak)] > self.kernels[leak.kind] - kernels[leak.kind]
        ]


def _wait(k: Kernel, seconds: float) -> None:
    with suppress(StoppedError):
        k.run(seconds)


def recurring(k: Kernel, again: Callable[[], object]) -> Sequence[Leak]:
    """The leaks among ``k.leaks()`` that grow in a second cycle, which runs in a copy of this process.

    Returns all of them if no copy is possible, or without an image, which alone allocates things that it
    keeps.
    """
    found = k.leaks()
    if not found or k.core.image is None or not hasattr(os, "fork"):
        return found
    import json

    reader, writer = os.pipe()
    if (pid := processes.fork()) == 0:
        try:
            k.core.cpu.after_fork()
            k.core.log.on_record.clear()
            with suppress(UkmodError):
                again()
                k.settle()
                again_found = [[*_place(leak), leak.count] for leak in k.leaks()]
                os.write(writer, json.dumps(again_found).encode())
        finally:
            processes.end(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        answer = file.read()
    os.waitpid(pid, 0)
    if not answer:
        return found
    counts = {(kind, where): count for kind, where, count in json.loads(answer)}
    return [leak for leak in found if counts.get(_place(leak), 0) > leak.count]


def _place(leak: Leak) -> tuple[str, str]:
    return leak.kind, str(leak.track.where)
