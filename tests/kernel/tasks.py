"""Tasks in tests: start several at once and see what they did, in order."""

from __future__ import annotations

from collections.abc import Callable

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import Task


def start(k: Core, comm: str, body: Callable[[], object]) -> Task:
    """A new task that runs ``body``; it ends with exit code 0."""

    def entry() -> int:
        body()
        return 0

    task = k.tasks.create(comm, entry)
    k.sched.wake_new(task)
    return task


def in_task(k: Core, body: Callable[[], object]) -> None:
    """Run ``body`` in a new task to its end, for at most a virtual minute."""

    def entry() -> int:
        body()
        return 0

    assert k.run_task("test", entry, limit=60).exited


def signed(value: int) -> int:
    """An int result as C sees it."""
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def call(k: Core, name: str, *arguments: int) -> int:
    """Call an exported function that returns an int, in the current task."""
    return signed(k.cpu.call(k.symbols.address(name), *arguments))


def kill(k: Core, task: Task) -> None:
    """Send SIGKILL."""
    k.signals.send(task, 9)
