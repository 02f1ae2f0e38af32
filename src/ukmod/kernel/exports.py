"""The list of files that implement kernel functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

from ukmod.kernel.export import Export, exports_of

SUBSYSTEMS: Final = (
    "async_",
    "cred",
    "dev_printk",
    "freezer",
    "ftrace",
    "ftrace_direct",
    "irq_work",
    "kallsyms",
    "kmod",
    "kthread",
    "kthread_worker",
    "notifier",
    "panic",
    "params",
    "params_ops",
    "pid",
    "pid_namespace",
    "printk",
    "signal",
    "softirq",
    "stacktrace",
    "umh",
    "lib.bitmap",
    "lib.cmdline",
    "lib.crc",
    "lib.hexdump",
    "lib.kfifo",
    "lib.kstrtox",
    "lib.list_debug",
    "lib.math",
    "lib.random",
    "lib.random32",
    "lib.ratelimit",
    "lib.rbtree",
    "lib.refcount",
    "lib.sort",
    "lib.sscanf",
    "lib.string",
    "lib.string_helpers",
    "lib.uuid",
    "lib.vsprintf",
    "locking.mutex",
    "locking.rwsem",
    "locking.semaphore",
    "locking.spinlock",
    "mm.kmem_cache",
    "mm.noprof",
    "mm.page_alloc",
    "mm.percpu",
    "mm.sheaf",
    "mm.slab",
    "mm.uaccess",
    "mm.util",
    "mm.vmalloc",
    "module.inter_module",
    "module.main",
    "rcu.rcu",
    "rcu.srcu",
    "sched.completion",
    "sched.core",
    "sched.preempt",
    "sched.prio",
    "sched.swait",
    "sched.wait",
    "sched.wait_bit",
    "time.hrtimer",
    "time.sleep_timeout",
    "time.time",
    "time.timekeeping",
    "time.timer",
    "workqueue.api",
)
"""The files below ukmod/kernel that export functions. A new file needs only a line here."""


@cache
def kernel_functions() -> dict[str, tuple[Export, Callable[..., Any]]]:
    """Every exported function by name. It is an error in the program if two files export the same name."""
    table: dict[str, tuple[Export, Callable[..., Any]]] = {}
    for subsystem in SUBSYSTEMS:
        for name, found in exports_of(import_module(f"ukmod.kernel.{subsystem}")).items():
            if table.setdefault(name, found)[1] is not found[1]:
                raise AssertionError(f"{name} is exported by {subsystem} and another file")
    return table
