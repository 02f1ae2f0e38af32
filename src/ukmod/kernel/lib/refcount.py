"""Slow paths that the inlined refcount_t functions call when a count goes wrong: lib/refcount.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.machine.abi import Bool, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

REFCOUNT_SATURATED: Final = 0xC000_0000
_UNDERFLOW = Site("lib/refcount.c", 87, "refcount_dec_not_one")
_UNKNOWN = (34, "unknown saturation event!?")
_EVENTS = {
    0: (19, "saturated; leaking memory"),
    1: (22, "saturated; leaking memory"),
    2: (25, "addition on 0; use-after-free"),
    3: (28, "underflow; use-after-free"),
    4: (31, "decrement hit 0; leaking memory"),
}
"""enum refcount_saturation_type: the line of lib/refcount.c that warns, and its text."""


@export(native=True)
def refcount_warn_saturate(k: Core, count: Ptr, event: Int) -> None:
    """``void refcount_warn_saturate(refcount_t *r, enum refcount_saturation_type t)``."""
    k.memory.set_u32(count, REFCOUNT_SATURATED)
    line, words = _EVENTS.get(event, _UNKNOWN)
    warn_once(k, Site("lib/refcount.c", line, "refcount_warn_saturate"), f"refcount_t: {words}.\n")


@export(native=True)
def refcount_dec_if_one(k: Core, count: Ptr) -> Bool:
    """``bool refcount_dec_if_one(refcount_t *r)``: true if it was 1 and is now 0."""
    if k.memory.u32(count) != 1:
        return False
    k.memory.set_u32(count, 0)
    return True


@export(native=True)
def refcount_dec_not_one(k: Core, count: Ptr) -> Bool:
    """``bool refcount_dec_not_one(refcount_t *r)``: decrement unless it is 1."""
    value = k.memory.u32(count)
    if value == 1:
        return False
    if value == REFCOUNT_SATURATED:
        return True
    if not value:
        warn_once(k, _UNDERFLOW, "refcount_t: underflow; use-after-free.\n")
        return True
    k.memory.set_u32(count, value - 1)
    return True
