"""Saved call traces: kernel/stacktrace.c, with the unwinder that oops reports use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_WARNING
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.printk import LOG_LINE_MAX
from ukmod.kernel.x86.unwind import callers, is_text
from ukmod.machine.abi import Int, Ptr, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export(gpl=True)
def stack_trace_save(k: Core, store: Ptr, size: UInt, skip: UInt) -> UInt:
    """``unsigned int stack_trace_save(unsigned long *store, unsigned int size, unsigned int skipnr)``.

    The first address stored is that of the caller, unless ``skip`` leaves it out. Returns how many there are.
    """
    found = [position.ip for position in callers(k) if is_text(k, position.ip)]
    saved = found[skip : skip + size]
    k.memory.write(store, b"".join(address.to_bytes(8, "little") for address in saved))
    return len(saved)


@export(gpl=True, image_first=True)
def stack_trace_print(k: Core, entries: Ptr, count: UInt, spaces: Int) -> None:
    """``void stack_trace_print(const unsigned long *entries, unsigned int nr_entries, int spaces)``."""
    width = min(abs(signed(1 + spaces, 4)), LOG_LINE_MAX)  # of "%*c": a negative one fills up on the right
    for n in range(count):
        name = k.kallsyms.sprint(k.memory.u64(entries + 8 * n))
        k.printk(f"{'':{max(width, 1)}}{name}\n", KERN_WARNING)
