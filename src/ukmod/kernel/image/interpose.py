"""Interposition: the entry of an image function that Python implements jumps to Python's stub.

Image code that allocates, sleeps, queues work or prints thus does so in this kernel, as a module does. A
function begins with ``call __fentry__``, five bytes that ftrace would patch, or with other instructions that
nothing jumps into. A five-byte jump is therefore safe if the function is long enough.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.export import Export, exports_of
from ukmod.kernel.image import internal
from ukmod.kernel.image.map import MappedImage
from ukmod.machine.stubs import RET

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

SAME_AS: Final = {
    "native_queued_spin_lock_slowpath": "queued_spin_lock_slowpath",
    "__pv_queued_spin_lock_slowpath": "queued_spin_lock_slowpath",
    "synchronize_rcu_tasks": "synchronize_rcu",
    "vmalloc_huge": "__vmalloc",
    "__alloc_percpu_gfp": "__alloc_percpu",
    "_printk_deferred": "_printk",
}
"""Functions of the image that are replaced by a Python function of another name."""

RETURNS: Final = {
    "kernel_fpu_begin_mask": "no task's FPU state has to be saved: they all share the CPU's",
    "kernel_fpu_end": "the same",
    "fpregs_assert_state_consistent": "the same",
    "preempt_schedule": "tasks are switched when they call the kernel, never elsewhere",
    "preempt_schedule_notrace": "the same",
    "rcu_read_unlock_special": "grace periods look for readers themselves; readers need not report",
    "rcu_note_context_switch": "the same",
    "kfree_rcu_scheduler_running": "RCU is Python's",
    "workqueue_set_min_active": "workqueues are Python's",
    "folio_add_lru": "memory is not reclaimed: pages need no order",
    "folio_add_lru_vma": "the same",
    "lru_add_drain": "the same",
    "lru_add_drain_all": "the same",
    "folio_mark_accessed": "the same",
    "vm_unmap_aliases": "the MMU's TLB is flushed whenever a mapping goes",
    "flush_tlb_all": "the same",
    "flush_tlb_kernel_range": "the same",
    "native_io_delay": "port 0x80 is not slow here",
    "clflush_cache_range": "there is no cache",
    "wbinvd_on_all_cpus": "the same",
    "wake_up_nohz_cpu": "a timer wakes its task itself",
    "wakeup_softirqd": "softirqs run at the next interrupt",
    "mcheck_cpu_init": "no machine checks",
    "touch_softlockup_watchdog": "this kernel has a watchdog of its own",
}
"""Functions patched to return at once, and why that is correct."""

_JUMP_SIZE = 5


def interpose(k: Core, image: MappedImage) -> None:
    """Patch the entry of every function of the image that Python implements."""
    for name, address in _targets(k, image):
        _jump(k, image, name, address)
    for name in RETURNS:
        if (at := image.get(name)) is not None:
            k.memory.write(at, RET, force=True)
    k.cpu.flush_code()


def _targets(k: Core, image: MappedImage) -> Iterator[tuple[str, int]]:
    """The functions to patch, and the addresses of the stubs that replace them."""
    for name, (exported, function) in exports_of(internal).items():
        if image.get(name) is not None:
            yield name, k.symbols.add_function(Export(exported.name, exported.gpl), function).address
    for name, (exported, _) in k.symbols.functions().items():
        own = exported.native or exported.image_first or name in SAME_AS
        if not own and image.get(name) is not None:
            yield name, k.symbols.address(name)
    for name, other in SAME_AS.items():
        if image.get(name) is not None:
            yield name, k.symbols.address(other)


def _jump(k: Core, image: MappedImage, name: str, target: int) -> None:
    at = image.address(name)
    found = image.lookup(at)
    if found is None or found[1] < _JUMP_SIZE:
        raise LimitError(f"the function {name} is too short to be replaced", subject=image.image.path)
    k.memory.write(at, b"\xe9" + struct.pack("<i", target - (at + _JUMP_SIZE)), force=True)
