"""Pointers to a module in the kernel's memory: whatever is still registered when the module is unloaded.

Each registration is a pointer in the end: in a list, a table or an object of the kernel, to an object or a
function of the module. So all memory in use is searched, without knowing what can be registered there. Not
every pointer is a fault: a timer that was cancelled still names its function, and a name may still point to
a string. Those count that the kernel follows: see ``_is_followed``. Some are gone only after a while, with
the object that contains them, so ``is_current`` is asked again later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.mm.slab import KERNEL_TRACE
from ukmod.kernel.module.dangling import Dangling, memory_at
from ukmod.kernel.x86.unwind import frame_of
from ukmod.machine.memory import PAGE_MASK, PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import mmap

    from ukmod.kernel.core import Core
    from ukmod.kernel.module.layout import ModuleLayout
    from ukmod.kernel.module.main import Module

_ZEROS: Final = bytes(PAGE_SIZE)
_SHARED: Final = 24
"""The number of low bits in which pointers to a module's memory usually differ."""
_ADDRESS_SIZE: Final = 8
_OFFSET: Final = re.compile(r"\+0x[0-9a-f]+(?!/)")
"""The offset into a variable, in the name of a place."""
_TABLE: Final = 128
"""Within so many bytes of its start, a struct that is registered contains a function."""
_Piece = tuple[int, int]
"""The virtual address and the size in bytes of physically contiguous memory."""


def pointers_to(k: Core, module: Module) -> list[Dangling]:
    """The pointers to a module that the kernel or another module follows. Its names must still be known."""
    found: dict[tuple[str, str], Dangling] = {}
    for at, value in _pointers(k, module):
        if not _is_followed(k, module, at, value):
            continue
        place, target = memory_at(k, at), memory_at(k, value)
        function = frame_of(k, value) if value < module.layout.core_text_end else None
        one = Dangling("pointer", module.name, f"to {target}", function, f"in {place}", at=at, value=value)
        # The two pointers of a list's head to its only entry are one registration.
        found.setdefault((_OFFSET.sub("", place), _OFFSET.sub("", target)), one)
    return list(found.values())


def is_current(k: Core, one: Dangling) -> bool:
    """True unless it is a pointer that has been overwritten or freed since."""
    return not one.at or (bool(k.memory.prot(one.at)) and k.memory.u64(one.at) == one.value)


def _is_followed(k: Core, module: Module, at: int, value: int) -> bool:
    """True if code will use the pointer ``value`` at ``at``."""
    item = k.slab.fence.object_near(at)
    if item is not None and item.allocated is not KERNEL_TRACE and item.allocated.time >= module.since:
        return True  # it was made for something that was registered, and is still there
    if value < module.layout.core_text_end:  # a hook is a variable by itself, a timer is part of a struct
        here = k.kallsyms.lookup(at)
        return here is not None and not here.offset and value in module.layout.symbol_starts
    return _is_linked(k, at, value) or _is_table(k, module.layout, value)


def _is_linked(k: Core, at: int, value: int) -> bool:
    """True if the object at ``value`` points back, as a node of a list_head, an hlist or an rbtree does."""
    first, second = k.memory.peek(value), k.memory.peek(value + _ADDRESS_SIZE)
    return (
        second == at
        or first == at - _ADDRESS_SIZE
        or first & -4 in (at - _ADDRESS_SIZE, at - 2 * _ADDRESS_SIZE)
    )


def _is_table(k: Core, layout: ModuleLayout, value: int) -> bool:
    """True if the object at ``value`` holds functions of the module: a notifier, a struct of operations."""
    words = (
        k.memory.peek(value + n)
        for n in range(0, _TABLE, _ADDRESS_SIZE)
        if value + n < layout.core + layout.core_size
    )
    return any(layout.core <= word < layout.core_text_end for word in words)


# -- searching --------------------------------------------------------------------------------------------


def _pointers(k: Core, module: Module) -> Iterator[tuple[int, int]]:
    """All pointers to a module's core outside of it: where each is, and its value."""
    memory, written, layout = k.memory, k.memory.written(), module.layout
    start, end = layout.core, layout.core + layout.core_size
    high = _high_bytes(start, end)
    for address, size in _pieces(k, module, written):
        physical = _physical(k, address)
        for match in _matches(high, memory.ram, written, physical, physical + size):
            at = match.start() - _SHARED // 8
            value = int.from_bytes(memory.view[at : at + _ADDRESS_SIZE], "little")
            if not at % _ADDRESS_SIZE and physical <= at and start <= value < end:
                yield address + at - physical, value


def _matches(
    pattern: re.Pattern[bytes], ram: mmap.mmap, written: bytes, start: int, end: int
) -> Iterator[re.Match[bytes]]:
    """The matches in a piece of RAM, except in pages that nothing was written to.

    An image's variables are mostly zeros, which are faster to compare.
    """
    if end - start < PAGE_SIZE:
        yield from pattern.finditer(ram, start, end)
        return
    for page in range(start & PAGE_MASK, end, PAGE_SIZE):
        if written[page >> PAGE_SHIFT] and ram[page : page + PAGE_SIZE] != _ZEROS:
            yield from pattern.finditer(ram, max(page, start), min(page + PAGE_SIZE, end))


def _high_bytes(start: int, end: int) -> re.Pattern[bytes]:
    """Matches the high bytes of all addresses of a range, as they are in memory."""
    words = {address >> _SHARED for address in (start, end - 1)}
    return re.compile(
        b"|".join(re.escape(word.to_bytes(_ADDRESS_SIZE - _SHARED // 8, "little")) for word in words),
        re.DOTALL,
    )


def _physical(k: Core, address: int) -> int:
    """The physical address of memory in use; in the direct map, whether it is mapped or not."""
    return (
        address - PAGE_OFFSET if 0 <= address - PAGE_OFFSET < k.memory.size else k.memory.translate(address)
    )


def _pieces(k: Core, module: Module, written: bytes) -> Iterator[_Piece]:
    """All memory in use, except stacks, the module's own memory and struct module.

    Small objects in pages that nothing was written to are left out: an image has thousands.
    """
    yield from k.image.variables() if k.image is not None else k.symbols.variables()
    own = k.percpu.base + module.layout.percpu if module.layout.percpu_size else 0
    yield from (piece for piece in k.percpu.areas() if piece[0] != own)
    yield from (
        (item.address, item.size)
        for item in k.slab.objects()
        if item.size > PAGE_SIZE or written[item.address - PAGE_OFFSET >> PAGE_SHIFT]
    )
    yield from k.vmalloc.areas()
    yield from k.pages.blocks()
    for other in k.modules:
        if other is not module:
            yield other.layout.core, other.layout.core_size
