"""The one place that knows which files implement kernel functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from ukmod.kernel import (
    completion,
    inter_module,
    kallsyms,
    kmod,
    kthread,
    module,
    notifier,
    percpu,
    pid,
    preempt,
    printk,
    sched,
    signal,
    slab,
    softirq,
    timer,
    umh,
    vsprintf,
    wait,
    workqueue_api,
)
from ukmod.kernel.export import Export, exports_of

SUBSYSTEMS: tuple[ModuleType, ...] = (
    completion,
    inter_module,
    kallsyms,
    kmod,
    kthread,
    module,
    notifier,
    percpu,
    pid,
    preempt,
    printk,
    sched,
    signal,
    slab,
    softirq,
    timer,
    umh,
    vsprintf,
    wait,
    workqueue_api,
)


@cache
def kernel_functions() -> dict[str, tuple[Export, Callable[..., Any]]]:
    """Every exported function by name. Two files that export the same name are a mistake in the program."""
    table: dict[str, tuple[Export, Callable[..., Any]]] = {}
    for module in SUBSYSTEMS:
        for name, found in exports_of(module).items():
            if table.setdefault(name, found)[1] is not found[1]:
                raise AssertionError(f"{name} is exported by {module.__name__} and another file")
    return table
