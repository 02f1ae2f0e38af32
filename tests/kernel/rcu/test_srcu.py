"""Sleepable RCU: kernel/rcu/srcutree.c, Documentation/RCU/Design/Requirements/Requirements.rst."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.module.layout import ModuleLayout
from ukmod.kernel.module.main import Module
from ukmod.kernel.preempt_count import SOFTIRQ_DISABLE_OFFSET
from ukmod.kernel.sched.core import Task
from ukmod.kernel.softirq import TASKLET_SOFTIRQ

FUNCTIONS = (
    "init_srcu_struct", "cleanup_srcu_struct", "__srcu_read_lock", "__srcu_read_unlock", "synchronize_srcu",
    "synchronize_srcu_expedited", "srcu_barrier", "call_srcu",
)  # fmt: skip
SIZE = 4096
"""More than a struct srcu_struct has."""


class Domain:
    """A struct srcu_struct, and what was seen to happen around it."""

    def __init__(self, guest: Guest, init: str = "init_srcu_struct") -> None:
        self.guest, self.kernel = guest, guest.kernel
        self.address = guest.put(b"", SIZE)
        self.seen: list[str] = []
        assert guest.call_int(init, self.address) == 0

    def enter(self) -> int:
        """srcu_read_lock(): the index to leave with."""
        return self.guest.call_int("__srcu_read_lock", self.address)

    def leave(self, index: int) -> None:
        """srcu_read_unlock()."""
        self.guest.call("__srcu_read_unlock", self.address, index)

    def begin(self, function: str) -> Task:
        """Have a task call a function that may wait; "NAME" is seen when it has returned."""
        return start(
            self.kernel, "t", lambda: (call(self.kernel, function, self.address), self.seen.append(function))
        )

    def enter_around(self, function: str) -> tuple[int, int]:
        """The indexes of a reader from before a grace period of ``function``, and of a later reader."""
        before = self.enter()
        self.begin(function)
        self.after(0.1)
        return before, self.enter()

    def queue(self, word: str, work: Callable[[], object] = lambda: None) -> int:
        """call_srcu() of a callback that does ``work`` and leaves ``word``; the address of its rcu_head."""
        head = self.guest.put(b"", self.kernel.types.sizeof("callback_head"))

        def callback(at: int) -> int:
            assert at == head
            work()
            self.seen.append(word)
            return 0

        self.guest.call("call_srcu", self.address, head, self.guest.python(callback, 1))
        return head

    def after(self, seconds: float = 1) -> list[str]:
        """What was seen until then."""
        self.kernel.run(seconds)
        return self.seen


@pytest.fixture
def domain(guest: Guest) -> Domain:
    return Domain(guest)


SYNCHRONIZE = pytest.mark.parametrize("function", ["synchronize_srcu", "synchronize_srcu_expedited"])


class TestGracePeriods:
    @SYNCHRONIZE
    def test_a_grace_period_without_readers_ends_by_itself(self, domain: Domain, function: str) -> None:
        domain.begin(function)
        assert domain.after() == [function]

    @SYNCHRONIZE
    def test_a_grace_period_waits_for_a_reader_that_is_there(self, domain: Domain, function: str) -> None:
        index = domain.enter()
        domain.begin(function)
        assert domain.after(10) == []
        domain.leave(index)
        assert domain.after() == [function]

    def test_every_reader_that_is_there_has_to_leave(self, domain: Domain) -> None:
        first, second = domain.enter(), domain.enter()
        assert first == second, "no grace period has begun between them"
        domain.begin("synchronize_srcu")
        domain.leave(first)
        assert domain.after() == []
        domain.leave(second)
        assert domain.after() == ["synchronize_srcu"]

    def test_a_reader_that_comes_later_is_given_the_other_index(self, domain: Domain) -> None:
        before, later = domain.enter_around("synchronize_srcu")
        assert {before, later} == {0, 1}
        domain.leave(before)
        assert domain.after() == ["synchronize_srcu"], "though the later reader is still there"

    def test_a_second_grace_period_waits_for_the_later_reader(self, domain: Domain) -> None:
        """Its callers came after that reader, and after the first grace period had begun."""
        before, later = domain.enter_around("synchronize_srcu")
        domain.begin("synchronize_srcu_expedited")
        domain.leave(before)
        assert domain.after() == ["synchronize_srcu"]
        domain.leave(later)
        assert domain.after() == ["synchronize_srcu", "synchronize_srcu_expedited"]

    def test_new_readers_cannot_hold_a_second_grace_period_up(self, domain: Domain) -> None:
        before, later = domain.enter_around("synchronize_srcu")
        domain.begin("synchronize_srcu_expedited")
        domain.leave(before)
        domain.after(0.1)
        newest = domain.enter()
        assert newest == before, "the indexes take turns"
        domain.leave(later)
        assert domain.after() == ["synchronize_srcu", "synchronize_srcu_expedited"]

    def test_the_second_reader_of_a_second_grace_period_counts(self, domain: Domain) -> None:
        """Both grace periods are under way, and only the later one's reader leaves at first."""
        before = domain.enter()
        domain.queue("first")
        domain.after(0.1)
        later = domain.enter()
        domain.queue("second")
        domain.leave(later)
        assert domain.after() == [], "the first callback's readers come first"
        domain.leave(before)
        assert domain.after() == ["first", "second"]

    def test_each_grace_period_turns_the_index(self, domain: Domain) -> None:
        indexes = []
        for _ in range(4):
            indexes.append(domain.enter())
            domain.leave(indexes[-1])
            domain.begin("synchronize_srcu")
            domain.after()
        assert indexes == [0, 1, 0, 1]

    def test_requests_under_way_share_the_next_grace_period(self, domain: Domain) -> None:
        """The index turns when a grace period begins, not for each of its callbacks."""
        before = domain.enter()
        for word in ("first", "second", "third"):
            domain.queue(word)
            assert domain.enter() == 1 - before, "the first has begun one; the others wait for the next"
        for later in [1 - before] * 3:
            domain.leave(later)
        assert domain.after() == []
        domain.leave(before)
        assert domain.after() == ["first", "second", "third"]
        assert domain.enter() == before, "there were two"

    def test_a_grace_period_lasts_a_tick(self, kernel: Core, domain: Domain) -> None:
        tick = kernel.clock.tick / 1e9
        domain.queue("callback")
        assert domain.after(0.9 * tick) == []
        assert domain.after(1.1 * tick) == ["callback"]

    @SYNCHRONIZE
    def test_no_signal_ends_the_wait_for_a_grace_period(
        self, kernel: Core, domain: Domain, function: str
    ) -> None:
        index = domain.enter()
        task = domain.begin(function)
        domain.after(0.1)
        kill(kernel, task)
        assert domain.after() == []
        domain.leave(index)
        assert domain.after() == [function]

    def test_of_an_index_the_lowest_bit_counts(self, domain: Domain) -> None:
        """__srcu_read_unlock() takes any int; the kernel has two counters."""
        index = domain.enter()
        domain.begin("synchronize_srcu")
        domain.leave(index + 2)
        assert domain.after() == ["synchronize_srcu"]

    def test_a_reader_may_sleep_in_its_critical_section(self, kernel: Core, domain: Domain) -> None:
        """This is what SRCU has over RCU."""

        def reader() -> None:
            index = call(kernel, "__srcu_read_lock", domain.address)
            call(kernel, "msleep", 2000)
            domain.seen.append("reader leaves")
            call(kernel, "__srcu_read_unlock", domain.address, index)

        start(kernel, "reader", reader)
        domain.after(0.1)
        domain.begin("synchronize_srcu")
        assert domain.after(5) == ["reader leaves", "synchronize_srcu"]

    def test_domains_do_not_wait_for_each_others_readers(self, guest: Guest, domain: Domain) -> None:
        Domain(guest).enter()
        domain.begin("synchronize_srcu")
        assert domain.after() == ["synchronize_srcu"]

    @pytest.mark.parametrize("init", ["init_srcu_struct_fast", "init_srcu_struct_fast_updown"])
    def test_a_domain_for_fast_readers_waits_for_its_readers(self, guest: Guest, init: str) -> None:
        domain = Domain(guest, init)
        index = domain.enter()
        domain.begin("synchronize_srcu")
        assert domain.after() == []
        domain.leave(index)
        assert domain.after() == ["synchronize_srcu"]

    def test_a_static_domain_needs_no_initialisation(self, guest: Guest) -> None:
        """DEFINE_SRCU(): the first caller finds all of it zero."""
        static = guest.put(b"", SIZE)
        index = guest.call_int("__srcu_read_lock", static)
        assert index == 0
        guest.call("__srcu_read_unlock", static, index)


