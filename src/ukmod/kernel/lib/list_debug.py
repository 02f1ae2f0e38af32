"""CONFIG_DEBUG_LIST (lib/list_debug.c): checks that inlined list_add() and list_del() call first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.lib.list import LIST_POISON1, LIST_POISON2
from ukmod.machine.abi import Bool, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


_ADD, _DEL = "__list_add_valid", "__list_del_entry_valid"


def _corrupted(k: Core, line: int, function: str, text: str) -> NoReturn:
    """CHECK_DATA_CORRUPTION() with CONFIG_BUG_ON_DATA_CORRUPTION, as in distributions' kernels."""
    k.printk(text, 3)
    k.crash.bug(Site("lib/list_debug.c", line, function))


@export("__list_add_valid", "__list_add_valid_or_report", image_first=True)
def list_add_valid(k: Core, new: Ptr, before: Ptr, after: Ptr) -> Bool:
    """``bool __list_add_valid(struct list_head *new, struct list_head *prev, struct list_head *next)``."""
    if not before:
        _corrupted(k, 23, _ADD, "list_add corruption. prev is NULL.\n")
    if not after:
        _corrupted(k, 25, _ADD, "list_add corruption. next is NULL.\n")
    found = k.memory.u64(after + 8)
    if found != before:
        _corrupted(
            k,
            27,
            _ADD,
            f"list_add corruption. next->prev should be prev ({before:016x}), "
            f"but was {found:016x}. (next={after:016x}).\n",
        )
    found = k.memory.u64(before)
    if found != after:
        _corrupted(
            k,
            30,
            _ADD,
            f"list_add corruption. prev->next should be next ({after:016x}), "
            f"but was {found:016x}. (prev={before:016x}).\n",
        )
    if new in {before, after}:
        _corrupted(
            k, 33, _ADD, f"list_add double add: new={new:016x}, prev={before:016x}, next={after:016x}.\n"
        )
    return True


@export("__list_del_entry_valid", "__list_del_entry_valid_or_report", image_first=True)
def list_del_entry_valid(k: Core, entry: Ptr) -> Bool:
    """``bool __list_del_entry_valid(struct list_head *entry)``."""
    after, before = k.memory.u64(entry), k.memory.u64(entry + 8)
    start = f"list_del corruption, {entry:016x}->"
    if not after:
        _corrupted(k, 49, _DEL, f"{start}next is NULL\n")
    if not before:
        _corrupted(k, 51, _DEL, f"{start}prev is NULL\n")
    if after == LIST_POISON1:
        _corrupted(k, 53, _DEL, f"{start}next is LIST_POISON1 ({after:016x})\n")
    if before == LIST_POISON2:
        _corrupted(k, 56, _DEL, f"{start}prev is LIST_POISON2 ({before:016x})\n")
    for line, name, neighbour, link, other in (
        (59, "prev", before, before, "next"),
        (62, "next", after, after + 8, "prev"),
    ):
        found = k.memory.u64(link)
        if found != entry:
            _corrupted(
                k,
                line,
                _DEL,
                f"list_del corruption. {name}->{other} should be {entry:016x}, "
                f"but was {found:016x}. ({name}={neighbour:016x})\n",
            )
    return True
