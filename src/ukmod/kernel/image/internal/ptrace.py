"""PTRACE_PEEKSIGINFO: a tracer looks at signals that are queued, which is done in Python; kernel/ptrace.c."""

from __future__ import annotations

from errno import EFAULT, EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.uaccess import copy
from ukmod.machine.abi import Int, Ptr, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_ARGUMENTS: Final = 16
"""The size of a struct ptrace_peeksiginfo_args: ``off``, ``flags`` and ``nr``."""
_SHARED: Final = 1
"""PTRACE_PEEKSIGINFO_SHARED: the signals of the process, not of the thread."""
_USER_SIGINFO: Final = 128
"""The size of a siginfo_t."""


@export()
def ptrace_peek_siginfo(k: Core, child: Ptr, address: ULong, data: ULong) -> Int:
    """``static int ptrace_peek_siginfo(struct task_struct *child, unsigned long addr, unsigned long data)``.

    Returns how many have been copied to ``data``.
    """
    arguments = k.slab.kernel_object(_ARGUMENTS)
    failed = copy(k, arguments, address, _ARGUMENTS, to_user=False)
    first, flags = k.memory.u64(arguments), k.memory.u32(arguments + 8)
    count = signed(k.memory.u32(arguments + 12), 4)
    k.slab.kfree(arguments)
    if failed:
        return -EFAULT
    if flags & ~_SHARED or count < 0:
        return -EINVAL
    queued = k.signals.queued(k.tasks.at(child), shared=bool(flags & _SHARED))[first : first + count]
    for index, info in enumerate(queued):
        if not _give(k, data + index * _USER_SIGINFO, info):
            return index or -EFAULT
    return len(queued)


def _give(k: Core, address: int, info: bytes) -> bool:
    """copy_siginfo_to_user(); false for -EFAULT."""
    if k.image is None:
        return False
    buffer = k.slab.kernel_object(len(info))
    k.memory.write(buffer, info)
    error = k.cpu.call(k.image.address("copy_siginfo_to_user"), address, buffer) & 0xFFFF_FFFF
    k.slab.kfree(buffer)
    return not error