class TestCallbacks:
    def test_a_callback_runs_after_the_readers_have_left(self, domain: Domain) -> None:
        index = domain.enter()
        domain.queue("callback")
        assert domain.after() == []
        domain.leave(index)
        assert domain.after() == ["callback"]

    def test_a_callback_is_never_called_at_once(self, domain: Domain) -> None:
        domain.queue("callback")
        assert domain.seen == []
        assert domain.after() == ["callback"]

    def test_a_callback_runs_in_a_worker_with_softirqs_disabled(self, kernel: Core, domain: Domain) -> None:
        """Unlike call_rcu()'s: srcu_invoke_callbacks() is a work item of the queue rcu_gp."""
        seen: list[tuple[str, int]] = []
        domain.queue(
            "callback",
            lambda: seen.append((kernel.tasks.comm(kernel.sched.task()), kernel.percpu.preempt_count())),
        )
        domain.after()
        assert seen == [("kworker/0:0", SOFTIRQ_DISABLE_OFFSET)]

    def test_a_report_about_a_callback_names_its_queue_and_srcus_function(
        self, kernel: Core, guest: Guest, domain: Domain
    ) -> None:
        domain.queue("callback", lambda: guest.call("dump_stack"))
        domain.after()
        assert "Workqueue: rcu_gp srcu_invoke_callbacks" in kernel.log.lines

    def test_only_a_callback_that_has_not_been_called_is_pending(self, kernel: Core, domain: Domain) -> None:
        """The heads that an unloaded module must not leave."""
        index = domain.enter()
        heads = {domain.queue("first"), domain.queue("second")}
        assert kernel.srcu.heads == heads
        domain.leave(index)
        domain.after()
        assert kernel.srcu.heads == set()

    def test_softirqs_of_a_callback_run_before_the_next_callback(self, kernel: Core, domain: Domain) -> None:
        """local_bh_enable(), after each."""
        softirq = lambda: kernel.softirqs.raise_(TASKLET_SOFTIRQ, lambda: domain.seen.append("softirq"))  # noqa: E731
        counts: list[int] = []
        for word in ("first", "second"):
            domain.queue(word, softirq)
            domain.queue(word, lambda: counts.append(kernel.percpu.preempt_count()))
        assert domain.after() == [*("first", "softirq", "first"), *("second", "softirq", "second")]
        assert counts == [SOFTIRQ_DISABLE_OFFSET] * 2

    def test_the_function_to_call_is_in_the_rcu_head(
        self, kernel: Core, guest: Guest, domain: Domain
    ) -> None:
        """A debugger, or a crash dump's reader, finds it there."""
        head = domain.queue("callback")
        other = guest.python(lambda at: domain.seen.append(f"other {at == head}") or 0, 1)
        kernel.memory.set_u64(head + kernel.types.offset("callback_head", "func"), other)
        assert domain.after() == ["other True"]

    def test_a_callback_may_queue_itself_again(self, domain: Domain) -> None:
        domain.queue("first", lambda: domain.queue("second"))
        assert domain.after() == ["first", "second"]

    def test_callbacks_run_in_the_order_they_were_queued(self, domain: Domain) -> None:
        for word in "abc":
            domain.queue(word)
        assert domain.after() == ["a", "b", "c"]


