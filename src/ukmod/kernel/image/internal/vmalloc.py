"""Functions of an image for vmalloc areas, in which modules lie, and for their protection."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.mm.vmalloc import VM_USERMAP, vmalloc_to_page
from ukmod.machine.abi import Bool, GfpT, Int, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import NX, PAGE_SIZE, WRITE, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_VM_DONTEXPAND, _VM_DONTDUMP = 0x4_0000, 0x400_0000
"""include/linux/mm.h"""


@export()
def module_alloc(k: Core, size: ULong) -> Ptr:
    """void *module_alloc(unsigned long size): also used for BPF programs and probes."""
    return k.vmalloc.module_alloc(size)


@export("execmem_alloc", "execmem_alloc_rw")
def execmem_alloc(k: Core, kind: UInt, size: SizeT) -> Ptr:
    """void *execmem_alloc(enum execmem_type type, size_t size): replaced module_alloc() in v6.10.

    The slots of kprobes are read-only and executable from the beginning: nothing makes them so later (v6.16).
    """
    address = k.vmalloc.execmem_alloc(size)
    if address and kind == k.types.enum("execmem_type").values.get("EXECMEM_KPROBES"):
        _protect(k, address, page_align(size) // PAGE_SIZE, remove=WRITE | NX)
    return address


@export()
def execmem_is_rox(k: Core, kind: UInt) -> Bool:
    """bool execmem_is_rox(enum execmem_type): whether memory for code is read-only when it is new."""
    del k, kind
    return False


@export()
def find_vmap_area(k: Core, address: ULong) -> Ptr:
    """struct vmap_area *find_vmap_area(unsigned long addr): for usercopy and remap_vmalloc_range().

    Its callers only read it, and at once, so there is one, which every call fills in.
    """
    if (area := k.vmalloc.area_of(address)) is None:
        return 0
    types, size = k.types, k.types.sizeof("vmap_area")
    if not k.vmalloc.found:
        k.vmalloc.found = k.slab.kernel_object(size + types.sizeof("vm_struct"))
    found = k.vmalloc.found
    vm = found + size
    for at, struct, member, value in (
        (found, "vmap_area", "va_start", area.address),
        (found, "vmap_area", "va_end", area.address + area.size),
        (found, "vmap_area", "vm", vm),
        (vm, "vm_struct", "addr", area.address),
        (vm, "vm_struct", "size", area.size + PAGE_SIZE),  # with the guard page
        (vm, "vm_struct", "flags", area.flags),
    ):
        k.memory.set_u64(at + types.offset(struct, member), value)
    return found


@export()
def find_vm_area(k: Core, address: Ptr) -> Ptr:
    """struct vm_struct *find_vm_area(const void *addr)."""
    found = find_vmap_area(k, address)
    return k.memory.u64(found + k.types.offset("vmap_area", "vm")) if found else 0


@export()
def remap_vmalloc_range_partial(
    k: Core, vma: Ptr, user: ULong, address: Ptr, first: ULong, size: ULong
) -> Int:
    """int remap_vmalloc_range_partial(struct vm_area_struct *, unsigned long uaddr, void *kaddr, ...).

    ``first`` is the number of the page of the area with which the mapping begins.
    """
    size, offset = page_align(size), first * PAGE_SIZE
    area = k.vmalloc.area_of(address)
    if (user | address) % PAGE_SIZE or area is None or not area.flags & VM_USERMAP:
        return -EINVAL
    if k.image is None or offset + size > area.size:
        return -EINVAL
    for done in range(0, size, PAGE_SIZE):
        page = vmalloc_to_page(k, address + offset + done)
        if failed := k.cpu.call(k.image.address("vm_insert_page"), vma, user + done, page) & 0xFFFF_FFFF:
            return failed
    flags = vma + k.types.offset("vm_area_struct", "vm_flags")
    k.memory.set_u64(flags, k.memory.u64(flags) | _VM_DONTEXPAND | _VM_DONTDUMP)
    return 0


@export()
def remap_vmalloc_range(k: Core, vma: Ptr, address: Ptr, first: ULong) -> Int:
    """int remap_vmalloc_range(struct vm_area_struct *vma, void *addr, unsigned long pgoff)."""
    start, end = (k.memory.u64(vma + k.types.offset("vm_area_struct", it)) for it in ("vm_start", "vm_end"))
    return remap_vmalloc_range_partial(k, vma, start, address, first, end - start)


@export("module_memfree", "execmem_free")
def module_memfree(k: Core, address: Ptr) -> None:
    """void module_memfree(void *module_region): vfree(), which reports what is no allocation."""
    if k.module_area.size_of(address):
        k.module_area.free(address)
    else:
        k.vmalloc.free(address)


def _protect(k: Core, address: int, pages: int, *, add: int = 0, remove: int = 0) -> int:
    for at in range(address, address + pages * PAGE_SIZE, PAGE_SIZE):
        if prot := k.memory.prot(at):
            k.memory.protect(at, PAGE_SIZE, prot & ~remove | add)
    k.cpu.flush_icache(address, pages * PAGE_SIZE)
    return 0


@export()
def set_memory_rox(k: Core, address: ULong, pages: Int) -> Int:
    """int set_memory_rox(unsigned long addr, int numpages): make code read-only and executable at once."""
    return _protect(k, address, pages, remove=WRITE | NX)


@export()
def set_memory_ro(k: Core, address: ULong, pages: Int) -> Int:
    """int set_memory_ro(unsigned long addr, int numpages)."""
    return _protect(k, address, pages, remove=WRITE)


@export()
def set_memory_rw(k: Core, address: ULong, pages: Int) -> Int:
    """int set_memory_rw(unsigned long addr, int numpages)."""
    return _protect(k, address, pages, add=WRITE)


@export()
def set_memory_x(k: Core, address: ULong, pages: Int) -> Int:
    """int set_memory_x(unsigned long addr, int numpages)."""
    return _protect(k, address, pages, remove=NX)


@export()
def set_memory_nx(k: Core, address: ULong, pages: Int) -> Int:
    """int set_memory_nx(unsigned long addr, int numpages)."""
    return _protect(k, address, pages, add=NX)


@export("__vmalloc_node", "__vmalloc_node_noprof")
def vmalloc_node(k: Core, size: ULong, align: ULong, gfp: GfpT) -> Ptr:
    """void *__vmalloc_node(unsigned long size, unsigned long align, gfp_t gfp_mask, ...)."""
    del align
    return k.vmalloc.alloc(size, gfp)


@export("__vmalloc_node_range", "__vmalloc_node_range_noprof")
def vmalloc_node_range(k: Core, size: ULong, align: ULong, start: ULong, end: ULong, gfp: GfpT) -> Ptr:
    """void *__vmalloc_node_range(size, align, start, end, gfp_t gfp_mask, ...)."""
    del align, start, end
    return k.vmalloc.alloc(size, gfp)
