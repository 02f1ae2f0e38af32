"""The fields of preempt_count(): include/linux/preempt.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

SOFTIRQ_OFFSET: Final = 0x0000_0100
SOFTIRQ_DISABLE_OFFSET: Final = 2 * SOFTIRQ_OFFSET
SOFTIRQ_MASK: Final = 0x0000_FF00
PREEMPT_NEED_RESCHED: Final = 0x8000_0000
"""It is inverted: if it is set, no reschedule has been requested."""


@record
class PreemptCount:
    """The fields above softirqs, which are not in the same place in all kernels."""

    hardirq_mask: int = 0x000F_0000
    nmi_mask: int = 0x00F0_0000
    need_resched: int = PREEMPT_NEED_RESCHED
    """The highest bit of the variable, which may have 64."""

    @property
    def hardirq_offset(self) -> int:
        """HARDIRQ_OFFSET."""
        return self.hardirq_mask & -self.hardirq_mask

    @property
    def nmi_offset(self) -> int:
        """NMI_OFFSET."""
        return self.nmi_mask & -self.nmi_mask

    @property
    def interrupt_mask(self) -> int:
        """in_interrupt(): softirqs that run or are disabled, interrupts, NMIs."""
        return SOFTIRQ_MASK | self.hardirq_mask | self.nmi_mask


def layout_of(k: Core) -> PreemptCount:
    """The fields of this machine's image; without one, those before v7.3.

    Since v7.3 eight bits below those for interrupts count local_interrupt_disable(). PREEMPT_NEED_RESCHED
    moves to the upper half of a variable of 64 bits, if the kernel counts at all
    (HAS_SEPARATE_PREEMPT_RESCHED_BITS).
    """
    if k.image is None or k.image.get("local_interrupt_disable_state") is None:
        return PreemptCount()
    if is_counted(k):
        return PreemptCount(0x0F00_0000, 0xF000_0000, 1 << 63)
    return PreemptCount(0x0F00_0000, 0x1000_0000)


def is_counted(k: Core) -> bool:
    """CONFIG_PREEMPT_COUNT: whether a spinlock that is held counts as atomic context.

    A kernel counts if it is preemptible, as its vermagic says, or if it reports tasks that sleep in it.
    """
    if k.image is not None and k.image.get("__might_sleep") is not None:
        return True
    return not k.vermagic or bool({"preempt", "preempt_rt"} & set(k.vermagic.split()))