class TestBarrier:
    def test_a_barrier_returns_when_the_queued_callbacks_have_run(self, domain: Domain) -> None:
        index = domain.enter()
        domain.queue("callback")
        domain.begin("srcu_barrier")
        assert domain.after() == []
        domain.leave(index)
        assert domain.after() == ["callback", "srcu_barrier"]

    def test_a_barrier_without_callbacks_waits_for_no_reader(self, domain: Domain) -> None:
        """srcu_barrier_one_cpu(): there is nothing to put its callback behind."""
        domain.enter()
        domain.begin("srcu_barrier")
        assert domain.after() == ["srcu_barrier"]

    def test_a_barrier_does_not_wait_for_readers_that_came_after_the_callback(self, domain: Domain) -> None:
        before = domain.enter()
        domain.queue("callback")
        domain.after(0.1)
        domain.enter()
        domain.begin("srcu_barrier")
        domain.after(0.1)
        domain.leave(before)
        assert domain.after() == ["callback", "srcu_barrier"]

    def test_a_barrier_waits_for_a_callback_whose_readers_have_just_left(
        self, kernel: Core, domain: Domain
    ) -> None:
        """The grace period is over, and the callback has not run."""
        index = domain.enter()
        domain.queue("callback")

        def leaves() -> None:
            call(kernel, "msleep", 100)
            call(kernel, "__srcu_read_unlock", domain.address, index)
            domain.seen.append("left")
            call(kernel, "srcu_barrier", domain.address)
            domain.seen.append("srcu_barrier")

        start(kernel, "reader", leaves)
        assert domain.after() == ["left", "callback", "srcu_barrier"]

    @pytest.mark.parametrize("earlier", [0, 1, 2])
    def test_a_barrier_without_callbacks_does_not_sleep(
        self, kernel: Core, domain: Domain, earlier: int
    ) -> None:
        """Callbacks that have run do not count."""
        for n in range(earlier):
            domain.queue(str(n))
        domain.after()
        domain.seen.clear()
        domain.begin("srcu_barrier")
        start(kernel, "next", lambda: domain.seen.append("the next task runs"))
        assert domain.after() == ["srcu_barrier", "the next task runs"]

    def test_a_barrier_sleeps_until_a_running_callback_has_returned(
        self, kernel: Core, domain: Domain
    ) -> None:
        """A callback that frees what a module needs has to be over when the module is unloaded."""
        domain.queue("callback", lambda: domain.begin("srcu_barrier"))
        assert domain.after() == ["callback", "srcu_barrier"]

    def test_callbacks_of_two_grace_periods_come_before_the_barrier(self, domain: Domain) -> None:
        before = domain.enter()
        domain.queue("first")
        later = domain.enter()
        domain.queue("second")
        domain.begin("srcu_barrier")
        domain.after(0.1)
        domain.leave(before)
        assert domain.after() == ["first"]
        assert domain.enter() == before, "a reader that came later than all of them"
        domain.leave(later)
        assert domain.after() == ["first", "second", "srcu_barrier"]

    def test_no_signal_ends_a_barrier(self, kernel: Core, domain: Domain) -> None:
        index = domain.enter()
        domain.queue("callback")
        task = domain.begin("srcu_barrier")
        domain.after(0.1)
        kill(kernel, task)
        assert domain.after() == []
        domain.leave(index)
        assert domain.after() == ["callback", "srcu_barrier"]


