"""Sleepable RCU: kernel/rcu/srcutree.c, Documentation/RCU/Design/Requirements/Requirements.rst."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core

SIZE = 4096
"""More than a struct srcu_struct has."""


class Domain:
    """A struct srcu_struct, and what was seen to happen around it."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.kernel = guest, guest.kernel
        self.address = guest.put(b"", SIZE)
        self.seen: list[str] = []
        assert guest.call_int("init_srcu_struct", self.address) == 0

    def enter(self) -> int:
        """srcu_read_lock(): the index to leave with."""
        return self.guest.call_int("__srcu_read_lock", self.address)

    def leave(self, index: int) -> None:
        """srcu_read_unlock()."""
        self.guest.call("__srcu_read_unlock", self.address, index)

    def begin(self, function: str) -> None:
        """Have a task call a function that may wait; "NAME" is seen when it has returned."""
        start(
            self.kernel, "t", lambda: (call(self.kernel, function, self.address), self.seen.append(function))
        )

    def enter_around(self, function: str) -> tuple[int, int]:
        """The indexes of a reader from before a grace period of ``function``, and of a later reader."""
        before = self.enter()
        self.begin(function)
        self.after(0.1)
        return before, self.enter()

    def queue(self, word: str) -> None:
        """call_srcu() of a callback that leaves ``word``."""
        head = self.guest.put(b"", self.kernel.types.sizeof("callback_head"))

        def callback(at: int) -> int:
            assert at == head
            self.seen.append(word)
            return 0

        self.guest.call("call_srcu", self.address, head, self.guest.python(callback, 1))

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
        """The grace period is over, but bottom halves are disabled and the callback has not run."""
        index = domain.enter()
        domain.queue("callback")
        domain.after(0.1)

        def leaves() -> None:
            kernel.cpu.call(kernel.symbols.address("__local_bh_disable_ip"), 0, 0x200)
            call(kernel, "__srcu_read_unlock", domain.address, index)
            domain.seen.append("left")
            domain.begin("srcu_barrier")
            kernel.cpu.call(kernel.symbols.address("__local_bh_enable_ip"), 0, 0x200)

        start(kernel, "reader", leaves)
        assert domain.after() == ["left", "callback", "srcu_barrier"]


class TestCleanup:
    def test_cleaning_up_an_idle_domain_is_silent(self, kernel: Core, guest: Guest, domain: Domain) -> None:
        domain.leave(domain.enter())
        guest.call("cleanup_srcu_struct", domain.address)
        assert not kernel.warnings

    def test_cleaning_up_with_a_reader_inside_is_warned_of(
        self, kernel: Core, guest: Guest, domain: Domain
    ) -> None:
        index = domain.enter()
        guest.call("cleanup_srcu_struct", domain.address)
        assert [w.file for w in kernel.warnings] == ["kernel/rcu/srcutree.c"]
        domain.leave(index)  # "Just leak it!": the domain still works
        domain.begin("synchronize_srcu")
        assert domain.after() == ["synchronize_srcu"]

    def test_cleaning_up_runs_the_callbacks_that_are_queued(self, guest: Guest, domain: Domain) -> None:
        domain.queue("callback")
        guest.call("cleanup_srcu_struct", domain.address)
        assert domain.seen == ["callback"]

    @pytest.mark.parametrize("function", ["init_srcu_struct", "cleanup_srcu_struct"])
    def test_a_domain_can_be_made_again_in_the_same_memory(
        self, guest: Guest, domain: Domain, function: str
    ) -> None:
        guest.call(function, domain.address)
        guest.call("init_srcu_struct", domain.address)
        assert domain.enter() == 0
