"""RLIMIT_NPROC: how many tasks the processes of a user may be, of copy_process() and release_task().

copy_creds() of the image has counted a new task, and commit_creds() moves it to another user. The count is in
``struct ucounts`` or, until v5.13, in ``struct user_struct``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.cred import CAP_SYS_ADMIN
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.sched.core import Task

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

PF_NPROC_EXCEEDED: Final = 0x1000
_CAP_SYS_RESOURCE: Final = 24
_RLIMIT_NPROC: Final = 6
_UCOUNT_RLIMIT_NPROC: Final = 0
"""enum rlimit_type, since v5.19."""


def is_over(k: Core, image: MappedImage, child: Task) -> bool:
    """True if a new task of the current one, which has its credentials, is one too many for its user."""
    task = k.sched.task()
    if _exceeds(k, image, child, _limit(k, task)) and not _is_exempt(k, image, child):
        return True
    k.tasks.set_pf(task, PF_NPROC_EXCEEDED, to=False)
    return False


def uncharge(k: Core, image: MappedImage, task: Task) -> None:
    """Count a task no longer that has been released."""
    if ucounts := _ucounts(k, task):
        k.cpu.call(image.address("dec_rlimit_ucounts"), ucounts, _UCOUNT_RLIMIT_NPROC, 1)
    elif processes := _processes(k, task):
        k.memory.set_u32(processes, k.memory.u32(processes) - 1 & 0xFFFF_FFFF)


def _exceeds(k: Core, image: MappedImage, task: Task, limit: int) -> bool:
    if ucounts := _ucounts(k, task):
        is_overlimit = image.address("is_rlimit_overlimit")
        return bool(k.cpu.call(is_overlimit, ucounts, _UCOUNT_RLIMIT_NPROC, limit) & 0xFF)
    processes = _processes(k, task)
    return bool(processes) and k.memory.u32(processes) > limit


def _is_exempt(k: Core, image: MappedImage, task: Task) -> bool:
    """True for root, and for the capable."""
    if _user(k, task) == image.address("root_user"):
        return True
    capable = k.symbols.address("capable")
    return any(k.cpu.call(capable, one) & 0xFF for one in (_CAP_SYS_RESOURCE, CAP_SYS_ADMIN))


def _limit(k: Core, task: Task) -> int:
    signal = k.memory.u64(task.address + k.types.offset("task_struct", "signal"))
    return k.memory.u64(signal + k.types.offset("signal_struct", "rlim") + 16 * _RLIMIT_NPROC)


def _cred(k: Core, task: Task) -> int:
    return k.memory.u64(task.address + k.types.offset("task_struct", "real_cred"))


def _user(k: Core, task: Task) -> int:
    return k.memory.u64(_cred(k, task) + k.types.offset("cred", "user"))


def _ucounts(k: Core, task: Task) -> int:
    """``task->real_cred->ucounts``; 0 where there is none, before v5.14."""
    if not k.types.has("cred", "ucounts"):
        return 0
    return k.memory.u64(_cred(k, task) + k.types.offset("cred", "ucounts"))


def _processes(k: Core, task: Task) -> int:
    """The address of ``task->real_cred->user->processes``; 0 where there is none, since v5.14."""
    if not k.types.has("user_struct", "processes"):
        return 0
    return _user(k, task) + k.types.offset("user_struct", "processes")
