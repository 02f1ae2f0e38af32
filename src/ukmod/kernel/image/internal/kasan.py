"""Functions of an image with KASAN, whose objects are those of Python's slab allocator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.mm.kasan import report_check
from ukmod.kernel.mm.shadow import depth_at
from ukmod.machine.abi import Bool, Ptr, SizeT, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export()
def kasan_report(k: Core, address: ULong, size: SizeT, write: Bool, ip: ULong) -> Bool:
    """bool kasan_report(unsigned long addr, size_t size, bool is_write, unsigned long ip)."""
    depth = depth_at(k, (k.sched.current or k.idle).address)
    if k.shadow is None or (depth and k.memory.u32(depth)):
        return False  # between kasan_disable_current() and kasan_enable_current()
    return report_check(k, address, size, write=bool(write), ip=ip)


@export("__kasan_slab_free_mempool")
def kasan_slab_free_mempool(k: Core, element: Ptr, ip: ULong) -> None:
    """void __kasan_slab_free_mempool(void *ptr, unsigned long ip): its page is not marked as a slab's."""
    del k, element, ip


@export("__kasan_mempool_poison_object")
def kasan_mempool_poison_object(k: Core, element: Ptr, ip: ULong) -> Bool:
    """bool __kasan_mempool_poison_object(void *ptr, unsigned long ip): since v6.8; True: it may be kept."""
    del k, element, ip
    return True
