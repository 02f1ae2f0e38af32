"""A task's address space, and the page tables that it runs on: load_new_mm_cr3() of arch/x86/mm/tlb.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.machine.memory import PAGE_OFFSET

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task


def use_mm(k: Core, task: Task, mm: int) -> None:
    """Have the current task run on the page tables of a struct mm_struct; 0 and init_mm are the kernel's."""
    is_own = mm and (k.image is None or mm != k.image.address("init_mm"))
    task.root = root_of(k, mm) if is_own else 0
    set_loaded_mm(k, mm)
    k.sched.switch_mm(task)


def root_of(k: Core, mm: int) -> int:
    """The physical address of an mm's page table."""
    return k.memory.u64(mm + k.types.offset("mm_struct", "pgd")) - PAGE_OFFSET


def set_loaded_mm(k: Core, mm: int) -> None:
    """Have the image know whose page tables are in use: nmi_uaccess_okay() asks for it."""
    if k.image is None or (state := k.image.get("cpu_tlbstate")) is None:
        return
    at = k.percpu.base + state + k.types.offset("tlb_state", "loaded_mm")
    k.memory.set_u64(at, mm or k.image.address("init_mm"))


def mm_of(k: Core, task: Task) -> int:
    """``task->mm``."""
    return k.memory.u64(task.address + k.types.offset("task_struct", "mm"))


def set_mm(k: Core, task: Task, mm: int) -> None:
    """Make ``mm`` the current task's address space, which the caller has taken; 0 for the kernel's."""
    at, active = (task.address + k.types.offset("task_struct", name) for name in ("mm", "active_mm"))
    k.memory.set_u64(at, mm)
    k.memory.set_u64(active, mm or (k.image.address("init_mm") if k.image is not None else 0))
    use_mm(k, task, mm)


def count_pages(k: Core, mm: int) -> None:
    """sync_mm_rss(): until v6.1, a task counts its pages by itself first."""
    if k.image is not None and (sync := k.image.get("sync_mm_rss")) is not None:
        k.cpu.call(sync, mm)
