"""dup_mmap(): a child's mappings, kernel/fork.c.

Some compilers make it a part of copy_process(). There, Python goes through the mappings, and the image's own
functions copy each: its struct, its place in the mm, its reverse mapping and its pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.lib.printf_spec import signed
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

VM_LOCKED, VM_DONTCOPY, VM_LOCKONFAULT = 0x2000, 0x2_0000, 0x8_0000
VM_HUGETLB, VM_WIPEONFORK = 0x40_0000, 0x200_0000
"""include/linux/mm.h"""
_TLB_FLUSH_ALL: Final = (1 << 64) - 1


def dup_mmap(k: Core, image: MappedImage, mm: int, oldmm: int) -> int:
    """Copy the mappings of ``oldmm`` into ``mm``, which is new: 0 or a negative errno, as of an int.

    After an error ``mm`` has a part of them, for mmput().
    """
    if (whole := image.get("dup_mmap")) is not None:
        return signed(k.cpu.call(whole, mm, oldmm), 4)
    return _Copy(k, image, mm, oldmm).run()


class _Copy:
    """One copy of an mm's mappings."""

    def __init__(self, k: Core, image: MappedImage, mm: int, oldmm: int) -> None:
        self._k = k
        self._image = image
        self._mm = mm
        self._oldmm = oldmm

    def run(self) -> int:
        """Copy all, with both mmap_locks held for writing."""
        k = self._k
        lock = k.types.offset("mm_struct", "mmap_lock")
        userfaults = k.slab.kernel_object(16)
        init_list_head(k.memory, userfaults)
        for mm in (self._oldmm, self._mm):
            self._call("down_write", mm + lock)
        try:
            return self._copy_all(userfaults)
        finally:
            for mm in (self._mm, self._oldmm):
                self._call("up_write", mm + lock)
            self._call("dup_userfaultfd_complete", userfaults)
            k.slab.kfree(userfaults)

    def _copy_all(self, userfaults: int) -> int:
        exe_file = self._k.memory.u64(self._oldmm + self._k.types.offset("mm_struct", "exe_file"))
        self._call("set_mm_exe_file", self._mm, exe_file)
        try:
            for vma in self._mappings():
                if not self._flags(vma) & VM_DONTCOPY and (error := self._copy(vma, userfaults)):
                    return error
            return self._call("ldt_dup_context", self._oldmm, self._mm)  # arch_dup_mmap()
        finally:  # pages that both have are read-only now
            self._call("flush_tlb_mm_range", self._oldmm, 0, _TLB_FLUSH_ALL, 0, 1)

    def _mappings(self) -> Iterator[int]:
        """The struct vm_area_struct of ``oldmm``, by address."""
        end = 0
        while vma := self._k.cpu.call(self._image.address("find_vma"), self._oldmm, end):
            end = self._get(vma, "vm_end")
            yield vma

    def _copy(self, vma: int, userfaults: int) -> int:
        k = self._k
        if not (new := k.cpu.call(self._image.address("vm_area_dup"), vma)):
            return -ENOMEM
        flags = self._flags(vma)
        self._set(new, "vm_mm", self._mm)
        self._set(new, "vm_flags", flags & ~(VM_LOCKED | VM_LOCKONFAULT))
        for member in ("anon_vma", "vm_policy"):  # each gets one of its own below
            self._set(new, member, 0)
        if flags & VM_HUGETLB:
            self._call(self._first("hugetlb_dup_vma_private", "reset_vma_resv_huge_pages"), new)
        error = self._call("dup_userfaultfd", new, userfaults)
        if error := error or self._call("insert_vm_struct", self._mm, new):
            self._call("vm_area_free", new)
            return error
        self._set(new, "vm_pgoff", self._get(vma, "vm_pgoff"))  # mremap() may have moved the pages
        self._open(new)
        pages = (self._get(vma, "vm_end") - self._get(vma, "vm_start")) // PAGE_SIZE
        self._call("vm_stat_account", self._mm, self._flags(new), pages)
        if error := self._call("vma_dup_policy", vma, new):
            return error
        if flags & VM_WIPEONFORK:
            return 0
        return self._call("anon_vma_fork", new, vma) or self._call("copy_page_range", new, vma)

    def _open(self, vma: int) -> None:
        """Have a mapping count as a user of its file and of what its driver has."""
        k = self._k
        if file := self._get(vma, "vm_file"):
            count = "f_count" if k.types.has("file", "f_count") else "f_ref"  # since v6.13
            at = file + k.types.offset("file", count)
            k.memory.set_u64(at, k.memory.u64(at) + 1)
        if not (operations := self._get(vma, "vm_ops")):
            return
        opened = k.memory.u64(operations + k.types.offset("vm_operations_struct", "open"))
        if opened:
            k.cpu.call(opened, vma)

    def _first(self, *names: str) -> str:
        return next((name for name in names if self._image.get(name) is not None), names[0])

    def _call(self, function: str, *arguments: int) -> int:
        return signed(self._k.cpu.call(self._image.address(function), *arguments), 4)

    def _flags(self, vma: int) -> int:
        return self._get(vma, "vm_flags")

    def _get(self, vma: int, member: str) -> int:
        return self._k.memory.u64(vma + self._k.types.offset("vm_area_struct", member))

    def _set(self, vma: int, member: str, value: int) -> None:
        self._k.memory.set_u64(vma + self._k.types.offset("vm_area_struct", member), value)
