"""Notifier chains: kernel/notifier.c. A chain is a linked list in guest memory."""

from __future__ import annotations

from errno import EBUSY, EEXIST, ENOENT
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn
from ukmod.kernel.export import export
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.lib.walk import links, steps
from ukmod.machine.abi import Int, Ptr, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

NOTIFY_OK, NOTIFY_STOP_MASK = 0x1, 0x8000
_REGISTER: Final = Site("kernel/notifier.c", 25, "notifier_chain_register")
_UNREGISTER: Final = Site("kernel/notifier.c", 46, "notifier_chain_unregister")
_CALL: Final = Site("kernel/notifier.c", 71, "notifier_call_chain")
_CHAIN: Final = "notifier chain"


class _Links:
    """The layout of struct notifier_block."""

    def __init__(self, kernel: Core) -> None:
        offset = kernel.types.offset
        self.call = offset("notifier_block", "notifier_call")
        self.next = offset("notifier_block", "next")
        self.priority = offset("notifier_block", "priority")


def notifier_to_errno(result: int) -> int:
    """The errno, a positive number, that the int result of a chain stands for; 0 if it is no error."""
    return max(signed(result & ~NOTIFY_STOP_MASK, 4) - NOTIFY_OK, 0)


def chain_register(
    k: Core, head: int, block: int, *, within: str = "notifier_chain_register", unique: bool = False
) -> int:
    """Insert ``block`` by priority into the list whose first pointer is at ``head``.

    ``within``: the function that a warning names, into which compilers put this one. Returns 0; -EEXIST, with
    a warning, if it is on the list already; -EBUSY if another block has a ``unique`` priority.
    """
    memory, layout = k.memory, _Links(k)
    at, priority = head, memory.s32(block + layout.priority)
    count = steps(_REGISTER, _CHAIN, head)
    while (current := memory.u64(at)) != 0:
        next(count)
        if current == block:
            callback = k.kallsyms.sprint(memory.u64(block + layout.call), offset=False)
            site = Site("kernel/notifier.c", 28, within)
            warn(k, site, f"notifier callback {callback} already registered\n")
            return -EEXIST
        if priority > memory.s32(current + layout.priority):
            break
        if unique and priority == memory.s32(current + layout.priority):
            return -EBUSY
        at = current + layout.next
    memory.set_u64(block + layout.next, current)
    memory.set_u64(at, block)
    return 0


def chain_unregister(k: Core, head: int, block: int) -> int:
    """Remove ``block`` from the list; 0 or -ENOENT."""
    memory, layout = k.memory, _Links(k)
    at, count = head, steps(_UNREGISTER, _CHAIN, head)
    while (current := memory.u64(at)) != 0:
        next(count)
        if current == block:
            memory.set_u64(at, memory.u64(current + layout.next))
            return 0
        at = current + layout.next
    return -ENOENT


def chain_call(k: Core, head: int, value: int, data: int) -> int:
    """Call the blocks with ``value`` and ``data`` until one returns NOTIFY_STOP; returns the last result."""
    return _call_first(k, head, value, data)[0]


def chain_call_robust(k: Core, head: int, values: tuple[int, int], data: int) -> int:
    """Call the blocks with the first value; if one refuses, call those before it with the second."""
    result, called = _call_first(k, head, values[0], data)
    if result & NOTIFY_STOP_MASK:
        _call_first(k, head, values[1], data, called - 1)
    return result


def _call_first(k: Core, head: int, value: int, data: int, limit: int = -1) -> tuple[int, int]:
    """Call the blocks, at most ``limit`` (-1: all); returns the last result and the number of calls."""
    memory = k.memory
    result, called, first = 0, 0, memory.u64(head)
    if not first or not limit:
        return 0, 0  # without a block, the layout of struct notifier_block may be unknown
    layout = _Links(k)
    for block in links(first, lambda at: memory.u64(at + layout.next), _CALL, _CHAIN):
        result = k.cpu.call(memory.u64(block + layout.call), block, value, data) & 0xFFFF_FFFF
        called += 1
        if result & NOTIFY_STOP_MASK or called == limit:
            break
    return result, called


