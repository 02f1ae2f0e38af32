"""Page faults at user addresses: do_user_addr_fault() of arch/x86/mm/fault.c.

The image's own handle_mm_fault() brings the page in, and may call a module's ``vm_ops->fault`` for it. That a
page cannot be had is decided here, so that the kernel's code continues at its fixup, or there is an oops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.mm.switch import mm_of
from ukmod.machine.memory import USER_HALF

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

VM_READ, VM_WRITE, VM_EXEC = 1 << 0, 1 << 1, 1 << 2
"""include/linux/mm.h"""
FLAG_WRITE, FLAG_ALLOW_RETRY, FLAG_KILLABLE, FLAG_TRIED, FLAG_INSTRUCTION, FLAG_INTERRUPTIBLE = (
    1 << 0, 1 << 2, 1 << 4, 1 << 5, 1 << 8, 1 << 9,
)  # fmt: skip
"""enum fault_flag, include/linux/mm_types.h."""
_ERROR: Final = 0x873
"""VM_FAULT_ERROR: OOM, SIGBUS, HWPOISON, HWPOISON_LARGE, SIGSEGV and FALLBACK, of enum vm_fault_reason."""
_RETRY, _COMPLETED = 0x400, 0x4000


def user_fault(k: Core, address: int, *, write: bool, fetch: bool = False, present: bool = False) -> bool:
    """Bring in the page at a user address of the current process; False if the access is not allowed."""
    task, image = k.sched.current, k.image
    if image is None or task is None or not task.root or address >= USER_HALF or k.sched.in_interrupt:
        return False
    if _disabled(k, task.address):
        return False
    mm = mm_of(k, task)
    if mm < USER_HALF:  # it is NULL, or a module has written over the task: to look there is to fault again
        return False
    flags = FLAG_ALLOW_RETRY | FLAG_KILLABLE | FLAG_INTERRUPTIBLE
    flags |= (FLAG_WRITE if write else 0) | (FLAG_INSTRUCTION if fetch else 0)
    while vma := _locked_vma(k, image, mm, address):
        allowed = k.memory.u64(vma + k.types.offset("vm_area_struct", "vm_flags"))
        if not _is_allowed(allowed, write=write, fetch=fetch, present=present):
            _unlock(k, image, mm)
            return False
        result = k.cpu.call(image.address("handle_mm_fault"), vma, address, flags, 0)
        if result & _COMPLETED:
            return True
        if not result & _RETRY:
            _unlock(k, image, mm)
            return not result & _ERROR
        if k.signals.of(task).fatal:
            return False
        flags |= FLAG_TRIED
    return False


def _disabled(k: Core, task: int) -> bool:
    """faulthandler_disabled(): pagefault_disable() or atomic context, where a fault cannot sleep."""
    disabled = k.types.has("task_struct", "pagefault_disabled") and k.memory.u32(
        task + k.types.offset("task_struct", "pagefault_disabled")
    )
    return bool(disabled) or k.percpu.preempt_count() > 0


def _is_allowed(flags: int, *, write: bool, fetch: bool, present: bool) -> bool:
    """!access_error(): True if the mapping permits the access."""
    if write:
        return bool(flags & VM_WRITE)
    return not present and bool(flags & (VM_EXEC if fetch else VM_READ | VM_WRITE | VM_EXEC))


def _locked_vma(k: Core, image: MappedImage, mm: int, address: int) -> int:
    """lock_mm_and_find_vma(): the vma of an address, with the lock held for reading; 0 without the lock."""
    if (find := image.get("lock_mm_and_find_vma")) is not None:  # since v6.5, and in stable kernels
        return k.cpu.call(find, mm, address, 0)
    k.cpu.call(image.address("down_read"), _lock(k, mm))
    vma = k.cpu.call(image.address("find_vma"), mm, address)
    if vma and address < k.memory.u64(vma + k.types.offset("vm_area_struct", "vm_start")):
        grows = k.memory.u64(vma + k.types.offset("vm_area_struct", "vm_flags")) & _VM_GROWSDOWN
        if not grows or k.cpu.call(image.address("expand_stack"), vma, address):
            vma = 0
    if not vma:
        _unlock(k, image, mm)
    return vma


_VM_GROWSDOWN: Final = 1 << 8


def _lock(k: Core, mm: int) -> int:
    return mm + k.types.offset("mm_struct", "mmap_lock")


def _unlock(k: Core, image: MappedImage, mm: int) -> None:
    """mmap_read_unlock(), of the image's own locks: those of PREEMPT_RT are not Python's."""
    k.cpu.call(image.address("up_read"), _lock(k, mm))
