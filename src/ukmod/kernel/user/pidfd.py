"""Files that stand for processes: pidfds of clone(2) and waitid(2), which the image makes and reads."""

from __future__ import annotations

from errno import EFAULT
from typing import TYPE_CHECKING

from ukmod.kernel.lib.err import is_err
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.uaccess import put_user
from ukmod.kernel.sched.core import Task
from ukmod.kernel.uapi import O_EXCL, O_NONBLOCK

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

PIDFD_THREAD = O_EXCL
"""include/uapi/linux/pidfd.h"""


def names_threads(image: MappedImage) -> bool:
    """True if there are pidfds of threads, which came with their own file system."""
    return image.get("pidfs_alloc_file") is not None


def open_pidfd(k: Core, image: MappedImage, task: Task, address: int, flags: int) -> int:
    """CLONE_PIDFD: open a pidfd of ``task`` and store its number at a user address.

    Returns 0, or a negative errno.
    """
    result = k.slab.kernel_object(8)
    fd = signed(k.cpu.call(image.address("pidfd_prepare"), k.pids.of(task), flags, result), 4)
    file = k.memory.u64(result)
    k.slab.kfree(result)
    if fd < 0:
        return fd
    if put_user(k, address, fd):
        k.cpu.call(image.address("fd_install"), fd, file)
        return 0
    k.cpu.call(image.address("fput"), file)
    k.cpu.call(image.address("put_unused_fd"), fd)
    return -EFAULT


def pidfd_get_pid(k: Core, image: MappedImage, fd: int) -> tuple[int, bool]:
    """The struct pid of a pidfd, with a reference, or a negative errno; and whether it has O_NONBLOCK."""
    flags = k.slab.kernel_object(4)
    pid = k.cpu.call(image.address("pidfd_get_pid"), fd, flags)
    is_nonblocking = bool(k.memory.u32(flags) & O_NONBLOCK)
    k.slab.kfree(flags)
    return (signed(pid, 8) if is_err(pid) else pid), is_nonblocking
