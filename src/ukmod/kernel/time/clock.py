"""Virtual time: nanoseconds since boot, jiffies, and the events that are due.

The clock stands still while code runs and jumps to the next event when every task sleeps. Only reading it,
waiting in a delay loop and using up a time slice move it besides, so that a loop that polls the time ends.
With ``realtime`` each jump is also waited for.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

NSEC_PER_SEC = 1_000_000_000
_MASK64 = (1 << 64) - 1
READ_COST_NS = 1_000
"""What reading a clock takes. It has to take something, or polling would never see time pass."""


@dataclass(order=True, slots=True)
class Event:
    """Something due at ``when`` nanoseconds; events of the same time are due in the order they were set."""

    when: int
    order: int
    action: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class Clock:
    """The machine's clock and its queue of events. ``hz`` is the kernel's CONFIG_HZ."""

    def __init__(self, hz: int = 250) -> None:
        self.now = 0
        """Nanoseconds since boot."""
        self.hz = hz
        self.tick = NSEC_PER_SEC // hz
        """Nanoseconds in a jiffy."""
        self.realtime = False
        self.initial_jiffies = -300 * hz & 0xFFFF_FFFF
        """Jiffies wrap five minutes after boot, as in the kernel, to find code that cannot bear it."""
        self._events: list[Event] = []
        self._count = 0
        self._started = time.monotonic()
        self.on_advance: Callable[[], object] = lambda: None
        """Called when time has passed, before an event's action sees it."""

    def begin(self, *, realtime: bool) -> None:
        """Let the time that passes from now on be real time, or virtual."""
        self.realtime = realtime
        self._started = time.monotonic() - self.now / NSEC_PER_SEC

    @property
    def jiffies(self) -> int:
        """The tick counter, an unsigned long."""
        return (self.initial_jiffies + self.now // self.tick) & _MASK64

    def time_of(self, jiffies: int) -> int:
        """When, in nanoseconds since boot, the tick counter reaches ``jiffies`` (now, if it is past)."""
        ahead = (jiffies - self.jiffies) & _MASK64
        if ahead >> 63 or not ahead:
            return self.now
        return (self.now // self.tick + ahead) * self.tick

    def read(self) -> int:
        """The time for code that asks, in nanoseconds since boot."""
        self.now += READ_COST_NS
        return self.now

    def at(self, when: int, action: Callable[[], object]) -> Event:
        """Have ``action`` called when the clock reaches ``when`` nanoseconds."""
        self._count += 1
        event = Event(when, self._count, action)
        heapq.heappush(self._events, event)
        return event

    def next_event(self) -> int | None:
        """When the next event is due, in nanoseconds; None if there is none."""
        while self._events and self._events[0].cancelled:
            heapq.heappop(self._events)
        return self._events[0].when if self._events else None

    def due(self) -> Event | None:
        """Take the next event whose time has come off the queue."""
        when = self.next_event()
        if when is None or when > self.now:
            return None
        self.on_advance()
        return heapq.heappop(self._events)

    def advance_to(self, when: int) -> None:
        """Let time pass until ``when``; no event fires by itself."""
        if when <= self.now:
            return
        self.now = when
        self.on_advance()
        if self.realtime:
            ahead = when / NSEC_PER_SEC - (time.monotonic() - self._started)
            if ahead > 0:
                time.sleep(ahead)
