"""The one place that knows which files implement kernel functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from ukmod.kernel import (
    cmdline,
    completion,
    hrtimer,
    inter_module,
    kallsyms,
    kmem_cache,
    kmod,
    kstrtox,
    kthread,
    module,
    notifier,
    page_alloc,
    panic,
    params,
    params_ops,
    percpu,
    pid,
    preempt,
    printk,
    sched,
    signal,
    slab,
    sleep_timeout,
    softirq,
    time,
    timekeeping,
    timer,
    umh,
    vmalloc,
    vsprintf,
    wait,
    workqueue_api,
)
from ukmod.kernel.export import Export, exports_of

SUBSYSTEMS: tuple[ModuleType, ...] = (
    cmdline,
    completion,
    hrtimer,
    inter_module,
    kallsyms,
    kmem_cache,
    kmod,
    kstrtox,
    kthread,
    module,
    notifier,
    page_alloc,
    panic,
    params,
    params_ops,
    percpu,
    pid,
    preempt,
    printk,
    sched,
    signal,
    slab,
    sleep_timeout,
    softirq,
    time,
    timekeeping,
    timer,
    umh,
    vmalloc,
    vsprintf,
    wait,
    workqueue_api,
)


@cache
def kernel_functions() -> dict[str, tuple[Export, Callable[..., Any]]]:
    """Every exported function by name. Two files that export the same name are a mistake in the program."""
    table: dict[str, tuple[Export, Callable[..., Any]]] = {}
    for subsystem in SUBSYSTEMS:
        for name, found in exports_of(subsystem).items():
            if table.setdefault(name, found)[1] is not found[1]:
                raise AssertionError(f"{name} is exported by {subsystem.__name__} and another file")
    return table
