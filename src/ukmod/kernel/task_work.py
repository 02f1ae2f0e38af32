"""Work that a task must do before it returns to user space or exits: kernel/task_work.c.

Only code of an image queues such work, for example the last fput() of a process's file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def task_work_run(k: Core) -> None:
    """task_work_run(), for the current task."""
    if k.image is None or (run := k.image.get("task_work_run")) is None:
        return
    if k.memory.u64(k.sched.task().address + k.types.offset("task_struct", "task_works")):
        k.cpu.call(run)
