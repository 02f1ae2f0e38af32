"""The one place that knows which files implement kernel functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from ukmod.kernel import (
    dev_printk,
    kallsyms,
    kmod,
    kthread,
    kthread_worker,
    notifier,
    panic,
    params,
    params_ops,
    pid,
    printk,
    signal,
    softirq,
    umh,
)
from ukmod.kernel.export import Export, exports_of
from ukmod.kernel.lib import (
    bitmap,
    cmdline,
    crc,
    hexdump,
    kfifo,
    kstrtox,
    list_debug,
    math,
    random,
    ratelimit,
    rbtree,
    refcount,
    sort,
    sscanf,
    string,
    string_helpers,
    uuid,
    vsprintf,
)
from ukmod.kernel.locking import mutex, rwsem, semaphore, spinlock
from ukmod.kernel.mm import kmem_cache, noprof, page_alloc, percpu, slab, uaccess, vmalloc
from ukmod.kernel.module import inter_module
from ukmod.kernel.module import main as module
from ukmod.kernel.rcu import rcu, srcu
from ukmod.kernel.sched import completion, preempt, swait, wait, wait_bit
from ukmod.kernel.sched import core as sched
from ukmod.kernel.time import hrtimer, sleep_timeout, time, timekeeping, timer
from ukmod.kernel.workqueue import api as workqueue_api

SUBSYSTEMS: tuple[ModuleType, ...] = (
    bitmap,
    cmdline,
    completion,
    crc,
    dev_printk,
    hexdump,
    hrtimer,
    inter_module,
    kallsyms,
    kfifo,
    kmem_cache,
    kmod,
    kstrtox,
    kthread,
    kthread_worker,
    list_debug,
    math,
    module,
    mutex,
    notifier,
    page_alloc,
    panic,
    params,
    params_ops,
    percpu,
    pid,
    preempt,
    printk,
    random,
    ratelimit,
    rbtree,
    rcu,
    refcount,
    rwsem,
    sched,
    semaphore,
    signal,
    slab,
    noprof,
    sleep_timeout,
    softirq,
    sort,
    spinlock,
    srcu,
    sscanf,
    string,
    string_helpers,
    swait,
    time,
    timekeeping,
    timer,
    uaccess,
    umh,
    uuid,
    vmalloc,
    vsprintf,
    wait,
    wait_bit,
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
