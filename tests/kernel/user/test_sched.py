"""System calls about a process's policy, priority and CPUs: sched(7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EBUSY, EINVAL, EPERM, ESRCH
from functools import partial
from typing import Any

import pytest

from ukmod.kernel.api import Kernel
from ukmod.kernel.sched.prio import SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_NORMAL, SCHED_RR
from ukmod.kernel.user.process import UserProcess

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]


def attempted(p: UserProcess, call: str, *arguments: Any) -> int:
    """The result of a system call, or its negative errno."""
    try:
        return p.syscall(call, *arguments)
    except OSError as error:
        return -(error.errno or 0)


def priority(value: int) -> bytes:
    """struct sched_param."""
    return struct.pack("<i", value)


def attributes(policy: int, *, nice: int = 0, flags: int = 0, runtime: int = 0) -> bytes:
    """struct sched_attr."""
    return struct.pack("<IIQiIQQQII", 56, policy, flags, nice, 0, runtime, 2 * runtime, 2 * runtime, 0, 0)


def interval(p: UserProcess, pid: int = 0) -> tuple[int, int]:
    """What sched_rr_get_interval(2) says, in seconds and nanoseconds."""
    found = bytearray(16)
    p.syscall("sched_rr_get_interval", pid, found)
    seconds, nanoseconds = struct.unpack("<qq", found)
    return seconds, nanoseconds


def test_a_policy_and_a_priority_are_set_and_read(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        p, now = k.process, bytearray(4)
        assert attempted(p, "sched_setscheduler", 0, SCHED_FIFO, priority(50)) == 0
        assert p.syscall("sched_getscheduler", 0) == SCHED_FIFO
        assert interval(p) == (0, 0)
        assert attempted(p, "sched_setscheduler", 0, SCHED_RR, priority(50)) == 0
        assert interval(p) == (0, 100_000_000)
        assert attempted(p, "sched_setparam", 0, priority(7)) == 0
        p.syscall("sched_getparam", 0, now)
        assert (p.syscall("sched_getscheduler", 0), bytes(now)) == (SCHED_RR, priority(7))
        assert attempted(p, "sched_setattr", 0, attributes(SCHED_BATCH, nice=5), 0) == 0
        seen = bytearray(56)
        p.syscall("sched_getattr", 0, seen, len(seen), 0)
        assert struct.unpack_from("<IIQiI", seen) == (56, SCHED_BATCH, 0, 5, 0)
        assert p.syscall("getpriority", 0, 0) == 20 - 5  # as the kernel itself returns it
        assert not k.oopses

    in_machine(work)


def test_flags_keep_the_policy_or_the_parameters_and_are_seen(in_machine: InMachine) -> None:
    keep_policy, keep_params, reset_on_fork = 0x08, 0x10, 0x4000_0000

    def work(k: Kernel) -> None:
        p = k.process
        assert attempted(p, "sched_setscheduler", 0, SCHED_BATCH | reset_on_fork, priority(0)) == 0
        assert p.syscall("sched_getscheduler", 0) == SCHED_BATCH | reset_on_fork
        assert attempted(p, "sched_setattr", 0, attributes(SCHED_NORMAL, nice=3, flags=keep_policy), 0) == 0
        assert p.syscall("sched_getscheduler", 0) == SCHED_BATCH | reset_on_fork
        assert p.syscall("getpriority", 0, 0) == 20 - 3
        assert attempted(p, "sched_setattr", 0, attributes(SCHED_NORMAL, nice=9, flags=keep_params), 0) == 0
        assert p.syscall("sched_getscheduler", 0) == SCHED_BATCH
        assert p.syscall("getpriority", 0, 0) == 20 - 3
        assert not k.oopses

    in_machine(work)


def test_what_makes_no_sense_is_refused(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        p = k.process
        refused: dict[str, tuple[int, tuple[Any, ...]]] = {
            "no such policy": (EINVAL, ("sched_setscheduler", 0, 9, priority(0))),
            "real-time without a priority": (EINVAL, ("sched_setscheduler", 0, SCHED_FIFO, priority(0))),
            "a priority that is too high": (EINVAL, ("sched_setscheduler", 0, SCHED_FIFO, priority(100))),
            "a priority without real time": (EINVAL, ("sched_setscheduler", 0, SCHED_NORMAL, priority(1))),
            "no such process": (ESRCH, ("sched_setscheduler", 9999, SCHED_NORMAL, priority(0))),
            "unknown flags": (EINVAL, ("sched_setattr", 0, attributes(SCHED_NORMAL, flags=1 << 20), 0)),
            "a negative pid": (EINVAL, ("sched_rr_get_interval", -1, bytearray(16))),
            "the time slice of no process": (ESRCH, ("sched_rr_get_interval", 9999, bytearray(16))),
            "time that cannot be set aside": (
                EBUSY,
                ("sched_setattr", 0, attributes(SCHED_DEADLINE, runtime=10_000_000), 0),
            ),
        }
        for why, (errno, call) in refused.items():
            assert attempted(p, *call) == -errno, why
        assert not k.oopses

    in_machine(work)


def test_an_unprivileged_process_may_only_become_nicer(in_machine: InMachine) -> None:
    def live(p: UserProcess, other: int) -> list[int]:
        nice = [attempted(p, "sched_setattr", 0, attributes(SCHED_NORMAL, nice=n), 0) for n in (5, 5, 0)]
        real_time = attempted(p, "sched_setscheduler", 0, SCHED_FIFO, priority(1))
        return [*nice, real_time, attempted(p, "sched_setscheduler", other, SCHED_NORMAL, priority(0))]

    def work(k: Kernel) -> None:
        p = k.spawn(partial(live, other=k.process.pid), uid=1000, caps=())
        k.run(0.1)
        assert p.result() == [0, 0, -EPERM, -EPERM, -EPERM]

    in_machine(work)


def test_a_process_runs_on_the_one_cpu(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        p, seen = k.process, bytearray(8)
        assert attempted(p, "sched_setaffinity", 0, 8, b"\x03" + bytes(7)) == 0
        p.syscall("sched_getaffinity", 0, 8, seen)
        assert seen == b"\x01" + bytes(7)
        assert attempted(p, "sched_setaffinity", 0, 8, b"\x02" + bytes(7)) == -EINVAL
        assert not k.oopses

    in_machine(work)
