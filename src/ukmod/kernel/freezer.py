"""The freezer, kernel/freezer.c: the places at which tasks whose code is in Python enter the refrigerator.

The image's own code asks tasks to freeze, and thaws them. Without an image, no task is ever frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.kthread import FREEZABLE
from ukmod.kernel.sched.core import PF_NOFREEZE
from ukmod.machine.abi import Bool, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_TASK_FREEZABLE: Final = 0x2000
"""include/linux/sched.h, since v6.1: the freezer need not wake a task that sleeps in a state with it."""


def freezable(k: Core, state: int) -> int:
    """A task state with TASK_FREEZABLE, if the kernel has it; before, a task is woken to freeze."""
    has_state = k.image is not None and k.image.get("freezer_active") is not None
    return state | _TASK_FREEZABLE if has_state else state


def freezing(k: Core) -> bool:
    """freezing(): True if the current task is to enter the refrigerator."""
    if k.image is None:
        return False
    count = k.image.get("freezer_active") or k.image.get("system_freezing_cnt")  # until v6.0
    if count is None or not k.memory.u32(count):
        return False
    asks = k.image.address("freezing_slow_path")
    return bool(k.cpu.call(asks, k.sched.task().address) & 0xFF)


def try_to_freeze(k: Core, *, until_stopped: bool = False) -> bool:
    """try_to_freeze(): sleep in the refrigerator if the current task is to; True if it has been there.

    ``until_stopped``: a kernel thread that is to stop leaves it.
    """
    if not freezing(k) or k.image is None:
        return False
    return bool(k.cpu.call(k.image.address("__refrigerator"), until_stopped) & 0xFF)


@export(image_first=True)
def set_freezable(k: Core) -> Bool:
    """``bool set_freezable(void)``: true if the task was frozen."""
    k.tasks.set_pf(k.sched.task(), PF_NOFREEZE, to=False)
    return try_to_freeze(k)


@export(gpl=True)
def kthread_freezable_should_stop(k: Core, was_frozen: Ptr) -> Bool:
    """``bool kthread_freezable_should_stop(bool *was_frozen)``."""
    is_back = try_to_freeze(k, until_stopped=True)
    if was_frozen:
        k.memory.set_u8(was_frozen, is_back)
    return k.kthreads.current(FREEZABLE).should_stop
