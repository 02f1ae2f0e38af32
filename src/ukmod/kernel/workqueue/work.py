"""Work items: struct work_struct in guest memory, and the work of kernel code that is written in Python.

Both have the methods by which workqueue.py queues, cancels and runs work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WORK_STRUCT_PENDING: Final = 1 << 0
"""include/linux/workqueue.h"""


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

    def test_and_set_pending(self) -> bool:
        """test_and_set_bit(WORK_STRUCT_PENDING_BIT, work_data_bits(work))."""
        at = self.address + self.k.workqueues.layout.data
        data = self.k.memory.u64(at)
        self.k.memory.set_u64(at, data | WORK_STRUCT_PENDING)
        return bool(data & WORK_STRUCT_PENDING)

    @property
    def pending(self) -> bool:
        """work_pending()."""
        return bool(self.k.memory.u64(self.address + self.k.workqueues.layout.data) & WORK_STRUCT_PENDING)

    def clear_pending(self) -> None:
        """Clear only this bit; the others record where it was queued last, which nothing reads."""
        at = self.address + self.k.workqueues.layout.data
        self.k.memory.set_u64(at, self.k.memory.u64(at) & ~WORK_STRUCT_PENDING)

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