class TestCleanup:
    def test_cleaning_up_an_idle_domain_is_silent(self, kernel: Core, guest: Guest, domain: Domain) -> None:
        domain.leave(domain.enter())
        guest.call("cleanup_srcu_struct", domain.address)
        assert not kernel.warnings

    @pytest.mark.parametrize("index", [0, 1])
    def test_cleaning_up_with_a_reader_inside_is_warned_of(
        self, kernel: Core, guest: Guest, domain: Domain, index: int
    ) -> None:
        if index:
            domain.begin("synchronize_srcu")
            domain.after()
        assert domain.enter() == index
        guest.call("cleanup_srcu_struct", domain.address)
        (warning,) = kernel.warnings
        assert (warning.file, warning.line) == ("kernel/rcu/srcutree.c", 600)
        domain.seen.clear()
        domain.leave(index)  # "Just leak it!": the domain still works
        domain.begin("synchronize_srcu")
        assert domain.after() == ["synchronize_srcu"]

    def test_cleaning_up_with_a_reader_inside_waits_for_no_callback(
        self, guest: Guest, domain: Domain
    ) -> None:
        domain.enter()
        domain.queue("callback")
        guest.call("cleanup_srcu_struct", domain.address)
        assert domain.seen == []

    def test_cleaning_up_runs_the_callbacks_that_are_queued(self, guest: Guest, domain: Domain) -> None:
        domain.queue("callback")
        guest.call("cleanup_srcu_struct", domain.address)
        assert domain.seen == ["callback"]

    @pytest.mark.parametrize("functions", [["cleanup", "init"], ["cleanup"], ["init"]])
    def test_a_domain_can_be_made_again_in_the_same_memory(
        self, guest: Guest, domain: Domain, functions: list[str]
    ) -> None:
        """init_srcu_struct() begins anew, and so does a static domain."""
        domain.begin("synchronize_srcu")
        domain.after()
        for function in functions:
            guest.call(f"{function}_srcu_struct", domain.address)
        assert domain.enter() == 0


