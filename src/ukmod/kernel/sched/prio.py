"""Scheduling policies and priorities: kernel/sched/core.c, include/linux/sched/prio.h.

The scheduler runs a real-time task before all others of less priority, and puts a task that is woken before
those that are less nice. Guest memory has what modules see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.sched.core import DEFAULT_PRIO, MAX_RT_PRIO, Task
from ukmod.machine.abi import Int, Long, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

MIN_NICE: Final = -20
MAX_NICE: Final = 19
SCHED_NORMAL, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
"""Policies, include/uapi/linux/sched.h."""


def _set(k: Core, task: Task, **members: int) -> None:
    """Set 32-bit members of a task_struct."""
    for name, value in members.items():
        if k.types.has("task_struct", name):
            k.memory.set_u32(task.address + k.types.offset("task_struct", name), value)


def set_nice(k: Core, task: Task, nice: int) -> None:
    """set_user_nice(): a value out of range is ignored; for a real-time task it has no effect until later."""
    if not MIN_NICE <= nice <= MAX_NICE:
        return
    task.static_prio = DEFAULT_PRIO + nice
    _set(k, task, static_prio=task.static_prio)
    if task.prio >= MAX_RT_PRIO:
        _set_prio(k, task, task.static_prio)


def set_policy(k: Core, task: Task, policy: int, rt_priority: int = 0) -> None:
    """sched_setscheduler_nocheck(): a policy; those of real time with ``rt_priority`` from 1 to 99."""
    _set(k, task, policy=policy, rt_priority=rt_priority)
    _set_prio(k, task, MAX_RT_PRIO - 1 - rt_priority if rt_priority else task.static_prio)


def _set_prio(k: Core, task: Task, prio: int) -> None:
    task.prio = prio
    _set(k, task, prio=prio, normal_prio=prio)
    k.sched.requeue(task)


@export("set_user_nice", "set_user_nice.part.0")
def set_user_nice(k: Core, task: Ptr, nice: Long) -> None:
    """void set_user_nice(struct task_struct *p, long nice)."""
    set_nice(k, k.tasks.at(task), nice)


@export(gpl=True)
def sched_set_fifo(k: Core, task: Ptr) -> None:
    """void sched_set_fifo(struct task_struct *p): SCHED_FIFO, in the middle of the real-time priorities."""
    set_policy(k, k.tasks.at(task), SCHED_FIFO, MAX_RT_PRIO // 2)


@export(gpl=True)
def sched_set_fifo_low(k: Core, task: Ptr) -> None:
    """void sched_set_fifo_low(struct task_struct *p): SCHED_FIFO, just above SCHED_NORMAL."""
    set_policy(k, k.tasks.at(task), SCHED_FIFO, 1)


@export(gpl=True)
def sched_set_normal(k: Core, task: Ptr, nice: Int) -> None:
    """void sched_set_normal(struct task_struct *p, int nice)."""
    found = k.tasks.at(task)
    found.static_prio = DEFAULT_PRIO + nice
    _set(k, found, static_prio=found.static_prio)
    set_policy(k, found, SCHED_NORMAL)
