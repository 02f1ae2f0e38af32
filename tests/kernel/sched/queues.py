"""What the tests of wait queues and simple wait queues have in common."""

from __future__ import annotations

from collections.abc import Callable

from tests.kernel.conftest import Guest
from tests.kernel.tasks import start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import Task


class WaitQueue:
    """A queue in guest memory; ``woken`` has the names of the waiters that were woken, in order."""

    def __init__(self, guest: Guest, struct: str, waiters: str, init: str) -> None:
        """``struct`` has its list head in the member ``waiters``; ``init`` is the function that makes it."""
        self.guest, self.kernel = guest, guest.kernel
        self.head = guest.put(b"\xff" * self.kernel.types.sizeof(struct))
        self.list = self.head + self.kernel.types.offset(struct, waiters)
        self.woken: list[str] = []
        guest.call(init, self.head, 0, 0)

    @property
    def empty(self) -> bool:
        """!waitqueue_active(), as it is inlined."""
        return self.kernel.memory.u64(self.list) == self.list

    def do(self, name: str, *arguments: int) -> list[str]:
        """Call a function with the queue; the waiters that were woken."""
        self.woken.clear()
        self.guest.call(name, self.head, *arguments)
        self.kernel.run(0.01)
        return list(self.woken)

    def task(self, name: str, body: Callable[[Core], object]) -> Task:
        """A new task, which has run until it sleeps."""
        k = self.kernel
        task = start(k, name, lambda: body(k))
        k.run(0.01)
        return task
