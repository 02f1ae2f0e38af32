"""Wait queues: kernel/sched/wait.c; tests/golden has what modules see of them (waits)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.sched.queues import WaitQueue
from tests.kernel.tasks import call, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.sched.core import (
    ERESTARTSYS,
    TASK_INTERRUPTIBLE,
    TASK_NORMAL,
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    Task,
    block,
)
from ukmod.kernel.sched.wait import WF_SYNC, WQ_FLAG_BOOKMARK, WQ_FLAG_EXCLUSIVE, WQ_FLAG_WOKEN

SIGTERM = 15


class Queue(WaitQueue):
    """A struct wait_queue_head."""

    def __init__(self, guest: Guest) -> None:
        super().__init__(guest, "wait_queue_head", "head", "__init_waitqueue_head")
        self.lock = self.head + self.kernel.waitqueues.queue.lock

    def entry(self, flags: int = 0, function: str | int = "default_wake_function", task: int = 0) -> int:
        """A struct wait_queue_entry."""
        k, layout = self.kernel, self.kernel.waitqueues.waiter
        at = k.slab.kmalloc(k.types.sizeof("wait_queue_entry"))
        k.memory.set_u32(at + layout.flags, flags)
        k.memory.set_u64(at + layout.private, task)
        address = function if isinstance(function, int) else k.symbols.address(function)
        k.memory.set_u64(at + layout.func, address)
        init_list_head(k.memory, at + layout.entry)
        return at

    def noting(self, name: str, result: int = 1, flags: int = 0) -> int:
        """An entry whose function leaves word that it was called."""

        def function(*_: int) -> int:
            self.woken.append(name)
            return result & 0xFFFF_FFFF

        return self.entry(flags, self.guest.python(function, 4))

    def add(self, *entries: int) -> None:
        for entry in entries:
            self.guest.call("add_wait_queue", self.head, entry)

    def add_exclusive(self, *entries: int) -> None:
        for entry in entries:
            self.guest.call("add_wait_queue_exclusive", self.head, entry)

    def wake(self, exclusive: int = 1, mode: int = TASK_NORMAL) -> list[str]:
        """wake_up(), or wake_up_nr(); who was called."""
        return self.do("__wake_up", mode, exclusive, 0)

    def sleeper(
        self, name: str, state: int = TASK_UNINTERRUPTIBLE, *, exclusive: bool = False, flags: int = 0
    ) -> Task:
        """A task that waits once as DEFINE_WAIT() has it: prepare, schedule, finish."""
        how = "prepare_to_wait_exclusive" if exclusive else "prepare_to_wait"

        def body(k: Core) -> None:
            entry = self.entry(flags, "autoremove_wake_function", k.sched.task().address)
            call(k, how, self.head, entry, state)
            k.sched.schedule()
            self.woken.append(name)
            call(k, "finish_wait", self.head, entry)

        return self.task(name, body)


@pytest.fixture
def queue(guest: Guest) -> Queue:
    return Queue(guest)


class TestOrder:
    """__wake_up_common(): from the head on, all that are not exclusive and as many that are."""

    def test_a_new_one_is_first_an_exclusive_one_last(self, queue: Queue) -> None:
        queue.add(queue.noting("a"), queue.noting("b"))
        queue.add_exclusive(queue.noting("x"), queue.noting("y"))
        queue.add(queue.noting("c"))
        assert queue.wake(exclusive=0) == ["c", "b", "a", "x", "y"]

    def test_one_with_priority_comes_before_all(self, queue: Queue) -> None:
        """add_wait_queue_priority(): KVM's irqfd sees an event first, and alone."""
        queue.add(queue.noting("a"))
        queue.do("add_wait_queue_priority", queue.noting("p"))
        queue.add(queue.noting("b"))
        assert queue.wake(exclusive=0) == ["p", "b", "a"]
        assert queue.wake() == ["p"], "for it is exclusive"

    @pytest.mark.parametrize(
        ("nr", "who"), [(1, ["a", "x"]), (2, ["a", "x", "y"]), (3, ["a", "x", "y", "z"]), (0, [*"axyz"])]
    )
    def test_at_most_the_given_number_of_exclusive_waiters_is_woken(
        self, queue: Queue, nr: int, who: list[str]
    ) -> None:
        queue.add_exclusive(*map(queue.noting, "xyz"))
        queue.add(queue.noting("a"))
        assert queue.wake(nr) == who

    def test_one_that_was_awake_does_not_count(self, queue: Queue) -> None:
        queue.add_exclusive(queue.noting("x", result=0), queue.noting("y"), queue.noting("z"))
        assert queue.wake() == ["x", "y"]

    def test_a_negative_result_is_the_end(self, queue: Queue) -> None:
        queue.add_exclusive(queue.noting("x", result=-1), queue.noting("y"))
        assert queue.wake(0) == ["x"]

    def test_bookmarks_are_nobody(self, queue: Queue) -> None:
        bookmark = queue.noting("bookmark")
        queue.add(queue.noting("a"), bookmark)
        layout = queue.kernel.waitqueues.waiter
        queue.kernel.memory.set_u32(bookmark + layout.flags, WQ_FLAG_BOOKMARK)
        assert queue.wake() == ["a"]

    def test_a_removed_entry_is_not_called(self, queue: Queue) -> None:
        entry = queue.noting("a")
        queue.add(entry, queue.noting("b"))
        queue.do("remove_wait_queue", entry)
        assert queue.wake() == ["b"]

    def test_a_function_may_remove_its_own_entry(self, queue: Queue) -> None:
        k, entries = queue.kernel, []
        function = queue.guest.python(
            lambda entry, *_: entries.append(entry) or k.waitqueues.remove(entry) or 1, 4
        )
        queue.add(queue.noting("b"), queue.entry(0, function))
        assert queue.wake() == ["b"]
        assert len(entries) == 1
        queue.wake()
        assert len(entries) == 1

    def test_the_function_is_told_mode_flags_and_key(self, queue: Queue) -> None:
        told: list[tuple[int, ...]] = []
        queue.add(queue.entry(0, queue.guest.python(lambda *a: told.append(a[1:]) or 0, 4)))
        queue.do("__wake_up", TASK_INTERRUPTIBLE, 1, 0x55)
        queue.do("__wake_up_sync_key", TASK_NORMAL, 0x66)
        assert told == [(TASK_INTERRUPTIBLE, 0, 0x55), (TASK_NORMAL, 0x10, 0x66)]

    def test_waking_an_empty_queue_or_none_in_step_is_nothing(self, queue: Queue) -> None:
        assert queue.wake() == []
        queue.guest.call("__wake_up_sync_key", 0, TASK_NORMAL, 0)
        assert not queue.kernel.oopses


