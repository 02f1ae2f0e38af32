"""Work items: struct work_struct in guest memory, and the work of kernel code that is written in Python.

Both have the methods by which workqueue.py queues, cancels and runs work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WORK_STRUCT_PENDING: Final = 1 << 0
"""include/linux/workqueue.h"""
OVERFLOW: Final = Site("kernel/workqueue.c", 4307, "work_offqd_disable")
UNDERFLOW: Final = Site("kernel/workqueue.c", 4317, "work_offqd_enable")


@record
class DisableBits:
    """The bits of ``work->data`` that count how often a work item has been disabled: enum work_bits.

    Before v6.10 there are none: those bits are the number of the pool that ran the work last.
    """

    shift: int = 0
    width: int = 0

    @property
    def most(self) -> int:
        """The largest count."""
        return (1 << self.width) - 1

    def of(self, data: int) -> int:
        """The count."""
        return data >> self.shift & self.most

    def put(self, data: int, count: int) -> int:
        """``work->data`` with another count."""
        return data & ~(self.most << self.shift) | count << self.shift


class Work:
    """A work item of kernel code written in Python. It may be queued again once it has begun."""

    def __init__(self, function: Callable[[], object], name: str = "") -> None:
        self.function = function
        self.name = name or getattr(function, "__qualname__", "?")
        self.pending = False

    def test_and_set_pending(self) -> bool:
        """Mark it pending; True if it already was."""
        before, self.pending = self.pending, True
        return before

    def clear_pending(self) -> None:
        """Mark it as not pending."""
        self.pending = False

    def may_queue(self) -> bool:
        """True if its state allows queueing."""
        return True

    @property
    def disabled(self) -> int:
        """The number of times that it has been disabled: it never is."""
        return 0

    def identity(self) -> object:
        """A value that identifies the work item as long as it does not change."""
        return self

    def take(self) -> tuple[Callable[[], object], str]:
        """The function to call, and its name."""
        return self.function, self.name


@record
class GuestWork:
    """A struct work_struct in guest memory, at ``address``."""

    k: Core
    address: int

    @property
    def _data(self) -> int:
        return self.address + self.k.workqueues.layout.data

    def test_and_set_pending(self) -> bool:
        """test_and_set_bit(WORK_STRUCT_PENDING_BIT, work_data_bits(work))."""
        data = self.k.memory.u64(self._data)
        self.k.memory.set_u64(self._data, data | WORK_STRUCT_PENDING)
        return bool(data & WORK_STRUCT_PENDING)

    @property
    def pending(self) -> bool:
        """work_pending()."""
        return bool(self.k.memory.u64(self._data) & WORK_STRUCT_PENDING)

    def clear_pending(self) -> None:
        """Clear only this bit; the others are the disable count, and where it was queued last."""
        self.k.memory.set_u64(self._data, self.k.memory.u64(self._data) & ~WORK_STRUCT_PENDING)

    @property
    def disabled(self) -> int:
        """How often it has been disabled and not enabled since: a count in ``work->data`` (v6.10)."""
        return self.k.workqueues.disable_bits.of(self.k.memory.u64(self._data))

    def disable(self) -> None:
        """work_offqd_disable(): it cannot be queued until it is enabled as often."""
        if self.disabled == self.k.workqueues.disable_bits.most:
            warn_once(self.k, OVERFLOW, "workqueue: work disable count overflowed\n")
        else:
            self._count(self.disabled + 1)

    def enable(self) -> None:
        """work_offqd_enable()."""
        if not self.disabled:
            warn_once(self.k, UNDERFLOW, "workqueue: work disable count underflowed\n")
        else:
            self._count(self.disabled - 1)

    def _count(self, disabled: int) -> None:
        data = self.k.memory.u64(self._data)
        self.k.memory.set_u64(self._data, self.k.workqueues.disable_bits.put(data, disabled))

    def may_queue(self) -> bool:
        """list_empty(&work->entry): false if INIT_WORK() is missing."""
        at = self.address + self.k.workqueues.layout.entry
        return self.k.memory.u64(at) == at

    def function(self) -> int:
        """``work->func``."""
        return self.k.memory.u64(self.k.workqueues.function_at(self.address))

    def identity(self) -> object:
        """Its address and function: a freed and reused work_struct is a different work item."""
        return self.address, self.function()

    def take(self) -> tuple[Callable[[], object], str]:
        """The function to call, and its name."""
        k, address, function = self.k, self.address, self.function()
        return lambda: k.cpu.call(function, address), k.kallsyms.sprint(function, offset=False)
