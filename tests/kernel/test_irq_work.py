"""Work that the next interrupt does: kernel/irq_work.c."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task

from ukmod.errors import KernelPanic
from ukmod.kernel.core import Core
from ukmod.kernel.irq_work import LAZY
from ukmod.kernel.preempt_count import PreemptCount

QUEUES = pytest.mark.parametrize(
    ("queue", "arguments"), [("irq_work_queue", ()), ("irq_work_queue_on", (0,))]
)


def irq_work(guest: Guest, body: Callable[[int], object]) -> int:
    """A struct irq_work as init_irq_work() leaves it."""
    k, size = guest.kernel, guest.kernel.types.sizeof("irq_work")
    at = guest.put(bytes(size))

    def function(work: int) -> int:
        body(work)
        return 0

    k.memory.set_u64(at + k.types.offset("irq_work", "func"), guest.python(function, 1))
    return at


def queued(k: Core, work: int, name: str = "irq_work_queue", *arguments: int) -> bool:
    return bool(call(k, name, work, *arguments) & 0xFF)


@QUEUES
def test_irq_work_runs_in_hardirq_context_and_is_passed_itself(
    kernel: Core, guest: Guest, queue: str, arguments: tuple[int, ...]
) -> None:
    seen: list[tuple[int, int]] = []
    work = irq_work(guest, lambda at: seen.append((at, kernel.percpu.preempt_count())))
    in_task(kernel, lambda: queued(kernel, work, queue, *arguments))
    kernel.run(0.01)
    assert seen == [(work, PreemptCount().hardirq_offset + 1)], "while the task may not be preempted"


@QUEUES
def test_irq_work_that_is_pending_is_not_queued_again(
    kernel: Core, guest: Guest, queue: str, arguments: tuple[int, ...]
) -> None:
    seen, answers = list[int](), list[bool]()
    work = irq_work(guest, seen.append)

    def body() -> None:
        with kernel.cpu.interrupts_off():
            answers.extend(queued(kernel, work, queue, *arguments) for _ in range(2))
            assert not seen

    in_task(kernel, body)
    kernel.run(0.01)
    assert answers == [True, False]
    assert seen == [work]


def test_irq_work_may_be_queued_again_once_its_function_has_begun(kernel: Core, guest: Guest) -> None:
    answers: list[bool] = []

    def body(work: int) -> None:
        if len(answers) < 3:
            answers.append(queued(kernel, work))

    work = irq_work(guest, body)
    in_task(kernel, lambda: queued(kernel, work))
    kernel.run(0.01)
    assert answers == [True] * 3


def test_an_irq_work_interrupts_its_task_at_once_and_a_lazy_one_waits_for_the_tick(
    kernel: Core, guest: Guest
) -> None:
    seen: list[object] = []
    work = irq_work(guest, lambda _: seen.append(kernel.clock.jiffies))
    flags = (
        work + kernel.types.offset("irq_work", "node") + kernel.types.offset("__call_single_node", "u_flags")
    )

    def body() -> None:
        for lazy in (0, LAZY):
            kernel.memory.set_u32(flags, lazy)
            seen.append(kernel.clock.jiffies)
            queued(kernel, work)
            seen.append("queued")

    in_task(kernel, body)
    kernel.run(0.01)
    now, ran, queued_, then, queued_lazy, ticked = seen
    assert (ran, queued_, queued_lazy, ticked) == (now, "queued", "queued", int(str(then)) + 1)


def test_irq_work_sync_returns_when_the_function_has(kernel: Core, guest: Guest) -> None:
    seen: list[str] = []
    work = irq_work(guest, lambda _: seen.append("ran"))

    def body() -> None:
        queued(kernel, work)
        call(kernel, "irq_work_sync", work)
        seen.append("synchronized")

    in_task(kernel, body)
    assert seen == ["ran", "synchronized"]


def test_a_function_that_waits_for_its_own_end_never_returns(kernel: Core, guest: Guest) -> None:
    work = irq_work(guest, lambda at: call(kernel, "irq_work_sync", at))
    with pytest.raises(KernelPanic, match="Hard LOCKUP"):
        in_task(kernel, lambda: queued(kernel, work))