class TestSleepers:
    """prepare_to_wait() to finish_wait()."""

    def test_all_who_are_not_exclusive_go_on(self, queue: Queue) -> None:
        for name in "abc":
            queue.sleeper(name)
        assert sorted(queue.wake()) == ["a", "b", "c"]
        assert queue.empty

    def test_exclusive_ones_go_on_one_by_one_in_the_order_they_came(self, queue: Queue) -> None:
        for name in "abc":
            queue.sleeper(name, exclusive=True)
        assert [queue.wake() for _ in range(4)] == [["a"], ["b"], ["c"], []]
        assert queue.empty

    def test_one_is_told_that_it_is_the_first(self, queue: Queue) -> None:
        results: list[int] = []

        def body() -> None:
            k = queue.kernel
            how = ("prepare_to_wait_exclusive", queue.head)
            results.extend(call(k, *how, queue.entry(), TASK_UNINTERRUPTIBLE) for _ in range(2))
            k.tasks.set_state(k.sched.task(), TASK_RUNNING)

        start(queue.kernel, "t", body)
        queue.kernel.run(0.01)
        assert [bool(result & 0xFF) for result in results] == [True, False]

    def test_to_prepare_again_does_not_enter_it_again(self, queue: Queue) -> None:
        k = queue.kernel
        entry = queue.noting("a")

        def body() -> None:
            for _ in range(3):
                call(k, "prepare_to_wait", queue.head, entry, TASK_UNINTERRUPTIBLE)
            k.tasks.set_state(k.sched.task(), TASK_RUNNING)

        start(k, "t", body)
        assert queue.wake() == ["a"]

    def test_only_those_in_the_state_are_woken(self, queue: Queue) -> None:
        """wake_up_interruptible() leaves a task in TASK_UNINTERRUPTIBLE asleep, and on the queue."""
        queue.sleeper("d", TASK_UNINTERRUPTIBLE)
        queue.sleeper("s", TASK_INTERRUPTIBLE)
        assert queue.wake(mode=TASK_INTERRUPTIBLE) == ["s"]
        assert not queue.empty
        assert queue.wake() == ["d"]

    def test_finish_wait_takes_off_who_nobody_woke(self, queue: Queue) -> None:
        task = queue.sleeper("a", TASK_INTERRUPTIBLE)
        queue.kernel.sched.wake(task)
        queue.kernel.run(0.01)
        assert queue.woken == ["a"]
        assert queue.empty


