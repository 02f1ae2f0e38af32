"""Replacements for internal functions of a kernel image, most of which no module can call.

They are the functions through which the image would touch state kept in Python (page and vmalloc allocators,
scheduler, workqueues, RCU) or absent hardware. Each replaces the C function of its name; a name that an image
lacks is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from ukmod.kernel.export import Export, exports_of
from ukmod.kernel.image.internal import (
    freezer,
    ioremap,
    kasan,
    libfs,
    mm,
    module,
    posix_timers,
    printk_ringbuffer,
    ptrace,
    reboot,
    sched,
    task,
    text,
    tracing,
    vmalloc,
)

PARTS: Final = (
    text,
    task,
    sched,
    freezer,
    mm,
    module,
    posix_timers,
    printk_ringbuffer,
    ptrace,
    reboot,
    tracing,
    vmalloc,
    ioremap,
    kasan,
    libfs,
)
"""The files that implement them."""


@cache
def internal_functions() -> dict[str, tuple[Export, Callable[..., Any]]]:
    """All of these functions, by the name of the C function that each replaces."""
    return {name: one for part in PARTS for name, one in exports_of(part).items()}
