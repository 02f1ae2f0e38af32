"""The misuse of memory that the checks of a kernel with KASAN find: mm/kasan/report.c and report_generic.c.

Code of the image and of modules checks each access by the shadow of its memory (shadow.py), and calls
kasan_report() for one that is not allowed. Which object it concerns only Python's allocator knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.mm.shadow import GRANULE, SLAB_FREE, SLAB_FREETRACK, STACK_LEFT, Shadow
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SIZE, Fault

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

KINDS: Final = {
    0xFF: "use-after-free",
    0xFE: "slab-out-of-bounds",
    0xFC: "slab-out-of-bounds",
    SLAB_FREE: "use-after-free",
    SLAB_FREETRACK: "use-after-free",
    0xF9: "global-out-of-bounds",
    0xF8: "vmalloc-out-of-bounds",
    **dict.fromkeys((STACK_LEFT, 0xF2, 0xF3, 0xF4), "stack-out-of-bounds"),
    **dict.fromkeys((0xCA, 0xCB), "alloca-out-of-bounds"),
}
"""get_shadow_bug_type(): what a value of the shadow says of an access."""
ROW: Final = 16
"""The granules in a row of the shadow, as a report shows it."""
ROWS_AROUND: Final = 2
_FRAME_MAGIC: Final = 0x41B5_8AB3
"""The first word of a stack frame whose variables are checked; a description and a code address follow."""
_VARIABLE: Final = re.compile(r" (\d{1,9}) (\d{1,9}) \d+ ([^ :]+)", re.ASCII)
"""A variable in a frame's description: its offset, its size, and its name behind the length of that."""
_USER_END: Final = 1 << 47


def kind_of(shadow: Shadow, address: int, size: int) -> str:
    """get_bug_type(): KASAN's term for an access that is not allowed."""
    if address + size < address:
        return "out-of-bounds"
    if address < PAGE_OFFSET - (1 << 43):
        wild = "user-memory-access" if address < _USER_END else "wild-memory-access"
        return "null-ptr-deref" if address < PAGE_SIZE else wild
    bad = shadow.first_bad(address, size)
    value, after = shadow.read(bad, 2)
    # A granule that is accessible in part says nothing of the bytes after it; the next one does.
    value = after if 0 < value < GRANULE else value
    return "out-of-bounds" if value < GRANULE else KINDS.get(value, "unknown-crash")


def place_lines(k: Core, address: int) -> Iterator[str]:
    """The lines of a report about an address that is no slab object: a variable, or one on the stack."""
    image, task = k.image, k.sched.current or k.idle
    on_stack = task.stack <= address < task.stack + task.stack_size
    if not on_stack and (
        (image is not None and image.contains(address)) or k.modules.of_code(address) is not None
    ):
        yield "The buggy address belongs to the variable:"
        yield f" {k.kallsyms.sprint(address)}"
        yield ""
    if on_stack:
        yield f"The buggy address belongs to stack of task {k.tasks.comm(task)}/{task.pid}"
        yield from _frame_lines(k, address, task.stack)
        yield ""


def _frame_lines(k: Core, address: int, bottom: int) -> Iterator[str]:
    """print_address_stack_frame(): the function that the variable belongs to, and all of its variables."""
    assert k.shadow is not None
    at = address & -GRANULE
    below = k.shadow.read(bottom, (at - bottom) // GRANULE + 1)
    end = below.rfind(STACK_LEFT) + 1
    start = len(below[:end].rstrip(bytes((STACK_LEFT,))))
    frame = bottom + start * GRANULE
    try:
        magic, description, code = (k.memory.u64(frame + 8 * n) for n in range(3))
        variables = _VARIABLE.findall(k.memory.cstring(description).decode("utf-8", "replace"))
    except Fault:
        return
    if not end or magic != _FRAME_MAGIC:
        return
    yield f" and is located at offset {address - frame} in frame:"
    yield f" {k.kallsyms.sprint(code)}"
    yield ""
    yield f"This frame has {len(variables)} {'object' if len(variables) == 1 else 'objects'}:"
    for offset, size, name in variables:
        yield f" [{offset}, {int(offset) + int(size)}) '{name}'"


def shadow_lines(shadow: Shadow, address: int) -> Iterator[str]:
    """print_memory_metadata(): the shadow around an address."""
    yield "Memory state around the buggy address:"
    length = ROW * GRANULE
    guilty = address & -length
    for n in range(-ROWS_AROUND, ROWS_AROUND + 1):
        row = guilty + n * length
        yield f"{' ' if n else '>'}{row:016x}: {shadow.read(row, ROW).hex(' ')}"
        if not n:
            yield "^".rjust(3 + 16 + (address - row) // GRANULE * 3 + 1)
