"""Atomic context: include/linux/preempt.h, and what CONFIG_DEBUG_ATOMIC_SLEEP reports of it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import in_task

from ukmod.kernel.core import Core

FILE = b"drivers/x.c"
BUG = "BUG: sleeping function called from invalid context at drivers/x.c:7"


def test_preempt_counts_are_added_and_subtracted(kernel: Core, guest: Guest) -> None:
    counts: list[int] = []

    def body() -> None:
        for function, value in (("add", 1), ("add", 0x200), ("sub", 1), ("sub", 0x200)):
            guest.call(f"preempt_count_{function}", value)
            counts.append(kernel.percpu.preempt_count())

    in_task(kernel, body)
    assert counts == [1, 0x201, 0x200, 0]


class TestMightSleep:
    """might_sleep() of modules that were built with CONFIG_DEBUG_ATOMIC_SLEEP."""

    def report(
        self,
        kernel: Core,
        guest: Guest,
        count: int = 0,
        readers: int = 0,
        *,
        off: bool = False,
        expected: int = 0,
    ) -> list[str]:
        """The lines that __might_resched() logs in such a context."""
        before = len(kernel.log.lines)

        def body() -> None:
            kernel.percpu.add_preempt(count)
            for _ in range(readers):
                guest.call("__rcu_read_lock")
            with kernel.cpu.interrupts_off() if off else nullcontext():
                guest.call("__might_resched", FILE, 7, expected)
            for _ in range(readers):
                guest.call("__rcu_read_unlock")
            kernel.percpu.add_preempt(-count)

        in_task(kernel, body)
        return list(kernel.log.lines)[before : before + 4]

    def test_a_task_that_may_sleep_is_not_reported(self, kernel: Core, guest: Guest) -> None:
        assert self.report(kernel, guest) == []
        assert not kernel.taint.has("W")

    @pytest.mark.parametrize(
        ("count", "readers", "off", "atomic"), [(2, 0, False, 1), (0, 1, False, 0), (0, 0, True, 0)]
    )
    def test_disabled_preemption_readers_and_disabled_interrupts_are_reported(
        self, kernel: Core, guest: Guest, count: int, readers: int, off: bool, atomic: int
    ) -> None:
        bug, where, preempt, rcu = self.report(kernel, guest, count, readers, off=off)
        assert bug == BUG
        assert where.startswith(f"in_atomic(): {atomic}, irqs_disabled(): {off:d}, non_block: 0, pid: ")
        assert where.endswith(", name: test")
        assert preempt == f"preempt_count: {count:x}, expected: 0"
        assert rcu == f"RCU nest depth: {readers}, expected: 0"
        assert kernel.taint.has("W")

    def test_a_context_that_the_caller_expects_is_not_reported(self, kernel: Core, guest: Guest) -> None:
        """cond_resched_lock(): one spinlock; cond_resched_rcu(): one reader."""
        assert self.report(kernel, guest, 1, expected=1) == []
        assert self.report(kernel, guest, 0, 1, expected=0x100) == []
        lines = self.report(kernel, guest, expected=0x101)
        assert lines[2:] == ["preempt_count: 0, expected: 1", "RCU nest depth: 0, expected: 1"]

    def test_there_is_one_report_a_second(self, kernel: Core, guest: Guest) -> None:
        assert self.report(kernel, guest, 1)
        assert not self.report(kernel, guest, 1)
        kernel.run(1)
        assert self.report(kernel, guest, 1)

    def test_might_sleep_expects_nothing(self, kernel: Core, guest: Guest) -> None:
        def body() -> None:
            guest.call("__might_sleep", FILE, 7, 1)
            guest.call("preempt_count_add", 1)
            guest.call("__might_sleep", FILE, 7, 1)
            guest.call("preempt_count_sub", 1)

        in_task(kernel, body)
        assert list(kernel.log.lines).count(BUG) == 1
