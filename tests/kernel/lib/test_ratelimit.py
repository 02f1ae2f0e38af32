"""Rate limits: lib/ratelimit.c, include/linux/ratelimit_types.h."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest

MSG_ON_RELEASE = 1


class Limit:
    """A struct ratelimit_state."""

    def __init__(self, guest: Guest, interval: float = 5, burst: int = 3, flags: int = 0) -> None:
        self.guest, self.kernel = guest, guest.kernel
        self.address = guest.put(b"", room=self.kernel.types.sizeof("ratelimit_state"))
        self.set(interval=round(interval * self.kernel.clock.hz), burst=burst, flags=flags)

    def set(self, **members: int) -> None:
        types = self.kernel.types
        for name, value in members.items():
            size = types.member("ratelimit_state", name).size
            self.kernel.memory.set_uint(
                self.address + types.offset("ratelimit_state", name), value & (1 << 8 * size) - 1, size
            )

    def asks(self, times: int) -> list[int]:
        return [self.guest.call_int("___ratelimit", self.address, b"place") for _ in range(times)]


def test_a_burst_is_let_through_each_interval(guest: Guest) -> None:
    limit = Limit(guest)
    assert limit.asks(5) == [1, 1, 1, 0, 0]
    guest.kernel.run(6)
    assert limit.asks(1) == [1]
    assert guest.kernel.log.lines[-1] == "place: 2 callbacks suppressed"
    guest.kernel.run(6)
    assert limit.asks(4) == [1, 1, 1, 0]
    assert len(guest.kernel.log.lines) == 1, "nothing was suppressed since"


def test_without_an_interval_there_is_no_limit(guest: Guest) -> None:
    assert Limit(guest, interval=0, burst=1).asks(20) == [1] * 20


@pytest.mark.parametrize("burst", [0, -1])
def test_without_a_burst_nothing_is_let_through(guest: Guest, burst: int) -> None:
    """Both are ints."""
    assert Limit(guest, burst=burst).asks(3) == [0, 0, 0]


def test_a_limit_may_report_in_the_end_only(guest: Guest) -> None:
    """ratelimit_set_flags(RATELIMIT_MSG_ON_RELEASE): ratelimit_state_exit() reports."""
    limit = Limit(guest, flags=MSG_ON_RELEASE)
    limit.asks(9)
    guest.kernel.run(6)
    assert limit.asks(1) == [1]
    assert guest.kernel.log.lines == []
    missed = limit.address + guest.kernel.types.offset("ratelimit_state", "missed")
    assert guest.kernel.memory.u32(missed) == 6


def test_all_users_of_printk_ratelimit_share_ten_messages_in_five_seconds(guest: Guest) -> None:
    """kernel/printk/printk.c; the caller that opens the next interval reports for all."""
    asked = [guest.call_int("__printk_ratelimit", name) for name in (b"one", b"two") * 6]
    assert asked == [1] * 10 + [0] * 2
    guest.kernel.run(6)
    assert guest.call_int("__printk_ratelimit", b"three") == 1
    assert guest.kernel.log.lines == ["three: 2 callbacks suppressed"]
