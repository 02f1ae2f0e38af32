"""Work that a task must do before it returns to user space or exits: kernel/task_work.c.

Only code of an image queues such work, for example the last fput() of a process's file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def has_task_work(k: Core) -> bool:
    """task_work_pending(), for the current task; one that ends is marked when it has done the last of it."""
    if k.image is None:
        return False
    works = k.memory.u64(k.sched.task().address + k.types.offset("task_struct", "task_works"))
    return works not in (0, k.image.get("work_exited"))


def task_work_run(k: Core) -> None:
    """task_work_run(), for the current task."""
    if has_task_work(k) and k.image is not None and (run := k.image.get("task_work_run")) is not None:
        k.cpu.call(run)
