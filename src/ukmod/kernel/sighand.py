"""struct sighand_struct: what each signal does to a process.

Inlined code and an image's system calls read and write it, so it is in guest memory alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.sched.core import TASK_NORMAL

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task

NSIG: Final = 64
SIGACTION_SIZE: Final = 32
"""The size of a struct k_sigaction in bytes."""
SIG_DFL, SIG_IGN, SIG_KTHREAD, SIG_KTHREAD_KERNEL = 0, 1, 2, 3
"""include/linux/signal.h: the last two are a kernel thread's allow_signal() and allow_kernel_signal()."""


class Sighands:
    """The actions of each task's signals, ``task->sighand->action``."""

    def __init__(self, kernel: Core) -> None:
        types = kernel.types
        self._k = kernel
        self._memory = kernel.memory
        self._tasks = kernel.tasks
        self._actions = types.offset("sighand_struct", "action") if types.has("sighand_struct") else 0
        has_queue = types.has("sighand_struct", "signalfd_wqh")
        self._queue = types.offset("sighand_struct", "signalfd_wqh") if has_queue else None
        self._size = types.sizeof("k_sigaction") if types.has("k_sigaction") else SIGACTION_SIZE

    def _at(self, task: Task, signal: int) -> int:
        return self._tasks.sighand(task) + self._actions + (signal - 1) * self._size

    def handler(self, task: Task, signal: int) -> int:
        """A signal's sa_handler: SIG_DFL, SIG_IGN, SIG_KTHREAD, SIG_KTHREAD_KERNEL or an address."""
        return self._memory.u64(self._at(task, signal))

    def set_handler(self, task: Task, signal: int, handler: int) -> None:
        """Store a signal's sa_handler."""
        self._memory.set_u64(self._at(task, signal), handler)

    def fill(self, task: Task, handler: int) -> None:
        """Give every signal this handler, without flags: ignore_signals(), flush_signal_handlers()."""
        action = handler.to_bytes(8, "little").ljust(self._size, b"\0")
        self._memory.write(self._at(task, 1), action * NSIG)

    def notify(self, task: Task) -> None:
        """signalfd_notify(): wake those that wait for a signal of the task at a signalfd."""
        if self._k.image is not None and self._queue is not None:
            self._k.waitqueues.wake(self._tasks.sighand(task) + self._queue, TASK_NORMAL, 1)

    def free(self, task: Task) -> None:
        """signalfd_cleanup(): take those that wait at a signalfd off the queue of a task that ends."""
        if self._k.image is not None and (cleanup := self._k.image.get("signalfd_cleanup")) is not None:
            self._k.cpu.call(cleanup, self._tasks.sighand(task))
