"""Direct calls of a module's trampoline: register_ftrace_direct() of kernel/trace/ftrace.c.

Since v6.4 the functions are named by the filter of a struct ftrace_ops. Until then there were functions for
that with ``_multi`` in their names, beside others that take one address.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL, ENODEV
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Int, Ptr, ULong
from ukmod.machine.types.layout import Kind

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


class DirectCalls:
    """The struct ftrace_ops that are registered for direct calls."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._places: dict[int, frozenset[int]] = {}
        """The places that each had call a trampoline."""

    # -- one address ----------------------------------------------------------------------------------

    def add(self, ip: int, trampoline: int) -> int:
        """register_ftrace_direct() until v6.4: -ENODEV or -EBUSY."""
        ftrace = self._k.ftrace
        if not (place := ftrace.location(ip)):
            return -ENODEV
        if ftrace.direct(place):
            return -EBUSY
        ftrace.set_direct((place,), trampoline)
        return 0

    def change(self, ip: int, old: int, new: int) -> int:
        """modify_ftrace_direct() until v6.4: -ENODEV, or -EINVAL if it calls another one than ``old``."""
        ftrace = self._k.ftrace
        place = ftrace.location(ip)
        if not (found := ftrace.direct(place)):
            return -ENODEV
        if found != old:
            return -EINVAL
        ftrace.set_direct((place,), new)
        return 0

    def remove(self, ip: int) -> int:
        """unregister_ftrace_direct() until v6.4: -ENODEV."""
        ftrace = self._k.ftrace
        place = ftrace.location(ip)
        if not ftrace.direct(place):
            return -ENODEV
        ftrace.set_direct((place,), 0)
        return 0

    # -- the functions of a filter --------------------------------------------------------------------

    def register(self, ops: int, trampoline: int) -> int:
        """register_ftrace_direct(): -EINVAL without a filter or if it is registered, or -EBUSY."""
        k = self._k
        func = k.memory.u64(ops + k.types.offset("ftrace_ops", "func"))
        places = k.ftrace.filter(ops)
        if func or not places or ops in self._places:
            return -EINVAL
        if any(map(k.ftrace.direct, places)):
            return -EBUSY
        self._places[ops] = places
        k.ftrace.set_direct(places, trampoline)
        return 0

    def modify(self, ops: int, trampoline: int) -> int:
        """modify_ftrace_direct(): -EINVAL if it is not registered."""
        if ops not in self._places:
            return -EINVAL
        self._k.ftrace.set_direct(self._places[ops], trampoline)
        return 0

    def unregister(self, ops: int) -> int:
        """unregister_ftrace_direct(): -EINVAL if it is not registered."""
        if ops not in self._places:
            return -EINVAL
        self._k.ftrace.set_direct(self._places.pop(ops), 0)
        return 0


def _is_ops(k: Core, function: str, subject: int) -> bool:
    """True if an image's function takes a struct ftrace_ops; without prototypes, if ``subject`` is one."""
    prototype = k.types.prototype(function)
    if prototype is None:
        return bool(k.ftrace.filter(subject))
    return prototype.parameters[0].type.kind is Kind.POINTER


@export(gpl=True, adapts=True)
def register_ftrace_direct(k: Core, subject: ULong, trampoline: ULong) -> Int:
    """``int register_ftrace_direct(struct ftrace_ops *, unsigned long addr)``; see ``_is_ops``."""
    if _is_ops(k, "register_ftrace_direct", subject):
        return k.direct_calls.register(subject, trampoline)
    return k.direct_calls.add(subject, trampoline)


@export(gpl=True, adapts=True)
def unregister_ftrace_direct(k: Core, subject: ULong, trampoline: ULong, free_filters: Int) -> Int:
    """``int unregister_ftrace_direct(struct ftrace_ops *, unsigned long addr, bool free_filters)``."""
    del trampoline
    if not _is_ops(k, "unregister_ftrace_direct", subject):
        return k.direct_calls.remove(subject)
    result = k.direct_calls.unregister(subject)
    if free_filters & 1:
        k.ftrace.forget(subject)
    return result


@export("modify_ftrace_direct", "modify_ftrace_direct_nolock", gpl=True, adapts=True)
def modify_ftrace_direct(k: Core, subject: ULong, trampoline: ULong, new: ULong) -> Int:
    """``int modify_ftrace_direct(struct ftrace_ops *, unsigned long addr)``; see ``_is_ops``."""
    if _is_ops(k, "modify_ftrace_direct", subject):
        return k.direct_calls.modify(subject, trampoline)
    return k.direct_calls.change(subject, trampoline, new)


@export(gpl=True)
def register_ftrace_direct_multi(k: Core, ops: Ptr, trampoline: ULong) -> Int:
    """``int register_ftrace_direct_multi(struct ftrace_ops *, unsigned long addr)``."""
    return k.direct_calls.register(ops, trampoline)


@export(gpl=True)
def unregister_ftrace_direct_multi(k: Core, ops: Ptr) -> Int:
    """``int unregister_ftrace_direct_multi(struct ftrace_ops *, unsigned long addr)``."""
    return k.direct_calls.unregister(ops)


@export("modify_ftrace_direct_multi", "modify_ftrace_direct_multi_nolock", gpl=True)
def modify_ftrace_direct_multi(k: Core, ops: Ptr, trampoline: ULong) -> Int:
    """``int modify_ftrace_direct_multi(struct ftrace_ops *, unsigned long addr)``."""
    return k.direct_calls.modify(ops, trampoline)
