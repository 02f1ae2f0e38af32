"""Rate-limited messages: lib/ratelimit.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.machine.abi import CStr, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

INTERVAL: Final = 5
"""DEFAULT_RATELIMIT_INTERVAL in seconds."""
_MSG_ON_RELEASE: Final = 1 << 0
"""ratelimit_state.flags: suppressed messages are reported by the owner, not after each interval."""
BURST: Final = 10
"""DEFAULT_RATELIMIT_BURST: messages per interval."""


class RateLimit:
    """A struct ratelimit_state for one place that prints; ``place`` names its function.

    ``burst`` messages are allowed in ``interval`` seconds.
    """

    def __init__(self, kernel: Core, place: str, *, interval: int = INTERVAL, burst: int = BURST) -> None:
        self._k = kernel
        self._place = place
        self._interval = interval
        self._burst = burst
        self._begin: int | None = None
        self._printed = 0
        self._missed = 0

    def allow(self, place: str = "") -> bool:
        """True if a message may be printed now; ``place`` names the caller, if it is not the limit's own."""
        clock = self._k.clock
        if self._begin is None or clock.jiffies > self._begin + self._interval * clock.hz:
            if self._missed:
                self._k.printk(f"{place or self._place}: {self._missed} callbacks suppressed\n", 4)
            self._begin, self._printed, self._missed = clock.jiffies, 0, 0
        if self._printed < self._burst:
            self._printed += 1
            return True
        self._missed += 1
        return False

    def printk(self, text: str, level: int) -> None:
        """Print ``text`` if a message may be printed now."""
        if self.allow():
            self._k.printk(text, level)


@export("__printk_ratelimit", native=True)
def printk_ratelimit(k: Core, function: CStr) -> Int:
    """``int __printk_ratelimit(const char *func)``: 1 if allowed to print; all callers share one limit."""
    return k.lib.printk_limit.allow(function.decode("utf-8", "replace"))


@export("___ratelimit", native=True)
def ratelimit(k: Core, state: Ptr, function: CStr) -> Int:
    """``int ___ratelimit(struct ratelimit_state *rs, const char *func)``: 1 if the caller may print."""
    memory, jiffies = k.memory, k.clock.jiffies
    at = {
        name: state + k.types.offset("ratelimit_state", name)
        for name in ("interval", "burst", "printed", "missed", "begin", "flags")
    }
    interval, burst = memory.s32(at["interval"]), memory.s32(at["burst"])
    if not interval:
        return 1
    begin = memory.u64(at["begin"])
    if not begin:
        memory.set_u64(at["begin"], jiffies)
    elif (begin + interval - jiffies) & (1 << 63):
        missed = memory.u32(at["missed"])
        if missed and not memory.u64(at["flags"]) & _MSG_ON_RELEASE:
            name = function.decode("utf-8", "replace")
            k.printk(f"{name}: {missed} callbacks suppressed\n", 4)
            memory.set_u32(at["missed"], 0)
        memory.set_u64(at["begin"], jiffies)
        memory.set_u32(at["printed"], 0)
    printed = memory.u32(at["printed"])
    allowed = printed < burst
    counter = "printed" if allowed else "missed"
    memory.set_u32(at[counter], memory.u32(at[counter]) + 1)
    return allowed