class NotifierChain:
    """A chain of the kernel's own, with its head in guest memory."""

    def __init__(self, kernel: Core, name: str) -> None:
        self._k = kernel
        self._head = kernel.percpu.base + kernel.percpu.reserve(8, 8, name)

    def register(self, block: int) -> int:
        """blocking_notifier_chain_register()."""
        return chain_register(self._k, self._head, block)

    def unregister(self, block: int) -> int:
        """blocking_notifier_chain_unregister()."""
        return chain_unregister(self._k, self._head, block)

    def call(self, value: int, data: int) -> int:
        """blocking_notifier_call_chain()."""
        return chain_call(self._k, self._head, value, data)

    def call_robust(self, up: int, down: int, data: int) -> int:
        """blocking_notifier_call_chain_robust()."""
        return chain_call_robust(self._k, self._head, (up, down), data)


def _head(k: Core, struct: str, address: int) -> int:
    return address + k.types.offset(struct, "head")


@export(gpl=True, native=True)
def blocking_notifier_chain_register(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int blocking_notifier_chain_register(struct blocking_notifier_head *, struct notifier_block *)``."""
    return chain_register(k, _head(k, "blocking_notifier_head", chain), block)


@export(gpl=True, native=True)
def blocking_notifier_chain_register_unique_prio(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int blocking_notifier_chain_register_unique_prio(blocking_notifier_head *, notifier_block *)``."""
    return chain_register(k, _head(k, "blocking_notifier_head", chain), block, unique=True)


@export(gpl=True, native=True)
def blocking_notifier_chain_unregister(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int blocking_notifier_chain_unregister(struct blocking_notifier_head *, struct notifier_block *)``"""
    return chain_unregister(k, _head(k, "blocking_notifier_head", chain), block)


@export(gpl=True, native=True)
def blocking_notifier_call_chain(k: Core, chain: Ptr, value: ULong, data: Ptr) -> Int:
    """``int blocking_notifier_call_chain(struct blocking_notifier_head *, unsigned long val, void *v)``."""
    return chain_call(k, _head(k, "blocking_notifier_head", chain), value, data)


@export(gpl=True, native=True)
def atomic_notifier_chain_register(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int atomic_notifier_chain_register(struct atomic_notifier_head *, struct notifier_block *)``."""
    name = "atomic_notifier_chain_register"
    return chain_register(k, _head(k, "atomic_notifier_head", chain), block, within=name)


@export(gpl=True, native=True)
def atomic_notifier_chain_register_unique_prio(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int atomic_notifier_chain_register_unique_prio(atomic_notifier_head *, struct notifier_block *)``."""
    name = "atomic_notifier_chain_register_unique_prio"
    return chain_register(k, _head(k, "atomic_notifier_head", chain), block, within=name, unique=True)


@export(gpl=True, native=True)
def atomic_notifier_chain_unregister(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int atomic_notifier_chain_unregister(struct atomic_notifier_head *, struct notifier_block *)``."""
    return chain_unregister(k, _head(k, "atomic_notifier_head", chain), block)


@export(gpl=True, native=True)
def atomic_notifier_call_chain(k: Core, chain: Ptr, value: ULong, data: Ptr) -> Int:
    """``int atomic_notifier_call_chain(struct atomic_notifier_head *, unsigned long val, void *v)``."""
    return chain_call(k, _head(k, "atomic_notifier_head", chain), value, data)


@export(gpl=True, native=True)
def raw_notifier_chain_register(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int raw_notifier_chain_register(struct raw_notifier_head *, struct notifier_block *)``."""
    name = "raw_notifier_chain_register"
    return chain_register(k, _head(k, "raw_notifier_head", chain), block, within=name)


@export(gpl=True, native=True)
def raw_notifier_chain_unregister(k: Core, chain: Ptr, block: Ptr) -> Int:
    """``int raw_notifier_chain_unregister(struct raw_notifier_head *, struct notifier_block *)``."""
    return chain_unregister(k, _head(k, "raw_notifier_head", chain), block)


@export(gpl=True, native=True)
def raw_notifier_call_chain(k: Core, chain: Ptr, value: ULong, data: Ptr) -> Int:
    """``int raw_notifier_call_chain(struct raw_notifier_head *, unsigned long val, void *v)``."""
    return chain_call(k, _head(k, "raw_notifier_head", chain), value, data)
