"""Lists in guest memory: struct list_head and struct hlist_head, include/linux/list.h."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ukmod.kernel.bug import Site
from ukmod.kernel.lib.walk import links, steps
from ukmod.machine.memory import Memory

LIST_POISON1: Final = 0xDEAD_0000_0000_0100
LIST_POISON2: Final = 0xDEAD_0000_0000_0122
"""The pointers of a removed entry (include/linux/poison.h): using them again faults."""
_PREV = 8
_WALK: Final = Site("lib/list_debug.c", 38, "list_for_each")


def init_list_head(memory: Memory, head: int) -> None:
    """INIT_LIST_HEAD()."""
    memory.set_u64(head, head)
    memory.set_u64(head + _PREV, head)


def list_empty(memory: Memory, head: int) -> bool:
    """list_empty(): True for an empty list, and for an entry that is on no list."""
    return memory.u64(head) == head


def _insert(memory: Memory, entry: int, before: int, after: int) -> None:
    memory.set_u64(after + _PREV, entry)
    memory.set_u64(entry, after)
    memory.set_u64(entry + _PREV, before)
    memory.set_u64(before, entry)


def list_add(memory: Memory, entry: int, head: int) -> None:
    """list_add(): insert ``entry`` right after ``head``."""
    _insert(memory, entry, head, memory.u64(head))


def list_add_tail(memory: Memory, entry: int, head: int) -> None:
    """list_add_tail(): insert ``entry`` right before ``head``."""
    _insert(memory, entry, memory.u64(head + _PREV), head)


def _unlink(memory: Memory, entry: int) -> None:
    after, before = memory.u64(entry), memory.u64(entry + _PREV)
    memory.set_u64(after + _PREV, before)
    memory.set_u64(before, after)


def list_del(memory: Memory, entry: int) -> None:
    """list_del(): remove ``entry`` and poison its pointers."""
    _unlink(memory, entry)
    memory.set_u64(entry, LIST_POISON1)
    memory.set_u64(entry + _PREV, LIST_POISON2)


def list_del_init(memory: Memory, entry: int) -> None:
    """list_del_init(): remove ``entry`` and make it an empty list."""
    _unlink(memory, entry)
    init_list_head(memory, entry)


def list_del_rcu(memory: Memory, entry: int) -> None:
    """list_del_rcu(): remove ``entry``, from which readers can still continue."""
    _unlink(memory, entry)
    memory.set_u64(entry + _PREV, LIST_POISON2)


def list_entries(memory: Memory, head: int) -> Iterator[int]:
    """list_for_each_safe(): the entries in order; the caller may remove the entry just yielded.

    Raises EndlessError if the list is damaged and never returns to its head.
    """
    entry, count = memory.u64(head), steps(_WALK, "list", head)
    while entry != head:
        next(count)
        after = memory.u64(entry)
        yield entry
        entry = after


def hlist_add_head(memory: Memory, node: int, head: int) -> None:
    """void hlist_add_head(struct hlist_node *n, struct hlist_head *h)."""
    first = memory.u64(head)
    memory.set_u64(node, first)
    memory.set_u64(node + 8, head)
    if first:
        memory.set_u64(first + 8, node)
    memory.set_u64(head, node)


def hlist_del_init(memory: Memory, node: int) -> None:
    """void hlist_del_init(struct hlist_node *n)."""
    following, pprev = memory.u64(node), memory.u64(node + 8)
    memory.set_u64(pprev, following)
    if following:
        memory.set_u64(following + 8, pprev)
    memory.set_u64(node, 0)
    memory.set_u64(node + 8, 0)


def hlist_nodes(memory: Memory, head: int) -> Iterator[int]:
    """hlist_for_each_safe(): the nodes in order. Raises EndlessError if the list has no end."""
    return links(memory.u64(head), memory.u64, _WALK, "list")
