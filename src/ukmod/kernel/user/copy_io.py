"""The I/O context of a task, which has its priority: block/blk-ioc.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.kernel.sched.core import Task
from ukmod.kernel.uapi import CLONE_IO

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_NUMA_NO_NODE: Final = 0xFFFF_FFFF
_IOPRIO_CLASS_SHIFT: Final = 13
"""include/uapi/linux/ioprio.h"""


def copy_io(k: Core, image: MappedImage, parent: Task, child: Task, flags: int) -> None:
    """copy_io(): the parent's context with CLONE_IO; otherwise a new one with its priority, if it has any.

    Without memory for one, the child has the default priority.
    """
    if not k.types.has("task_struct", "io_context"):
        return
    _set(k, child, 0)
    if not (context := _get(k, parent)):
        return
    if (copy := image.get("__copy_io")) is not None:  # since v5.18
        k.cpu.call(copy, flags, child.address)
    elif flags & CLONE_IO:
        _link(k, context)
        _set(k, child, context)
    elif (priority := _priority(k, context)) >> _IOPRIO_CLASS_SHIFT:
        allocate = image.address("get_task_io_context")
        if own := k.cpu.call(allocate, child.address, GFP_KERNEL, _NUMA_NO_NODE):
            k.memory.write(own + k.types.offset("io_context", "ioprio"), priority.to_bytes(2, "little"))
            k.cpu.call(image.address("put_io_context"), own)


def release_io(k: Core, image: MappedImage, task: Task) -> None:
    """exit_io_context(), of do_exit()."""
    if k.types.has("task_struct", "io_context") and _get(k, task):
        k.cpu.call(image.address("exit_io_context"), task.address)


def _link(k: Core, context: int) -> None:
    """ioc_task_link(): one more task has a context."""
    for member in ("refcount", "active_ref", "nr_tasks"):
        at = context + k.types.offset("io_context", member)
        k.memory.set_u32(at, k.memory.u32(at) + 1)


def _priority(k: Core, context: int) -> int:
    at = context + k.types.offset("io_context", "ioprio")
    return int.from_bytes(k.memory.read(at, 2), "little")


def _at(k: Core, task: Task) -> int:
    return task.address + k.types.offset("task_struct", "io_context")


def _get(k: Core, task: Task) -> int:
    return k.memory.u64(_at(k, task))


def _set(k: Core, task: Task, context: int) -> None:
    k.memory.set_u64(_at(k, task), context)
