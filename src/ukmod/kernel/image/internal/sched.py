"""System calls about a task's policy, priority and CPUs: kernel/sched/core.c. The run queue is Python's."""

from __future__ import annotations

import struct
from errno import EBUSY, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING, Final

from ukmod.kernel.cred import CAP_SYS_NICE
from ukmod.kernel.export import export
from ukmod.kernel.pid import find_vpid
from ukmod.kernel.sched.core import DEFAULT_PRIO, MAX_RT_PRIO, Task
from ukmod.kernel.sched.prio import (
    SCHED_BATCH,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_IDLE,
    SCHED_NORMAL,
    SCHED_RR,
    set_nice,
    set_policy,
)
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.machine.abi import Bool, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_FAIR: Final = (SCHED_NORMAL, SCHED_BATCH, SCHED_IDLE)
_REAL_TIME: Final = (SCHED_FIFO, SCHED_RR)
_ATTR: Final = struct.Struct("<IIQiI")
"""The beginning of struct sched_attr, include/uapi/linux/sched/types.h."""
_SAME_POLICY: Final = 0xFFFF_FFFF
"""SETPARAM_POLICY: sched_setparam(2) leaves it as it is."""
_RESET_ON_FORK, _KEEP_PARAMS, _FLAGS = 0x01, 0x10, 0x7F
"""SCHED_FLAG_, include/uapi/linux/sched.h"""
_RLIMIT_NICE, _RLIMIT_RTPRIO = 13, 14
_RR_TIMESLICE: Final = 100_000_000
"""sched_rr_timeslice, in nanoseconds."""


@export("__sched_setscheduler")
def sched_setscheduler(k: Core, task: Ptr, attr: Ptr, user: Bool, pi: Bool) -> Int:
    """int __sched_setscheduler(struct task_struct *p, const struct sched_attr *attr, bool user, bool pi)."""
    del pi
    found = k.tasks.at(task)
    _, wanted, flags, nice, priority = _ATTR.unpack(k.memory.read(attr, _ATTR.size))
    policy = _member(k, found, "policy") if wanted == _SAME_POLICY else wanted
    if policy not in (*_FAIR, *_REAL_TIME, SCHED_DEADLINE) or flags & ~_FLAGS or priority >= MAX_RT_PRIO:
        return -EINVAL
    if (policy in _REAL_TIME) != (priority != 0):
        return -EINVAL
    was_reset = _resets(k, found)
    reset = was_reset if wanted == _SAME_POLICY else bool(flags & _RESET_ON_FORK)
    if user and not _may(k, found, policy, nice, priority, stays=was_reset and not reset):
        return -EPERM
    if policy == SCHED_DEADLINE:
        return -EBUSY  # no part of the CPU's time can be set aside
    _set_resets(k, found, to=reset)
    if not flags & _KEEP_PARAMS:
        if policy in _FAIR:
            set_nice(k, found, nice)
        set_policy(k, found, policy, priority)
    return 0


def _may(k: Core, task: Task, policy: int, nice: int, priority: int, *, stays: bool) -> bool:
    """user_check_sched_setscheduler(): what sched(7) says under "Privileges and resource limits".

    ``stays``: the children would keep what this task has, which they do not now.
    """
    before = _member(k, task, "policy")
    needed = stays or not _is_own(k, task) or policy == SCHED_DEADLINE
    if policy in _FAIR:
        needed |= nice < task.static_prio - DEFAULT_PRIO and 20 - nice > _limit(k, task, _RLIMIT_NICE)
    if policy in _REAL_TIME:
        limit = _limit(k, task, _RLIMIT_RTPRIO)
        needed |= policy != before and not limit
        needed |= priority > _member(k, task, "rt_priority") and priority > limit
    if before == SCHED_IDLE and policy != SCHED_IDLE:
        needed |= 20 - (task.static_prio - DEFAULT_PRIO) > _limit(k, task, _RLIMIT_NICE)
    return not needed or k.creds.capable(CAP_SYS_NICE)


def _resets(k: Core, task: Task) -> bool:
    """``sched_reset_on_fork``, a bit of task_struct."""
    member = k.types.member("task_struct", "sched_reset_on_fork")
    return bool(k.memory.u8(task.address + member.offset) >> member.bit_offset & 1)


def _set_resets(k: Core, task: Task, *, to: bool) -> None:
    member = k.types.member("task_struct", "sched_reset_on_fork")
    at = task.address + member.offset
    k.memory.write(at, bytes((k.memory.u8(at) & ~(1 << member.bit_offset) | to << member.bit_offset,)))


def _is_own(k: Core, task: Task) -> bool:
    """check_same_owner()."""
    euid = k.creds.uid(k.sched.task(), "euid")
    return euid in (k.creds.uid(task), k.creds.uid(task, "euid"))


def _limit(k: Core, task: Task, resource: int) -> int:
    """task_rlimit()."""
    signal = k.memory.u64(task.address + k.types.offset("task_struct", "signal"))
    return k.memory.u64(signal + k.types.offset("signal_struct", "rlim") + 16 * resource)


def _member(k: Core, task: Task, name: str) -> int:
    return k.memory.u32(task.address + k.types.offset("task_struct", name))


@export()
def sched_rr_get_interval(k: Core, pid: Int, interval: Ptr) -> Int:
    """int sched_rr_get_interval(pid_t pid, struct timespec64 *t)."""
    if pid < 0:
        return -EINVAL
    task = k.pids.task(find_vpid(k, pid)) if pid else k.sched.task()
    if task is None:
        return -ESRCH
    k.memory.write(interval, struct.pack("<qq", *divmod(_time_slice(k, task), NSEC_PER_SEC)))
    return 0


def _time_slice(k: Core, task: Task) -> int:
    """The class's get_rr_interval(), in nanoseconds: whole ticks."""
    policy = _member(k, task, "policy")
    if policy == SCHED_RR:
        return _RR_TIMESLICE
    if policy not in _FAIR or k.image is None:
        return 0
    base = k.image.get("sysctl_sched_base_slice") or k.image.get("sysctl_sched_latency")  # until v6.5
    tick = k.clock.tick
    return k.memory.u32(base) // tick * tick if base is not None else 0


@export("__set_cpus_allowed_ptr", "__sched_setaffinity")
def set_cpus_allowed(k: Core, task: Ptr, mask: Ptr) -> Int:
    """int __sched_setaffinity(struct task_struct *p, const struct cpumask *mask): there is one CPU."""
    found = k.tasks.at(task)
    if "affinity_context" in str(k.types.prototype("__sched_setaffinity")):  # since v6.2
        mask = Ptr(k.memory.u64(mask))
    if not k.memory.u64(mask) & 1:
        return -EINVAL
    k.memory.set_u64(found.address + k.types.offset("task_struct", "cpus_mask"), 1)
    return 0


@export()
def sched_dl_global_validate(k: Core) -> Int:
    """int sched_dl_global_validate(void): the bandwidth of deadlines is not shared out."""
    del k
    return 0


@export()
def proc_sched_autogroup_set_nice(k: Core, task: Ptr, nice: Int) -> Int:
    """int proc_sched_autogroup_set_nice(struct task_struct *p, int nice): all are in the default group.

    The weight of that cannot be set.
    """
    del k, task, nice
    return -EINVAL
