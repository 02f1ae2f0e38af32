"""Where a task looks for files: its struct fs_struct.

Since v7.3 kernel threads see a filesystem without files, and processes that of process 1. Before, there was
one for all, ``init_fs``, of which every new task_struct has the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.lib.err import is_err

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.sched.core import Task


def set_fs(k: Core, task: Task, fs: int) -> None:
    """Give a task a fs_struct: the one it uses, and the one it has, from which the former may differ."""
    for member in ("fs", "real_fs"):
        if k.types.has("task_struct", member):
            k.memory.set_u64(task.address + k.types.offset("task_struct", member), fs)


def of_init(k: Core, image: MappedImage) -> int:
    """The fs_struct of process 1; 0 if all tasks have the same, or if it has none yet."""
    at = image.get("userspace_init_fs")
    return k.memory.u64(at) if at is not None else 0


def enter_fs(k: Core, image: MappedImage, task: Task) -> None:
    """Have a process look for files where process 1 does."""
    if fs := of_init(k, image):
        set_fs(k, task, fs)


def unshare_fs(k: Core, image: MappedImage) -> None:
    """Give the current task a copy of ``init_fs``, as process 1 is created without CLONE_FS."""
    copy = k.cpu.call(image.address("copy_fs_struct"), image.address("init_fs"))
    if copy and not is_err(copy):
        set_fs(k, k.sched.task(), copy)