class TestModules:
    """srcu_module_notify(): a module's static domains begin anew each time it is loaded."""

    def module(self, kernel: Core, *domains: int) -> Module:
        layout = ModuleLayout()
        layout.sections["___srcu_struct_ptrs"] = (Guest(kernel).words(*domains), 8 * len(domains))
        return Module("m", "m.ko", layout)

    def test_each_domain_of_a_module_that_comes_is_initialised(self, kernel: Core, guest: Guest) -> None:
        domains = [Domain(guest), Domain(guest)]
        for domain in domains:
            domain.begin("synchronize_srcu")
            domain.after()
        kernel.srcu.module_coming(self.module(kernel, *(domain.address for domain in domains)))
        assert [domain.enter() for domain in domains] == [0, 0]

    def test_each_domain_of_a_module_that_goes_is_cleaned_up(self, kernel: Core, guest: Guest) -> None:
        domains = [Domain(guest), Domain(guest)]
        for domain in domains:
            domain.queue("callback")
        module = self.module(kernel, *(domain.address for domain in domains))
        in_task(kernel, lambda: kernel.modules.notify_going(module))
        assert [domain.seen for domain in domains] == [["callback"], ["callback"]]

    def test_a_module_without_domains_is_none_of_its_business(self, kernel: Core) -> None:
        module = Module("m", "m.ko", ModuleLayout())
        kernel.srcu.module_coming(module)
        kernel.srcu.module_going(module)


def test_srcu_is_for_gpl_modules_alone() -> None:
    exports = [kernel_functions()[name][0] for name in FUNCTIONS]
    assert all(export.gpl for export in exports)


def test_readers_of_an_image_run_its_own_code() -> None:
    """They only count in guest memory."""
    native = {name for name in FUNCTIONS if kernel_functions()[name][0].native}
    assert native == {"__srcu_read_lock", "__srcu_read_unlock"}


class TestPolling:
    """get_state_synchronize_srcu() and its kin: has a grace period of this domain ended since?"""

    def test_a_polled_grace_period_ends_when_the_readers_have_left(self, kernel: Core, guest: Guest) -> None:
        domain = Domain(guest)
        reader = domain.enter()
        cookie = guest.call("start_poll_synchronize_srcu", domain.address)
        kernel.run(0.1)
        assert not guest.call("poll_state_synchronize_srcu", domain.address, cookie)
        domain.leave(reader)
        kernel.run(0.1)
        assert guest.call("poll_state_synchronize_srcu", domain.address, cookie)

    def test_a_state_starts_no_grace_period(self, kernel: Core, guest: Guest) -> None:
        domain = Domain(guest)
        cookie = guest.call("get_state_synchronize_srcu", domain.address)
        kernel.run(0.1)
        assert not guest.call("poll_state_synchronize_srcu", domain.address, cookie)
        guest.call("synchronize_srcu", domain.address)
        assert guest.call("poll_state_synchronize_srcu", domain.address, cookie)

    def test_a_grace_period_that_had_begun_does_not_count(self, kernel: Core, guest: Guest) -> None:
        domain = Domain(guest)
        reader = domain.enter()
        domain.begin("synchronize_srcu")
        kernel.run(0.1)
        cookie = guest.call("get_state_synchronize_srcu", domain.address)
        domain.leave(reader)
        kernel.run(0.1)
        assert domain.seen == ["synchronize_srcu"]
        assert not guest.call("poll_state_synchronize_srcu", domain.address, cookie)

    def test_grace_periods_are_counted(self, guest: Guest) -> None:
        domain = Domain(guest)
        before = guest.call("srcu_batches_completed", domain.address)
        guest.call("synchronize_srcu", domain.address)
        guest.call("srcu_expedite_current", domain.address)
        assert guest.call("srcu_batches_completed", domain.address) == before + 1