class TestEvents:
    """prepare_to_wait_event(), the heart of ___wait_event()."""

    def wait(self, queue: Queue, state: int, *, flags: int = 0) -> list[int]:
        """What it returned, before each of two sleeps at most."""
        k = queue.kernel
        results: list[int] = []

        def body() -> None:
            entry = queue.entry()
            call(k, "init_wait_entry", entry, flags)
            for _ in range(2):
                results.append(call(k, "prepare_to_wait_event", queue.head, entry, state))
                if results[-1]:
                    self.left_empty = queue.empty
                    break
                k.sched.schedule()
            call(k, "finish_wait", queue.head, entry)

        self.task = start(k, "t", body)
        k.run(0.01)
        return results

    def test_a_waiter_sleeps_in_the_given_state(self, queue: Queue) -> None:
        assert self.wait(queue, TASK_INTERRUPTIBLE) == [0]
        assert queue.kernel.tasks.state(self.task) == TASK_INTERRUPTIBLE

    def test_a_signal_ends_it_and_takes_the_entry_off(self, queue: Queue) -> None:
        """So that a wakeup that comes later goes to another exclusive waiter, and is not lost."""
        results = self.wait(queue, TASK_INTERRUPTIBLE, flags=WQ_FLAG_EXCLUSIVE)
        queue.kernel.signals.send(self.task, SIGTERM)
        queue.kernel.run(0.01)
        assert results == [0, -ERESTARTSYS]
        assert self.left_empty

    def test_no_signal_ends_an_uninterruptible_wait(self, queue: Queue) -> None:
        results = self.wait(queue, TASK_UNINTERRUPTIBLE)
        kill(queue.kernel, self.task)
        queue.kernel.run(1)
        assert results == [0]

    def test_an_exclusive_one_goes_to_the_tail(self, queue: Queue) -> None:
        queue.add_exclusive(queue.noting("x"))
        self.wait(queue, TASK_INTERRUPTIBLE, flags=WQ_FLAG_EXCLUSIVE)
        assert queue.wake(1) == ["x"]
        assert queue.kernel.tasks.state(self.task) == TASK_INTERRUPTIBLE


class TestWoken:
    """wait_woken() and woken_wake_function(): a wakeup that came before the sleep is not lost."""

    def wait(self, queue: Queue, timeout: int, *, woken: bool) -> tuple[int, int, int]:
        """The jiffies left, those that passed, and the flags that remain."""
        k, seen = queue.kernel, []

        def body() -> None:
            entry = queue.entry(WQ_FLAG_WOKEN if woken else 0, "woken_wake_function", k.sched.task().address)
            call(k, "add_wait_queue", queue.head, entry)
            before = k.clock.jiffies
            left = call(k, "wait_woken", entry, TASK_INTERRUPTIBLE, timeout)
            flags = k.memory.u32(entry + k.waitqueues.waiter.flags)
            seen.append((left, k.clock.jiffies - before, flags))

        start(k, "t", body)
        k.run(1)
        return seen[0]

    def test_wait_woken_does_not_sleep_after_a_wakeup(self, queue: Queue) -> None:
        assert self.wait(queue, 50, woken=True) == (50, 0, 0)

    def test_wait_woken_sleeps_for_the_time_given(self, queue: Queue) -> None:
        left, passed, _ = self.wait(queue, 50, woken=False)
        assert left == 0
        assert 50 <= passed <= 51

    def test_waking_it_leaves_word_in_its_flags(self, queue: Queue) -> None:
        k = queue.kernel
        task = start(k, "t", lambda: block(k, TASK_INTERRUPTIBLE))
        k.run(0.01)
        entry = queue.entry(0, "woken_wake_function", task.address)
        queue.add(entry)
        queue.wake()
        assert k.memory.u32(entry + k.waitqueues.waiter.flags) & WQ_FLAG_WOKEN
        assert task.exited

    def test_a_thread_that_is_to_stop_does_not_sleep(self, queue: Queue) -> None:
        k, seen = queue.kernel, []

        def body() -> int:
            entry = queue.entry(0, "woken_wake_function", k.sched.task().address)
            while not call(k, "kthread_should_stop"):
                block(k, TASK_INTERRUPTIBLE)
            before = k.clock.jiffies
            left = call(k, "wait_woken", entry, TASK_UNINTERRUPTIBLE, 100)
            seen.append((left, k.clock.jiffies - before))
            return 0

        thread = k.kthreads.run("t", body)
        k.run(0.01)
        start(k, "stopper", lambda: call(k, "kthread_stop", thread.address))
        k.run(2)
        assert seen == [(100, 0)]


