"""Signals: kernel/signal.c; tests/golden has what modules see of them (signals)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EINVAL, ESRCH

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, start

from ukmod.kernel.core import Core
from ukmod.kernel.pid import PIDTYPE_PGID
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, Task, block
from ukmod.kernel.sighand import SIG_IGN, SIG_KTHREAD, SIG_KTHREAD_KERNEL
from ukmod.kernel.signal import sigmask
from ukmod.kernel.signal_numbers import SIGCHLD, SIGSTOP

SIGUSR1, SIGTERM, SIGKILL, SIGSEGV, SIGRT = 10, 15, 9, 11, 40
BLOCK, UNBLOCK, SETMASK = 0, 1, 2


def sleeper(k: Core) -> Task:
    task = start(k, "sleeper", lambda: block(k, TASK_UNINTERRUPTIBLE))
    k.run(0.01)
    return task


def kthread(k: Core) -> Task:
    task = k.kthreads.run("t", lambda: block(k, TASK_UNINTERRUPTIBLE))
    k.run(0.01)
    return task


def in_thread(k: Core, body: Callable[[], object]) -> None:
    def entry() -> int:
        body()
        return 0

    k.kthreads.run("t", entry)
    k.run(0.01)


def test_a_kernel_thread_ignores_every_signal_it_does_not_allow(kernel: Core) -> None:
    task = kthread(kernel)
    for signal in (SIGTERM, SIGKILL, SIGRT):
        assert kernel.signals.send_info(task, signal, 1) == 0
    assert kernel.tasks.pending(task) == 0
    assert not kernel.tasks.signal_pending(task)


@pytest.mark.parametrize(
    ("action", "priv", "arrives"),
    [
        (SIG_KTHREAD, 0, True),
        (SIG_KTHREAD, 1, True),
        (SIG_KTHREAD_KERNEL, 0, False),
        (SIG_KTHREAD_KERNEL, 1, True),
    ],
)
def test_allow_kernel_signal_lets_only_the_kernels_own_through(
    kernel: Core, action: int, priv: int, arrives: bool
) -> None:
    task = kthread(kernel)
    kernel.sighands.set_handler(task, SIGTERM, action)
    kernel.signals.send_info(task, SIGTERM, priv)
    assert bool(kernel.tasks.pending(task) & sigmask(SIGTERM)) == arrives


def test_disallow_signal_forgets_what_is_pending(kernel: Core) -> None:
    seen: list[bool] = []

    def body() -> None:
        task = kernel.sched.task()
        call(kernel, "kernel_sigaction", SIGTERM, SIG_KTHREAD)
        kernel.signals.send(task, SIGTERM)
        seen.append(kernel.tasks.signal_pending(task))
        call(kernel, "kernel_sigaction", SIGTERM, SIG_IGN)
        seen.append(kernel.tasks.signal_pending(task))

    in_thread(kernel, body)
    assert seen == [True, False]


@pytest.mark.parametrize(("signal", "result"), [(0, 0), (64, 0), (65, -EINVAL), (-1, -EINVAL)])
def test_send_sig_checks_the_number_and_sends_signal_0_as_64(kernel: Core, signal: int, result: int) -> None:
    task = sleeper(kernel)
    assert kernel.signals.send_info(task, signal, 0) == result
    assert bool(kernel.tasks.pending(task) & sigmask(64)) == (result == 0)


def test_a_fatal_signal_makes_sigkill_pending_and_a_stopping_one_does_not(kernel: Core) -> None:
    for signal, fatal in ((SIGTERM, True), (SIGSTOP, False)):
        task = sleeper(kernel)
        kernel.signals.send(task, signal)
        assert bool(kernel.tasks.pending(task) & sigmask(SIGKILL)) == fatal


def test_sigchld_is_ignored_by_default(kernel: Core) -> None:
    task = sleeper(kernel)
    kernel.signals.send(task, SIGCHLD)
    assert not kernel.tasks.signal_pending(task)


def test_a_blocked_signal_stays_pending_and_wakes_nobody(kernel: Core) -> None:
    mask = kernel.slab.kmalloc(8)
    kernel.memory.set_u64(mask, sigmask(SIGUSR1))
    left: list[int] = []

    def body() -> None:
        call(kernel, "sigprocmask", BLOCK, mask, 0)
        left.append(block(kernel, TASK_INTERRUPTIBLE, 10))
        left.append(kernel.tasks.signal_pending(kernel.sched.task()))
        call(kernel, "sigprocmask", UNBLOCK, mask, 0)
        left.append(kernel.tasks.signal_pending(kernel.sched.task()))

    task = start(kernel, "t", body)
    kernel.run(0.005)
    kernel.signals.send(task, SIGUSR1)
    kernel.run(0.1)
    assert left == [0, False, True]


def test_sigprocmask_gives_the_old_set_and_refuses_what_it_does_not_know(kernel: Core) -> None:
    new, old, results = kernel.slab.kmalloc(8), kernel.slab.kmalloc(8), []

    def body() -> None:
        kernel.memory.set_u64(new, 0b110)
        results.append(call(kernel, "sigprocmask", SETMASK, new, 0))
        kernel.memory.set_u64(new, 0b010)
        results.append(call(kernel, "sigprocmask", UNBLOCK, new, old))
        results.append(kernel.memory.u64(old))
        results.append(kernel.signals.blocked(kernel.sched.task()))
        results.append(call(kernel, "sigprocmask", 3, new, 0))

    in_task(kernel, body)
    assert results == [0, 0, 0b110, 0b100, -EINVAL]


def test_standard_signals_do_not_queue_and_realtime_ones_do(kernel: Core) -> None:
    taken: list[int] = []
    info = kernel.slab.kmalloc(128)

    def body() -> None:
        task = kernel.sched.task()
        for signal in (SIGRT, SIGUSR1):
            call(kernel, "kernel_sigaction", signal, SIG_KTHREAD)
            for _ in range(3):
                call(kernel, "send_sig_info", signal, info, task.address)
        while found := kernel.signals.dequeue(task, 0):
            taken.append(found[0])

    in_task(kernel, body)
    assert taken == [SIGUSR1, SIGRT, SIGRT, SIGRT]
    taken.clear()
    in_thread(kernel, body)
    assert taken == [SIGUSR1, SIGRT], "no siginfo is queued for a kernel thread"


def test_dequeue_takes_synchronous_signals_first_then_the_lowest_and_minds_the_mask(kernel: Core) -> None:
    taken: list[int] = []

    def body() -> None:
        task = kernel.sched.task()
        for signal in (SIGUSR1, SIGSEGV, 2):
            call(kernel, "kernel_sigaction", signal, SIG_KTHREAD)
            kernel.signals.send(task, signal)
        while found := kernel.signals.dequeue(task, sigmask(SIGUSR1)):
            taken.append(found[0])
        taken.append(kernel.tasks.pending(task))

    in_thread(kernel, body)
    assert taken == [SIGSEGV, 2, sigmask(SIGUSR1)]


def test_dequeue_of_nothing_forgets_that_there_was_something(kernel: Core) -> None:
    """get_signal() is called again and again for as long as TIF_SIGPENDING is set."""

    def body() -> None:
        task = kernel.sched.task()
        kernel.tasks.set_flag(task, kernel.tasks.tif.sigpending)  # as the freezer sets it
        assert kernel.signals.dequeue(task, 0) is None
        assert not kernel.tasks.signal_pending(task)

    in_thread(kernel, body)


def test_force_sig_gets_through_to_who_blocks_or_ignores_it(kernel: Core) -> None:
    mask, seen = kernel.slab.kmalloc(8), []
    kernel.memory.set_u64(mask, sigmask(SIGSEGV))

    def body(ignore: bool) -> None:
        task = kernel.sched.task()
        if ignore:
            kernel.sighands.set_handler(task, SIGSEGV, SIG_IGN)
        else:
            call(kernel, "sigprocmask", BLOCK, mask, 0)
        call(kernel, "force_sig", SIGSEGV)
        seen.append((kernel.tasks.signal_pending(task), kernel.signals.blocked(task)))
        kernel.signals.deliver()

    for ignore in (False, True):
        assert kernel.run_task("t", lambda ignore=ignore: body(ignore) or 0).exit_code == SIGSEGV
    assert seen == [(True, 0), (True, 0)]


def test_force_sig_leaves_a_handler_that_would_get_it_alone(kernel: Core) -> None:
    seen: list[int] = []

    def body() -> None:
        call(kernel, "kernel_sigaction", SIGUSR1, SIG_KTHREAD)
        call(kernel, "force_sig", SIGUSR1)
        seen.append(kernel.sighands.handler(kernel.sched.task(), SIGUSR1))
        seen.append(kernel.tasks.pending(kernel.sched.task()))

    in_thread(kernel, body)
    assert seen == [SIG_KTHREAD, sigmask(SIGUSR1)]


def test_kill_pid_of_who_has_gone(kernel: Core) -> None:
    results: list[int] = []
    task = start(kernel, "t", lambda: None)
    pid = kernel.pids.get(kernel.pids.of(task))
    kernel.run(0.01)
    in_task(kernel, lambda: results.append(call(kernel, "kill_pid", pid, SIGTERM, 1)))
    assert results == [-ESRCH]


def test_the_last_signal_is_sent_and_dequeued_like_any_other(kernel: Core, guest: Guest) -> None:
    """kill_pid(task_pid(thread), 64, 1) and kernel_dequeue_signal(), as they are inlined."""
    last = 64
    mask, info, kind = guest.words(0), guest.put(bytes(128), 128), guest.words(7)
    taken: list[int] = []

    def body() -> int:
        guest.call("kernel_sigaction", last, SIG_KTHREAD)
        block(kernel, TASK_INTERRUPTIBLE)
        taken.extend(
            guest.call_int("dequeue_signal", kernel.sched.task().address, mask, info, kind) for _ in "ab"
        )
        taken.append(kernel.tasks.signal_pending(kernel.sched.task()))
        return 0

    task = kernel.kthreads.run("t", body)
    kernel.run(0.01)
    pid = kernel.memory.u64(task.address + kernel.types.offset("task_struct", "thread_pid"))
    assert guest.call_int("kill_pid", pid, last, 1) == 0
    kernel.run(0.01)
    assert taken == [last, 0, False]
    assert kernel.memory.u32(info) == last
    assert kernel.memory.u32(kind) == 0, "PIDTYPE_PID"


def test_signal_pending_follows_the_pending_set_when_it_is_computed_again(kernel: Core, guest: Guest) -> None:
    """recalc_sigpending(): a module has cleared TIF_SIGPENDING, or changed the blocked set itself."""
    seen: list[bool] = []

    def body() -> None:
        task = kernel.sched.task()
        guest.call("kernel_sigaction", SIGUSR1, SIG_KTHREAD)
        kernel.signals.send(task, SIGUSR1)
        blocked = task.address + kernel.types.offset("task_struct", "blocked")
        for mask in (sigmask(SIGUSR1), sigmask(SIGTERM)):
            kernel.memory.set_u64(blocked, mask)
            guest.call("recalc_sigpending")
            seen.append(kernel.tasks.signal_pending(task))

    in_thread(kernel, body)
    assert seen == [False, True]


class TestOtherSenders:
    """Functions that send a signal with its cause."""

    SIGBUS, BUS_MCEERR_AO, SI_ASYNCIO = 7, 5, -4

    def test_a_process_group_has_those_that_have_joined_it(self, kernel: Core, guest: Guest) -> None:
        first, second, other = sleeper(kernel), sleeper(kernel), sleeper(kernel)
        group = kernel.pids.of(first)
        for task in (first, second):
            kernel.pids.join(task, PIDTYPE_PGID, group)
        assert guest.call_int("kill_pgrp", group, SIGUSR1, 0) == 0
        took = [bool(kernel.tasks.pending(task) & sigmask(SIGUSR1)) for task in (first, second, other)]
        assert took == [True, True, False]
        assert guest.call_int("kill_pgrp", kernel.pids.of(other), SIGUSR1, 0) == -ESRCH
        assert guest.call_int("kill_pgrp", 0, SIGUSR1, 0) == -ESRCH

    def test_a_task_is_in_the_idle_tasks_group_and_signal_0_only_asks(
        self, kernel: Core, guest: Guest
    ) -> None:
        task = sleeper(kernel)
        group = kernel.pids.group(task, PIDTYPE_PGID)
        assert group == kernel.pids.of(kernel.idle)
        assert guest.call_int("kill_pgrp", group, 0, 0) == 0
        assert guest.call_int("kill_pid", kernel.pids.of(task), 0, 0) == 0
        assert not kernel.tasks.pending(task)
        assert guest.call_int("kill_pgrp", group, SIGUSR1, 0) == 0
        assert kernel.tasks.pending(task) & sigmask(SIGUSR1)

    def test_a_memory_error_names_its_address(self, kernel: Core, guest: Guest) -> None:
        task = sleeper(kernel)
        assert guest.call_int("send_sig_mceerr", self.BUS_MCEERR_AO, 0x7F00_1000, 12, task.address) == 0
        signal, info = kernel.signals.of(task).queue[-1]
        assert signal == self.SIGBUS
        assert (info.take() or b"")[:26] == struct.pack(
            "<iiixxxxQH", self.SIGBUS, 0, self.BUS_MCEERR_AO, 0x7F00_1000, 12
        )

    def test_the_end_of_a_usb_transfer_passes_its_error_and_a_value(self, kernel: Core, guest: Guest) -> None:
        task = sleeper(kernel)
        pid = kernel.pids.of(task)
        assert guest.call_int("kill_pid_usb_asyncio", SIGUSR1, 71, 0x1234, pid, 0) == 0
        info = kernel.signals.of(task).queue[-1][1].take() or b""
        assert info[:24] == struct.pack("<iiixxxxQ", SIGUSR1, 71, self.SI_ASYNCIO, 0x1234)
        assert guest.call_int("kill_pid_usb_asyncio", 65, 0, 0, pid, 0) == -EINVAL
        assert guest.call_int("kill_pid_usb_asyncio", SIGUSR1, 0, 0, 0, 0) == -ESRCH
