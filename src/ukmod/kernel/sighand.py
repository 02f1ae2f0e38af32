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

    def share(self, task: Task, parent: Task) -> None:
        """copy_sighand() with CLONE_SIGHAND: a new process has the handlers of its parent.

        They stay where they are until both have been freed.
        """
        self.count(parent, 1)
        self._memory.set_u64(self._pointer(task), self._tasks.sighand(parent))
        task.group.actions = parent.group.actions
        self._tasks.get(task.group.actions)

    def count(self, task: Task, change: int) -> int:
        """Change how many tasks have a task's sighand_struct; returns it."""
        at = self._tasks.sighand(task) + self._k.types.offset("sighand_struct", "count")
        count = self._memory.u32(at) + change & 0xFFFF_FFFF
        self._memory.set_u32(at, count)
        return count

    def free(self, task: Task) -> None:
        """__cleanup_sighand(): a process that has ended no longer has its handlers, but others may.

        The last one takes those that wait at a signalfd off the queue. execve() has allocated those of a
        process that shared its own; the struct that lies with the task is the process's again.
        """
        if (image := self._k.image) is None:
            return
        address = self._tasks.sighand(task)
        if address != self._tasks.placed_sighand(task.group.actions):
            self._k.cpu.call(image.address("__cleanup_sighand"), address)
        elif not self.count(task, -1) and (cleanup := image.get("signalfd_cleanup")) is not None:
            self._k.cpu.call(cleanup, address)
        self._memory.set_u64(self._pointer(task), self._tasks.placed_sighand(task.group.owner))

    def _pointer(self, task: Task) -> int:
        return task.address + self._k.types.offset("task_struct", "sighand")
