"""Work items in guest memory, as INIT_WORK() and INIT_DELAYED_WORK() leave them, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.kernel.conftest import Guest
from tests.kernel.tasks import call

from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block
from ukmod.kernel.workqueue.work import WORK_STRUCT_PENDING

CPU: Final = 0


class Works:
    """Makes work items whose functions leave their names in ``ran``, and calls the functions of workqueue.c.

    Its methods run in the current task; ``guest`` calls a function in a task of its own.
    """

    def __init__(self, guest: Guest) -> None:
        self.guest, self.kernel = guest, guest.kernel
        self.events = guest.kernel.workqueues.events.address
        self.ran: list[str] = []

    def init(self, address: int, name: str, body: Callable[[], object] = bool) -> int:
        """INIT_WORK() at an address."""
        k, layout = self.kernel, self.kernel.workqueues.layout

        def function(work: int) -> int:
            assert work == address
            self.ran.append(name)
            body()
            return 0

        k.memory.set_u64(address + layout.data, k.workqueues.no_pool)
        init_list_head(k.memory, address + layout.entry)
        k.memory.set_u64(address + layout.func, self.guest.python(function, 1))
        return address

    def work(self, name: str, body: Callable[[], object] = bool) -> int:
        """A struct work_struct, whose function notes ``name`` and then calls ``body``."""
        return self.init(self.guest.put(b"", self.kernel.types.sizeof("work_struct")), name, body)

    def sleeper(self, name: str, ticks: int = 10) -> int:
        """A work item whose function sleeps, and notes "NAME ends"."""

        def body() -> None:
            block(self.kernel, TASK_UNINTERRUPTIBLE, ticks)
            self.ran.append(f"{name} ends")

        return self.work(name, body)

    def delayed(self, name: str, body: Callable[[], object] = bool) -> int:
        """A struct delayed_work."""
        k, size = self.kernel, self.kernel.types.sizeof("delayed_work")
        address = self.guest.put(bytes(size), size)
        self.init(address + k.types.offset("delayed_work", "work"), name, body)
        timer = address + k.types.offset("delayed_work", "timer")
        expired = k.symbols.address("delayed_work_timer_fn")
        k.memory.set_u64(timer + k.types.offset("timer_list", "function"), expired)
        return address

    def wq(self, name: bytes = b"q", flags: int = 0, max_active: int = 0) -> int:
        """alloc_workqueue()."""
        return self.guest.call("alloc_workqueue", name, flags, max_active) & (1 << 64) - 1

    def call(self, function: str, *arguments: int) -> int:
        """Call a function that returns an int or a bool, in the current task."""
        return call(self.kernel, function, *arguments)

    def queue(self, work: int, wq: int = 0) -> int:
        """queue_work()."""
        return self.call("queue_work_on", CPU, wq or self.events, work)

    def delay(self, dwork: int, jiffies: int, wq: int = 0) -> int:
        """queue_delayed_work()."""
        return self.call("queue_delayed_work_on", CPU, wq or self.events, dwork, jiffies)

    def pending(self, work: int) -> bool:
        """work_pending(), as it is inlined."""
        data = self.kernel.memory.u64(work + self.kernel.workqueues.layout.data)
        return bool(data & WORK_STRUCT_PENDING)

    def function_name(self, work: int) -> str:
        """The name of a work's function in reports: %ps of ``work->func``."""
        function = self.kernel.memory.u64(work + self.kernel.workqueues.layout.func)
        return self.kernel.kallsyms.sprint(function, offset=False)

    def sleep(self, jiffies: int) -> None:
        """schedule_timeout_uninterruptible() of the current task."""
        block(self.kernel, TASK_UNINTERRUPTIBLE, jiffies)
