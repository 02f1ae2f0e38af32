"""RCU: grace periods and callbacks, Documentation/RCU/whatisRCU.rst; kernel/rcu/tree.c."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, start

from ukmod.kernel.core import Core
from ukmod.kernel.rcu.rcu import GRACE_PERIOD_TICKS
from ukmod.kernel.sched.core import TASK_UNINTERRUPTIBLE, block


class Reader:
    """A task in a read-side critical section, which it leaves when it is told to."""

    def __init__(self, kernel: Core, *, nested: int = 1) -> None:
        self._k, self._nested, self._leave = kernel, nested, 0
        self.task = start(kernel, "reader", self._body)
        kernel.run(0.001)

    def _body(self) -> None:
        for _ in range(self._nested):
            call(self._k, "__rcu_read_lock")
        for level in range(self._nested):
            while self._leave <= level:
                block(self._k, TASK_UNINTERRUPTIBLE)
            call(self._k, "__rcu_read_unlock")
        block(self._k, TASK_UNINTERRUPTIBLE)

    def leave(self) -> None:
        """Leave one level."""
        self._leave += 1
        self._k.sched.wake(self.task)


def after(k: Core, function: Callable[[], object], done: list[str], word: str = "done") -> None:
    """Call a function that waits, and leave word when it has returned."""
    start(k, word, lambda: (function(), done.append(word)))


def head(k: Core, function: int) -> int:
    """call_rcu() of a new rcu_head."""
    at = k.slab.kmalloc(k.types.sizeof("callback_head"))
    start(k, "updater", lambda: k.cpu.call(k.symbols.address("call_rcu"), at, function))
    return at


class TestGracePeriods:
    def test_one_takes_its_time_though_nobody_reads(self, kernel: Core) -> None:
        done: list[str] = []
        after(kernel, kernel.rcu.synchronize, done)
        kernel.run((GRACE_PERIOD_TICKS - 1) * kernel.clock.tick / 1e9 - 1e-4)
        assert done == []
        kernel.run(2 * kernel.clock.tick / 1e9)
        assert done == ["done"]

    def test_a_grace_period_ends_when_its_last_reader_has_left(self, kernel: Core) -> None:
        readers = [Reader(kernel), Reader(kernel)]
        done: list[str] = []
        after(kernel, kernel.rcu.synchronize, done)
        kernel.run(1)
        readers[0].leave()
        kernel.run(1)
        assert done == []
        readers[1].leave()
        kernel.run(1)
        assert done == ["done"]

    def test_an_inner_critical_section_is_none_of_its_own(self, kernel: Core) -> None:
        reader = Reader(kernel, nested=2)
        done: list[str] = []
        after(kernel, kernel.rcu.synchronize, done)
        reader.leave()
        kernel.run(1)
        assert done == []
        reader.leave()
        kernel.run(1)
        assert done == ["done"]

    def test_a_grace_period_does_not_wait_for_later_readers(self, kernel: Core) -> None:
        done: list[str] = []
        after(kernel, kernel.rcu.synchronize, done)
        kernel.run(0.001)
        Reader(kernel)
        kernel.run(1)
        assert done == ["done"]

    def test_a_reader_that_ends_has_left(self, kernel: Core) -> None:
        done: list[str] = []
        start(
            kernel,
            "reader",
            lambda: (call(kernel, "__rcu_read_lock"), block(kernel, TASK_UNINTERRUPTIBLE, 50)),
        )
        kernel.run(0.001)
        after(kernel, kernel.rcu.synchronize, done)
        kernel.run(0.1)
        assert done == []
        kernel.run(0.5)
        assert done == ["done"]

    @pytest.mark.parametrize(
        "name", ["synchronize_rcu", "synchronize_rcu_expedited", "synchronize_rcu_tasks"]
    )
    def test_modules_wait_for_one(self, kernel: Core, name: str) -> None:
        reader = Reader(kernel)
        done: list[str] = []
        after(kernel, lambda: call(kernel, name), done)
        kernel.run(1)
        assert done == []
        reader.leave()
        kernel.run(1)
        assert done == ["done"]


class TestCallbacks:
    def test_one_is_given_its_head_in_softirq_context(self, kernel: Core, guest: Guest) -> None:
        seen: list[tuple[int, bool, int]] = []

        def function(at: int) -> int:
            seen.append((at, kernel.sched.in_interrupt, kernel.percpu.preempt_count() & 0xFF00))
            return 0

        at = head(kernel, guest.python(function, 1))
        kernel.run(1)
        assert seen == [(at, True, 0x100)]

    def test_callbacks_run_in_the_order_they_were_queued(self, kernel: Core, guest: Guest) -> None:
        order: list[int] = []
        function = guest.python(lambda at: order.append(at) or 0, 1)
        heads = [head(kernel, function) for _ in range(5)]
        kernel.run(1)
        assert order == heads

    def test_one_may_queue_itself_again(self, kernel: Core, guest: Guest) -> None:
        times: list[int] = []

        def function(at: int) -> int:
            times.append(kernel.clock.jiffies)
            if len(times) < 3:
                kernel.rcu.call_head(at, address)
            return 0

        address = guest.python(function, 1)
        head(kernel, address)
        kernel.run(1)
        assert len(times) == 3
        assert times[0] < times[1] < times[2], "each waits for a grace period of its own"

    def test_the_head_holds_the_function_meanwhile(self, kernel: Core, guest: Guest) -> None:
        address = guest.python(lambda _: 0, 1)
        at = head(kernel, address)
        kernel.run(0.001)
        assert kernel.memory.u64(at + kernel.types.offset("callback_head", "func")) == address


def barrier_behind(k: Core, guest: Guest, word: str) -> list[str]:
    """Queue a callback that leaves ``word``, and begin rcu_barrier(), which leaves "barrier" in the list."""
    done: list[str] = []
    head(k, guest.python(lambda _: done.append(word) or 0, 1))
    k.run(0.001)
    after(k, lambda: call(k, "rcu_barrier"), done, "barrier")
    return done


class TestBarrier:
    """rcu_barrier(): what a module calls in its exit function, so that no callback finds its code gone."""

    def test_a_barrier_waits_for_every_queued_callback(self, kernel: Core, guest: Guest) -> None:
        reader = Reader(kernel)
        done = barrier_behind(kernel, guest, "callback")
        kernel.run(1)
        assert done == []
        reader.leave()
        kernel.run(1)
        assert done == ["callback", "barrier"]

    def test_a_barrier_without_callbacks_is_no_grace_period(self, kernel: Core) -> None:
        """Documentation/RCU/rcubarrier.rst: "rcu_barrier() does not imply synchronize_rcu()"."""
        Reader(kernel)
        done: list[str] = []
        after(kernel, lambda: call(kernel, "rcu_barrier"), done)
        kernel.run(0.1)
        assert done == ["done"]

    def test_a_barrier_does_not_wait_for_later_callbacks(self, kernel: Core, guest: Guest) -> None:
        done = barrier_behind(kernel, guest, "first")
        kernel.run(0.001)
        Reader(kernel)
        head(kernel, guest.python(lambda _: done.append("second") or 0, 1))
        kernel.run(1)
        assert done == ["first", "barrier"]

    def test_a_later_callback_is_not_counted_for_an_earlier(self, kernel: Core, guest: Guest) -> None:
        """Callbacks run in the order they were queued, even where a later one could run first."""
        reader = Reader(kernel)
        done = barrier_behind(kernel, guest, "first")
        nesting = reader.task.address + kernel.types.offset("task_struct", "rcu_read_lock_nesting")
        kernel.memory.set_u32(nesting, 0)
        head(kernel, guest.python(lambda _: done.append("second") or 0, 1))
        kernel.run(0.001)
        kernel.memory.set_u32(nesting, 1)  # it has left, and is back before anybody has looked
        kernel.run(1)
        reader.leave()
        kernel.run(1)
        assert done[0] == "first"
        assert sorted(done) == ["barrier", "first", "second"]


class TestPolling:
    """get_state_synchronize_rcu() and its kin: to know whether a grace period has passed since."""

    KINDS = pytest.mark.parametrize("kind", ["", "_expedited"])

    def cookie(self, guest: Guest, kind: str = "") -> int:
        return guest.call(f"start_poll_synchronize_rcu{kind}")

    def test_none_has_at_once_one_has_later(self, kernel: Core, guest: Guest) -> None:
        cookie = self.cookie(guest)
        assert guest.call("poll_state_synchronize_rcu", cookie) == 0
        kernel.run(1)
        assert guest.call("poll_state_synchronize_rcu", cookie) == 1

    @KINDS
    def test_none_has_while_a_reader_stays(self, kernel: Core, guest: Guest, kind: str) -> None:
        reader = Reader(kernel)
        cookie = self.cookie(guest, kind)
        kernel.run(1)
        assert guest.call("poll_state_synchronize_rcu", cookie) == 0
        reader.leave()
        kernel.run(1)
        assert guest.call("poll_state_synchronize_rcu", cookie) == 1

    def test_a_state_that_nothing_waits_for_starts_no_grace_period(self, kernel: Core, guest: Guest) -> None:
        """get_state_synchronize_rcu(): only a grace period that others start makes it old."""
        cookie = guest.call("get_state_synchronize_rcu")
        assert guest.call("get_state_synchronize_rcu") == cookie
        kernel.run(1)
        assert guest.call("poll_state_synchronize_rcu", cookie) == 0
        guest.call("synchronize_rcu")
        assert guest.call("poll_state_synchronize_rcu", cookie) == 1
        assert guest.call("get_state_synchronize_rcu") != cookie

    def test_a_grace_period_that_had_begun_does_not_count(self, kernel: Core, guest: Guest) -> None:
        done: list[str] = []
        after(kernel, lambda: call(kernel, "synchronize_rcu"), done)
        kernel.run(0.001)
        cookie = guest.call("get_state_synchronize_rcu")
        kernel.run(1)
        assert done == ["done"]
        assert guest.call("poll_state_synchronize_rcu", cookie) == 0

    def test_the_completed_state_is_old_from_the_beginning(self, guest: Guest) -> None:
        """RCU_GET_STATE_COMPLETED."""
        assert guest.call("poll_state_synchronize_rcu", 1) == 1

    @KINDS
    def test_cond_synchronize_rcu_waits_only_if_none_has(self, kernel: Core, guest: Guest, kind: str) -> None:
        cookie = self.cookie(guest)
        kernel.run(1)
        Reader(kernel)
        done: list[str] = []
        after(kernel, lambda: call(kernel, f"cond_synchronize_rcu{kind}", cookie), done, "old")
        after(kernel, lambda: call(kernel, f"cond_synchronize_rcu{kind}", self.fresh(kernel)), done, "new")
        kernel.run(1)
        assert done == ["old"]

    def fresh(self, k: Core) -> int:
        return k.cpu.call(k.symbols.address("start_poll_synchronize_rcu"))


class TestFullCookies:
    """The same with a struct rcu_gp_oldstate: one cookie for normal grace periods, one for expedited ones."""

    @pytest.mark.parametrize("kind", ["", "expedited_"])
    def test_full_cookies_are_old_when_their_grace_period_is_over(
        self, kernel: Core, guest: Guest, kind: str
    ) -> None:
        cookies, reader = guest.words(0, 0), Reader(kernel)
        guest.call(f"start_poll_synchronize_rcu_{kind}full", cookies)
        kernel.run(1)
        assert not guest.call("poll_state_synchronize_rcu_full", cookies)
        reader.leave()
        kernel.run(1)
        assert guest.call("poll_state_synchronize_rcu_full", cookies)

    @pytest.mark.parametrize("kind", ["", "expedited_"])
    def test_a_state_starts_no_grace_period_and_a_conditional_wait_does(
        self, kernel: Core, guest: Guest, kind: str
    ) -> None:
        cookies = guest.words(0, 0)
        guest.call("get_state_synchronize_rcu_full", cookies)
        kernel.run(1)
        assert not guest.call("poll_state_synchronize_rcu_full", cookies)
        guest.call(f"cond_synchronize_rcu_{kind}full", cookies)
        assert guest.call("poll_state_synchronize_rcu_full", cookies)

    def test_one_old_cookie_of_the_two_is_enough(self, guest: Guest) -> None:
        fresh, completed = (
            guest.call("get_state_synchronize_rcu"),
            guest.call("get_completed_synchronize_rcu"),
        )
        assert guest.call("poll_state_synchronize_rcu_full", guest.words(fresh, completed))
        assert not guest.call("poll_state_synchronize_rcu_full", guest.words(fresh, fresh))

    def test_the_completed_state_is_old_from_the_beginning(self, guest: Guest) -> None:
        cookies = guest.words(0, 0)
        guest.call("get_completed_synchronize_rcu_full", cookies)
        assert guest.call("poll_state_synchronize_rcu_full", cookies)


class TestKfree:
    """kfree_rcu(): its head's offset in the object is what it passes for a function, before v6.2."""

    @pytest.mark.parametrize("offset", [0, 16, 4095])
    def test_kfree_rcu_frees_the_object_that_the_head_lies_in(
        self, kernel: Core, guest: Guest, freed: list[int], offset: int
    ) -> None:
        at = kernel.slab.kmalloc(8192)
        guest.call("kvfree_call_rcu", at + offset, offset)
        assert freed == []
        kernel.run(1)
        assert freed == [at]

    def test_since_then_it_passes_the_object(self, kernel: Core, guest: Guest, freed: list[int]) -> None:
        at = kernel.slab.kmalloc(64)
        guest.call("kvfree_call_rcu", at + 16, at)
        kernel.run(1)
        assert freed == [at]

    def test_without_a_head_the_caller_waits(self, kernel: Core, guest: Guest, freed: list[int]) -> None:
        at = kernel.slab.kmalloc(64)
        before = kernel.clock.jiffies
        guest.call("kvfree_call_rcu", 0, at)
        assert freed == [at]
        assert kernel.clock.jiffies > before

    @pytest.fixture
    def freed(self, kernel: Core, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The addresses that are kfree()d."""
        addresses: list[int] = []
        kfree = kernel.slab.kfree

        def watched(address: int) -> None:
            addresses.append(address)
            kfree(address)

        monkeypatch.setattr(kernel.slab, "kfree", watched)
        return addresses


class TestHeld:
    """What RCU_LOCKDEP_WARN() and others ask: rcu_read_lock_held() and its kin."""

    @pytest.mark.parametrize(
        ("take", "give", "arguments", "held"),
        [
            ("rcu_read_lock_held", "rcu_read_lock_held", (), set()),
            ("__rcu_read_lock", "__rcu_read_unlock", (), {"", "_any"}),
            ("__local_bh_disable_ip", "__local_bh_enable_ip", (0, 0x200), {"_any", "_bh", "_sched"}),
            ("preempt_count_add", "preempt_count_sub", (1,), {"_any", "_sched"}),
        ],
        ids=["nothing", "reader", "softirqs disabled", "preemption disabled"],
    )
    def test_each_kind_of_reader_is_told_from_the_others(
        self, kernel: Core, guest: Guest, take: str, give: str, arguments: tuple[int, ...], held: set[str]
    ) -> None:
        seen: list[set[str]] = []

        def body() -> None:
            for function in (take, give):
                guest.call(function, *arguments)
                kinds = ("", "_any", "_bh", "_sched")
                seen.append({kind for kind in kinds if guest.call(f"rcu_read_lock{kind}_held")})

        in_task(kernel, body)
        assert seen == [held, set()]

    def test_disabled_interrupts_keep_every_grace_period_from_ending(
        self, kernel: Core, guest: Guest
    ) -> None:
        seen: list[int] = []

        def body() -> None:
            with kernel.cpu.interrupts_off():
                seen.extend(guest.call(f"rcu_read_lock{name}_held") for name in ("", "_any", "_bh", "_sched"))

        in_task(kernel, body)
        assert seen == [0, 1, 1, 1]


def test_grace_periods_are_neither_expedited_nor_forced_to_be_normal(guest: Guest) -> None:
    """Both are choices of the kernel's command line and of /sys/kernel."""
    assert guest.call("rcu_gp_is_normal") == 0
    assert guest.call("rcu_gp_is_expedited") == 0


@pytest.mark.parametrize("where", ["", "_on_stack"])
def test_what_debug_objects_are_told_does_not_change_the_head(guest: Guest, where: str) -> None:
    head = guest.put(b"\xaa" * 16)
    guest.call(f"init_rcu_head{where}", head)
    guest.call(f"destroy_rcu_head{where}", head)
    assert guest.string(head) == b"\xaa" * 16
