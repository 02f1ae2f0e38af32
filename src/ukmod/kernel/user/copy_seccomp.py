"""The system call filters of seccomp(2), which a process leaves to its children: kernel/seccomp.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.sched.core import Task

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_SYSCALL_WORK_SECCOMP: Final = 1 << 0
_TIF_SECCOMP: Final = 1 << 8
"""The flag that has the entry code look at the filters: before v5.11 one of thread_info.flags."""


def copy_seccomp(k: Core, image: MappedImage, parent: Task, child: Task) -> None:
    """copy_seccomp(): the child has its parent's mode and filters."""
    if not k.types.has("seccomp", "mode"):
        return  # without CONFIG_SECCOMP the struct is empty
    if (get := image.get("get_seccomp_filter")) is not None:
        k.cpu.call(get, parent.address)
    source, target = (task.address + k.types.offset("task_struct", "seccomp") for task in (parent, child))
    k.memory.write(target, k.memory.read(source, k.types.sizeof("seccomp")))
    if k.memory.u32(target + k.types.offset("seccomp", "mode")):
        has_work = k.types.has("task_struct", "thread_info.syscall_work")
        member, flag = ("syscall_work", _SYSCALL_WORK_SECCOMP) if has_work else ("flags", _TIF_SECCOMP)
        at = child.address + k.types.offset("task_struct", f"thread_info.{member}")
        k.memory.set_u64(at, k.memory.u64(at) | flag)


def release_seccomp(k: Core, image: MappedImage, task: Task) -> None:
    """seccomp_filter_release()."""
    if not k.types.has("seccomp", "filter"):
        return
    at = task.address + k.types.offset("task_struct", "seccomp") + k.types.offset("seccomp", "filter")
    if filters := k.memory.u64(at):
        k.memory.set_u64(at, 0)
        for name in ("__seccomp_filter_orphan", "__put_seccomp_filter"):
            k.cpu.call(image.address(name), filters)
