"""Work that is done in the next interrupt: kernel/irq_work.c."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block
from ukmod.kernel.watchdog import deadlock
from ukmod.machine.abi import Bool, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

PENDING: Final = 1 << 0
"""IRQ_WORK_PENDING: it is queued, and its function has not begun."""
BUSY: Final = 1 << 1
"""IRQ_WORK_BUSY: it is queued, or its function is running."""


def _flags(k: Core, work: int) -> int:
    """The address of the flags: a member until v5.10, since then part of the node."""
    if k.types.has("irq_work", "flags"):
        return work + k.types.offset("irq_work", "flags")
    return work + k.types.offset("irq_work", "node") + k.types.offset("__call_single_node", "u_flags")


@export(gpl=True)
def irq_work_queue(k: Core, work: Ptr) -> Bool:
    """``bool irq_work_queue(struct irq_work *)``: false if it is pending."""
    at = _flags(k, work)
    flags = k.memory.u32(at)
    k.memory.set_u32(at, flags | PENDING | BUSY)
    if flags & PENDING:
        return False
    k.clock.at(k.clock.now, partial(_run, k, work))
    return True


@export(gpl=True)
def irq_work_queue_on(k: Core, work: Ptr, cpu: Int) -> Bool:
    """``bool irq_work_queue_on(struct irq_work *, int cpu)``: there is only one CPU."""
    del cpu
    return irq_work_queue(k, work)


def _run(k: Core, work: int) -> None:
    """irq_work_single(): it may be queued again once its function has begun, and is then still busy."""
    at = _flags(k, work)
    flags = k.memory.u32(at) & ~PENDING
    k.memory.set_u32(at, flags)
    k.cpu.call(k.memory.u64(work + k.types.offset("irq_work", "func")), work)
    if k.memory.u32(at) == flags:
        k.memory.set_u32(at, flags & ~BUSY)


@export(gpl=True)
def irq_work_sync(k: Core, work: Ptr) -> None:
    """void irq_work_sync(struct irq_work *): wait until it is neither pending nor running."""
    while k.memory.u32(_flags(k, work)) & BUSY:
        if k.sched.in_interrupt:
            deadlock(k)
        block(k, TASK_UNINTERRUPTIBLE, 1)
