"""Asynchronous function calls: kernel/async.c. tests/cases has what they log, as on a real kernel."""

from __future__ import annotations

import pytest
from tests import golden
from tests.kernel.conftest import Guest

from ukmod.kernel.api import Kernel
from ukmod.machine.memory import Fault


def _call(guest: Guest, seen: list[tuple[int, int]]) -> int:
    def function(data: int, cookie: int) -> int:
        seen.append((data, cookie))
        guest.kernel.sched.sleep(data)
        return 0

    return guest.python(function, 2)


def test_waiting_for_a_cookie_is_waiting_for_the_calls_before_it(guest: Guest) -> None:
    k, seen = guest.kernel, list[tuple[int, int]]()
    call = _call(guest, seen)
    first, second = (k.async_calls.schedule(call, data) for data in (1000, 5000))
    k.run_task("waits", lambda: k.async_calls.synchronize(second, 0) or 0)
    assert [entry.cookie for entry in k.async_calls._pending.values()] == [second]
    guest.call("async_synchronize_full")
    assert seen == [(1000, first), (5000, second)]
    assert not k.async_calls._pending


@pytest.mark.parametrize(("registered", "everyones"), [(1, True), (0, False)])
def test_a_domain_says_whether_everyone_waits_for_its_calls(
    guest: Guest, registered: int, everyones: bool
) -> None:
    domain = guest.put(bytes(16) + bytes((registered,)) + bytes(7))
    guest.call("async_schedule_node_domain", _call(guest, []), 10**9, 0, domain)
    before = guest.kernel.clock.now
    guest.call("async_synchronize_full")
    assert (guest.kernel.clock.now - before >= 10**9) is everyones
    guest.call("async_synchronize_full_domain", domain)
    assert guest.kernel.clock.now - before >= 10**9


@pytest.mark.parametrize(("value", "waits"), [("", True), ("async_probe", False), ("async_probe=n", True)])
def test_loading_waits_for_asynchronous_calls_unless_the_module_is_to_probe_asynchronously(
    machine: Kernel, value: str, waits: bool
) -> None:
    machine.insmod(golden.modules()["async_calls"], f"what=init {value}")
    assert ("async_calls: slow: 200 ms, async 1" in machine.dmesg()) is waits


def test_a_domain_in_no_memory_is_a_fault(guest: Guest) -> None:
    with pytest.raises(Fault):
        guest.kernel.async_calls.schedule(0, 0, 0x10)


def test_waiting_for_a_domains_cookie_is_waiting_for_its_calls_before_it(guest: Guest) -> None:
    k, seen = guest.kernel, list[tuple[int, int]]()
    call, domains = _call(guest, seen), [guest.words(0, 0, 1) for _ in range(2)]
    first = k.async_calls.schedule(call, 1000, domains[0])
    k.async_calls.schedule(call, 10**6, domains[1])
    last = k.async_calls.schedule(call, 10**6 + 1, domains[0])
    guest.call("async_synchronize_cookie_domain", last, domains[0])
    assert seen[:1] == [(1000, first)]
    assert last in k.async_calls._pending


def test_a_call_that_the_caller_must_not_make_is_refused_if_too_many_are_pending(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """async_schedule_dev_nocall(): it is passed the device, and made in the default domain."""
    monkeypatch.setattr("ukmod.kernel.async_.MAX_WORK", 1)
    seen: list[tuple[int, int]] = []
    call, answers = _call(guest, seen), list[int]()

    def schedule() -> int:
        answers.extend(guest.call("async_schedule_dev_nocall", call, 10**6 + n) & 0xFF for n in range(3))
        return 0

    guest.kernel.run_task("schedules", schedule)
    guest.call("async_synchronize_full")
    assert answers == [1, 1, 0]
    assert [data for data, _ in seen] == [10**6, 10**6 + 1]


def test_a_call_begins_while_others_wait_for_calls_that_are_over(guest: Guest) -> None:
    k, seen = guest.kernel, list[tuple[int, int]]()
    call, exclusive = _call(guest, seen), guest.put(bytes(24))
    begun: list[bool] = []

    def body() -> int:
        k.async_calls.schedule(call, 10**9, exclusive)
        k.async_calls.synchronize()
        begun.append(bool(seen))
        return 0

    k.run_task("waits", body)
    assert begun == [True]
