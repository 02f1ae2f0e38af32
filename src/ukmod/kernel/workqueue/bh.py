"""The pools of workqueues with WQ_BH, since v6.9: their work runs in softirq context, as tasklets do."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task
    from ukmod.kernel.workqueue.pool import Item, Worker

RESTARTS: Final = 10
"""BH_WORKER_RESTARTS: as many works run before other softirqs do."""
UNLIMITED: Final = (1 << 31) - 1
"""The max_active of these queues."""


class BhPool:
    """A struct worker_pool of bh_worker_pools, whose work the softirq of this number runs."""

    def __init__(self, kernel: Core, softirq: int) -> None:
        self._k = kernel
        self._softirq = softirq
        self._works: OrderedDict[Item, None] = OrderedDict()
        self._current: Item | None = None

    def insert(self, item: Item) -> None:
        """insert_work() and kick_pool()."""
        self._works[item] = None
        if len(self._works) == 1 and self._current is None:
            self._kick()

    def remove(self, item: Item) -> None:
        """Remove a work item that has not begun."""
        self._works.pop(item, None)

    def executing(self, key: object) -> Item | None:
        """find_worker_executing_work(): the item with this key that is running, or None."""
        return self._current if self._current is not None and self._current.key() == key else None

    def worker_of(self, task: Task) -> Worker | None:
        """No task is a worker of it."""
        del task
        return None

    def _kick(self) -> None:
        """kick_bh_pool()."""
        self._k.softirqs.raise_(self._softirq, self._run)

    def _run(self) -> None:
        """bh_worker()."""
        for _ in range(RESTARTS):
            if not self._works:
                return
            self._current = self._works.popitem(last=False)[0]
            try:
                self._current.begin()
                self._current.run()
                self._current.end()
            finally:
                self._current = None
        if self._works:
            self._kick()
