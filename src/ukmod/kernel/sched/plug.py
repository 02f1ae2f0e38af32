"""Requests of block I/O that a task holds back, to merge them: struct blk_plug (block/blk-core.c).

The image's code fills a plug. It is flushed when the task sleeps, as nobody else starts what lies in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task


def flush_plug(k: Core, task: Task) -> None:
    """blk_flush_plug(), by a work queue, as sched_submit_work() does for a task that is about to sleep."""
    if k.image is None or not (plug := k.memory.u64(task.address + k.types.offset("task_struct", "plug"))):
        return
    flush = k.image.get("__blk_flush_plug") or k.image.address("blk_flush_plug_list")  # until v5.15
    k.cpu.call(flush, plug, 1)