class TestKinds:
    """The other functions that wake: with a key, as a hint to stay on this CPU, or with the lock held."""

    @pytest.mark.parametrize(
        ("function", "arguments", "flags", "key"),
        [
            ("__wake_up_sync", (), WF_SYNC, 0),
            ("__wake_up_sync_key", (0x66,), WF_SYNC, 0x66),
            ("__wake_up_locked_sync_key", (0x66,), WF_SYNC, 0x66),
            ("__wake_up_locked_key", (0x66,), 0, 0x66),
            ("__wake_up_locked_key_bookmark", (0x66, 0), 0, 0x66),
        ],
    )
    def test_one_exclusive_waiter_is_called_with_flags_and_key(
        self, queue: Queue, function: str, arguments: tuple[int, ...], flags: int, key: int
    ) -> None:
        seen: list[tuple[int, ...]] = []
        entries = [queue.entry(0, queue.guest.python(lambda *a: seen.append(a[1:]) or 1, 4)) for _ in "ab"]
        queue.add_exclusive(*entries)
        queue.do(function, TASK_INTERRUPTIBLE, *arguments)
        assert seen == [(TASK_INTERRUPTIBLE, flags, key)]

    @pytest.mark.parametrize(("leaves", "lines"), [(True, []), (False, [248])])
    def test_pollers_are_told_that_the_queue_goes_away_and_must_leave_it(
        self, queue: Queue, leaves: bool, lines: list[int]
    ) -> None:
        """__wake_up_pollfree(): all of them, EPOLLHUP | POLLFREE."""
        keys: list[int] = []

        def poller(entry: int, mode: int, flags: int, key: int) -> int:
            keys.append(key)
            if leaves:
                queue.kernel.waitqueues.remove(entry)
            return 1

        queue.add_exclusive(*(queue.entry(0, queue.guest.python(poller, 4)) for _ in "ab"))
        queue.do("__wake_up_pollfree")
        assert keys == [0x4010, 0x4010]
        assert [w.line for w in queue.kernel.warnings] == lines


@pytest.mark.parametrize(
    ("function", "lock", "interrupts"), [("do_wait_intr", "", True), ("do_wait_intr_irq", "_irq", False)]
)
class TestLocked:
    """do_wait_intr(): the caller holds the queue's lock, and holds it again afterwards."""

    def test_a_sleeper_does_not_hold_the_queues_lock(
        self, queue: Queue, function: str, lock: str, interrupts: bool
    ) -> None:
        seen: list[tuple[int, int, bool]] = []

        def body(k: Core) -> None:
            entry = queue.entry(0, "default_wake_function", k.sched.task().address)
            call(k, f"_raw_spin_lock{lock}", queue.lock)
            result = call(k, function, queue.head, entry)
            seen.append((result, k.memory.u32(queue.lock) & 0xFF, k.cpu.interrupts_enabled()))
            call(k, f"_raw_spin_unlock{lock}", queue.lock)
            call(k, "remove_wait_queue", queue.head, entry)

        queue.task("t", body)
        assert seen == []
        assert queue.kernel.memory.u32(queue.lock) == 0
        queue.do("__wake_up_locked", TASK_NORMAL, 1)
        assert seen == [(0, 1, interrupts)]

    def test_a_pending_signal_ends_the_wait_with_the_lock_held(
        self, queue: Queue, function: str, lock: str, interrupts: bool
    ) -> None:
        seen: list[tuple[int, int, bool]] = []

        def body(k: Core) -> None:
            k.signals.send(k.sched.task(), SIGTERM)
            call(k, f"_raw_spin_lock{lock}", queue.lock)
            result = call(k, function, queue.head, queue.entry())
            seen.append((result, k.memory.u32(queue.lock) & 0xFF, k.cpu.interrupts_enabled()))
            call(k, f"_raw_spin_unlock{lock}", queue.lock)
            k.tasks.set_state(k.sched.task(), TASK_RUNNING)

        queue.task("t", body)
        assert seen == [(-ERESTARTSYS, 1, interrupts)]
