"""Virtual time: nanoseconds since boot, jiffies, and the queue of events.

The clock stands still while code runs and jumps to the next event when every task sleeps. Otherwise it
advances only when it is read, in delay loops and at the end of a time slice, so that a loop that polls the
time ends. With ``realtime``, each jump also waits for the same amount of real time.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

from ukmod.machine.registers import MASK64
from ukmod.record import mutable

NSEC_PER_SEC = 1_000_000_000
_SWEEP = 1 << 12
READ_COST_NS = 1_000
"""The time that reading a clock takes. It must not be 0, or polling code would never see time pass."""


@mutable
class Event:
    """An action due at ``when`` nanoseconds; events due at the same time fire in the order they were set."""

    when: int
    order: int
    action: Callable[[], object]
    cancelled: bool = False

    def __lt__(self, other: Event) -> bool:
        return (self.when, self.order) < (other.when, other.order)


def _any_number(count: int) -> None:
    """The default of ``Clock.admit``."""
    del count


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
        """Jiffies wrap five minutes after boot, as in the kernel, to expose code that does not handle it."""
        self._events: list[Event] = []
        self._sweep = _SWEEP
        """The number of events at which those that were cancelled are removed."""
        self.admit: Callable[[int], object] = _any_number
        """Called with the number of events now and then; raises LimitError for too many."""
        self._count = 0
        self._started = time.monotonic()
        self.on_advance: Callable[[], object] = lambda: None
        """Called when time has passed, before the action of any event runs."""

    def begin(self, *, realtime: bool) -> None:
        """Make time real or virtual from now on."""
        self.realtime = realtime
        self._started = time.monotonic() - self.now / NSEC_PER_SEC

    @property
    def jiffies(self) -> int:
        """The tick counter, an unsigned long."""
        return (self.initial_jiffies + self.now // self.tick) & MASK64

    def time_of(self, jiffies: int) -> int:
        """When the tick counter reaches ``jiffies``, in nanoseconds since boot; now if it already has."""
        ahead = (jiffies - self.jiffies) & MASK64
        if ahead >> 63 or not ahead:
            return self.now
        return (self.now // self.tick + ahead) * self.tick

    def in_ticks(self, jiffies: int) -> int:
        """As time_of(), but later by what has passed of the current tick: a timeout is never too short."""
        when = self.time_of(jiffies)
        return when + self.now % self.tick if when > self.now else when

    def read(self) -> int:
        """The time in nanoseconds since boot, for code that reads a clock."""
        self.now += READ_COST_NS
        return self.now

    def at(self, when: int, action: Callable[[], object]) -> Event:
        """Call ``action`` when the clock reaches ``when`` nanoseconds."""
        self._count += 1
        if len(self._events) >= self._sweep:
            self._remove_cancelled()
        event = Event(when, self._count, action)
        heapq.heappush(self._events, event)
        return event

    def _remove_cancelled(self) -> None:
        """Remove cancelled events, of which there may be any number: a timer may be set again and again."""
        self._events = [event for event in self._events if not event.cancelled]
        heapq.heapify(self._events)
        self.admit(len(self._events))
        self._sweep = max(2 * len(self._events), _SWEEP)

    def next_event(self) -> int | None:
        """The time of the next event in nanoseconds, or None if no event is queued."""
        while self._events and self._events[0].cancelled:
            heapq.heappop(self._events)
        return self._events[0].when if self._events else None

    def due(self) -> Event | None:
        """Remove and return the next event if it is due, or None."""
        when = self.next_event()
        if when is None or when > self.now:
            return None
        self.on_advance()
        return heapq.heappop(self._events)

    def advance_to(self, when: int) -> None:
        """Advance the clock to ``when``; this fires no events."""
        if when <= self.now:
            return
        self.now = when
        self.on_advance()
        if self.realtime:
            ahead = when / NSEC_PER_SEC - (time.monotonic() - self._started)
            if ahead > 0:
                time.sleep(ahead)
