"""Work that is done in the next interrupt: kernel/irq_work.c."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.watchdog import deadlock
from ukmod.machine.abi import Bool, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

PENDING: Final = 1 << 0
"""IRQ_WORK_PENDING: it is queued, and its function has not begun."""
BUSY: Final = 1 << 1
"""IRQ_WORK_BUSY: it is queued, or its function is running."""
LAZY: Final = 1 << 2
"""IRQ_WORK_LAZY: the next tick does it; for other work, the CPU interrupts itself."""


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
    run = partial(_run, k, work)
    if flags & LAZY:
        k.clock.at(k.clock.time_of(k.clock.jiffies + 1), run)
    elif k.sched.in_interrupt or not k.cpu.interrupts_enabled():
        k.clock.at(k.clock.now, run)
    else:
        k.percpu.add_preempt(1)
        k.interrupt(run)
        k.percpu.add_preempt(-1)
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
    """void irq_work_sync(struct irq_work *): spin until it is neither pending nor running."""
    while k.memory.u32(_flags(k, work)) & BUSY:
        if k.sched.in_interrupt:
            deadlock(k)
        k.clock.advance_to(k.clock.next_event() or 0)
        k.sched.fire_due()
