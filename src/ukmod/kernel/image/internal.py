"""Replacements for internal functions of a kernel image, most of which no module can call.

They are the functions through which the image would touch state kept in Python (page and vmalloc allocators,
scheduler, workqueues, RCU) or absent hardware. Each replaces the C function of its name; a name that an image
lacks is ignored.
"""

from __future__ import annotations

from errno import EAGAIN, EBUSY, EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.image.firmware import BIOS
from ukmod.kernel.lib.list import list_entries
from ukmod.kernel.mm.page_alloc import alloc_pages
from ukmod.kernel.mm.switch import count_pages, mm_of, set_mm, use_mm
from ukmod.kernel.mm.vmalloc import VM_USERMAP, vmalloc_to_page
from ukmod.kernel.rcu.rcu import call_rcu, synchronize_rcu
from ukmod.kernel.sched.core import MAX_SCHEDULE_TIMEOUT
from ukmod.kernel.workqueue.api import DelayedWork
from ukmod.kernel.workqueue.work import GuestWork
from ukmod.machine.abi import Bool, GfpT, Int, Long, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import LOW_MEMORY, NX, PAGE_OFFSET, PAGE_SIZE, WRITE, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_ON_RAM: Final = Site("arch/x86/mm/ioremap.c", 211, "__ioremap_caller")
_USE_MM: Final = tuple(Site("kernel/kthread.c", line, "kthread_use_mm") for line in (1420, 1421))
_UNUSE_MM: Final = tuple(Site("kernel/kthread.c", line, "kthread_unuse_mm") for line in (1464, 1465))
_VM_DONTEXPAND, _VM_DONTDUMP = 0x4_0000, 0x400_0000
"""include/linux/mm.h"""
_NO_DEVICE: Final = 0xFF
"""The byte that a bus returns if no device answers."""


# -- text -----------------------------------------------------------------------------------------------


def _poke(k: Core, address: int, opcode: int, length: int) -> None:
    k.memory.write(address, k.memory.read(opcode, length), force=True)
    k.cpu.flush_icache(address, length)


@export("text_poke", "text_poke_kgdb", "text_poke_copy", "text_poke_copy_locked")
def text_poke(k: Core, address: Ptr, opcode: Ptr, length: SizeT) -> Ptr:
    """void *text_poke(void *addr, const void *opcode, size_t len)."""
    _poke(k, address, opcode, length)
    return address


@export()
def text_poke_set(k: Core, address: Ptr, byte: Int, length: SizeT) -> Ptr:
    """void *text_poke_set(void *addr, int c, size_t len)."""
    k.memory.fill(address, byte & 0xFF, length, force=True)
    k.cpu.flush_icache(address, length)
    return address


@export("text_poke_bp", "text_poke_queue", "text_poke_early", "smp_text_poke_single",
        "smp_text_poke_batch_add")  # fmt: skip
def text_poke_bp(k: Core, address: Ptr, opcode: Ptr, length: SizeT) -> None:
    """void text_poke_bp(void *addr, const void *opcode, size_t len[, const void *emulate]).

    Since v6.16 they are named after all CPUs, which have to agree.
    """
    _poke(k, address, opcode, length)


@export("text_poke_finish", "text_poke_sync", "smp_text_poke_batch_finish", "smp_text_poke_sync_each_cpu")
def text_poke_finish(k: Core) -> None:
    """void text_poke_finish(void)."""
    del k


@export("__module_text_address")
def module_text_address(k: Core, address: ULong) -> Ptr:
    """struct module *__module_text_address(unsigned long addr)."""
    module = k.modules.of_code(address)
    return module.address if module is not None and not k.memory.prot(address) & NX else 0


@export()
def is_module_text_address(k: Core, address: ULong) -> Bool:
    """bool is_module_text_address(unsigned long addr)."""
    return bool(module_text_address(k, address))


@export()
def is_module_address(k: Core, address: ULong) -> Bool:
    """bool is_module_address(unsigned long addr)."""
    return k.modules.of_code(address) is not None


@export()
def stack_trace_save_tsk_reliable(k: Core, task: Ptr, store: Ptr, size: UInt) -> Int:
    """int stack_trace_save_tsk_reliable(struct task_struct *, unsigned long *store, unsigned int size).

    Tasks are switched only where they call the kernel, and its functions are Python's: no stack is in the way
    of a live patch.
    """
    del k, task, store, size
    return 0


# -- time -----------------------------------------------------------------------------------------------


@export("mach_get_cmos_time")
def mach_get_cmos_time(k: Core, now: Ptr) -> None:
    """void mach_get_cmos_time(struct timespec64 *now): 0, as there is no clock to ask.

    v5.10 would wait for ever until an absent clock has finished its update.
    """
    k.memory.write(now, bytes(k.types.sizeof("timespec64")))


# -- one CPU, and Python's tasks ------------------------------------------------------------------------


@export("stop_machine", "stop_machine_cpuslocked")
def stop_machine(k: Core, function: Ptr, data: Ptr, cpus: Ptr) -> Int:
    """int stop_machine(cpu_stop_fn_t fn, void *data, const struct cpumask *cpus): there is only one CPU."""
    del cpus
    return k.cpu.call(function, data)


@export("stop_one_cpu")
def stop_one_cpu(k: Core, cpu: UInt, function: Ptr, data: Ptr) -> Int:
    """int stop_one_cpu(unsigned int cpu, cpu_stop_fn_t fn, void *arg)."""
    del cpu
    return k.cpu.call(function, data)


@export("try_to_wake_up")
def try_to_wake_up(k: Core, task: Ptr, state: UInt, flags: Int) -> Int:
    """int try_to_wake_up(struct task_struct *p, unsigned int state, int wake_flags)."""
    del flags
    return k.sched.wake(k.tasks.at(task), state)


@export("io_schedule", "schedule_preempt_disabled", "schedule_rtlock", "rt_mutex_schedule")
def io_schedule(k: Core) -> None:
    """void io_schedule(void)."""
    count = k.percpu.preempt_count()
    k.percpu.set_preempt(0)
    k.sched.schedule()
    k.percpu.set_preempt(count)


@export()
def do_sched_yield(k: Core) -> None:
    """static void do_sched_yield(void): sched_yield(2)."""
    k.sched.schedule()


@export()
def io_schedule_timeout(k: Core, timeout: Long) -> Long:
    """long io_schedule_timeout(long timeout)."""
    return k.sched.schedule_timeout(min(max(timeout, 0), MAX_SCHEDULE_TIMEOUT))


@export("set_cpus_allowed_ptr", "sched_setscheduler", "sched_setscheduler_nocheck", "sched_setattr",
        "sched_setattr_nocheck", "smpboot_register_percpu_thread", "set_cpus_allowed_common",
        "apply_workqueue_attrs", "workqueue_sysfs_register", "workqueue_set_unbound_cpumask",
        "kthread_blkcg", "kthread_associate_blkcg", "kthread_affine_preferred", "yield_to",
        "smpboot_unregister_percpu_thread", "sched_exec",
        "numa_set_distance", "set_memory_uc", "set_memory_wc", "set_memory_wb",
        "set_pages_uc", "set_pages_wb", "set_pages_array_uc", "set_pages_array_wc", "set_pages_array_wb",
        "set_direct_map_invalid_noflush", "set_direct_map_default_noflush")  # fmt: skip
def nothing_to_do(k: Core) -> Int:
    """Return 0 where CPUs, priorities, caching attributes or accounting would be set: they have no effect."""
    del k
    return 0


@export("kernel_thread", "user_mode_thread", "create_io_thread")
def kernel_thread(k: Core) -> Long:
    """pid_t kernel_thread(int (*fn)(void *), void *arg, ...): fails, as tasks are created by Python."""
    del k
    return -EAGAIN


@export()
def kernel_clone(k: Core, arguments: Ptr) -> Long:
    """pid_t kernel_clone(struct kernel_clone_args *args): fails, except for programs in ring 3."""
    thread = k.sched.task().thread
    if thread is None or k.image is None:
        return -EAGAIN
    from ukmod.kernel.user.fork import clone

    return clone(k, k.image, thread, arguments)


@export()
def kernel_wait4(k: Core, pid: Int, status: Ptr, options: Int, usage: Ptr) -> Long:
    """long kernel_wait4(pid_t upid, int __user *stat_addr, int options, struct rusage *ru)."""
    from ukmod.kernel.user.fork import wait4

    _no_usage(k, usage)
    return wait4(k, k.sched.task().thread, pid, status, options)


@export()
def kernel_waitid(k: Core, which: Int, pid: Int, info: Ptr, options: Int, usage: Ptr) -> Long:
    """long kernel_waitid(int which, pid_t upid, struct waitid_info *, int options, struct rusage *ru)."""
    from ukmod.kernel.user.fork import waitid

    _no_usage(k, usage)
    return waitid(k, k.sched.task().thread, which, pid, info, options)


def _no_usage(k: Core, usage: int) -> None:
    if usage:
        k.memory.write(usage, bytes(k.types.sizeof("rusage")))


@export()
def wq_worker_comm(k: Core, buffer: Ptr, size: SizeT, task: Ptr) -> None:
    """void wq_worker_comm(char *buf, size_t size, struct task_struct *task): a worker's comm, as in /proc."""
    name = k.tasks.comm(k.tasks.at(task)).encode("latin-1")[: size - 1]
    k.memory.write(buffer, name + b"\0")


# -- signals --------------------------------------------------------------------------------------------


@export()
def do_send_sig_info(k: Core, signal: Int, info: Ptr, task: Ptr, kind: UInt) -> Int:
    """int do_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *p, enum pid_type)."""
    del kind
    return k.signals.send_info(k.tasks.at(task), signal, info)


@export("__send_signal_locked", "__send_signal")
def send_signal_locked(k: Core, signal: Int, info: Ptr, task: Ptr, kind: UInt, force: Bool) -> Int:
    """int __send_signal_locked(int sig, siginfo *, struct task_struct *, enum pid_type, bool force).

    Whether a signal is forced follows from its siginfo.
    """
    del kind, force
    return k.signals.send_info(k.tasks.at(task), signal, info)


# -- address spaces -------------------------------------------------------------------------------------


@export("flush_tlb_mm_range")
def flush_tlb_mm_range(k: Core) -> None:
    """void flush_tlb_mm_range(struct mm_struct *mm, unsigned long start, unsigned long end, ...)."""
    k.cpu.flush_tlb()


@export("switch_mm", "switch_mm_irqs_off")
def switch_mm_irqs_off(k: Core, before: Ptr, after: Ptr, task: Ptr) -> None:
    """void switch_mm_irqs_off(struct mm_struct *prev, struct mm_struct *next, struct task_struct *tsk)."""
    del before, task
    use_mm(k, k.sched.task(), after)


@export()
def enter_lazy_tlb(k: Core, mm: Ptr, task: Ptr) -> None:
    """void enter_lazy_tlb(struct mm_struct *mm, struct task_struct *tsk): it has no mm of its own."""
    del mm
    use_mm(k, k.tasks.at(task), 0)


@export()
def kthread_use_mm(k: Core, mm: Ptr) -> None:
    """void kthread_use_mm(struct mm_struct *mm).

    The image's own would drop a reference to init_mm, which its scheduler would have taken.
    """
    task = k.sched.task()
    for site, is_wrong in zip(_USE_MM, (not task.is_kthread, bool(mm_of(k, task))), strict=True):
        if is_wrong:
            warn_once(k, site)
    count = mm + k.types.offset("mm_struct", "mm_count")
    k.memory.set_u32(count, k.memory.u32(count) + 1)
    set_mm(k, task, mm)


@export()
def kthread_unuse_mm(k: Core, mm: Ptr) -> None:
    """void kthread_unuse_mm(struct mm_struct *mm)."""
    task = k.sched.task()
    for site, is_wrong in zip(_UNUSE_MM, (not task.is_kthread, not mm_of(k, task)), strict=True):
        if is_wrong:
            warn_once(k, site)
    count_pages(k, mm)
    set_mm(k, task, 0)
    count = mm + k.types.offset("mm_struct", "mm_count")
    left = k.memory.u32(count) - 1
    k.memory.set_u32(count, left & 0xFFFF_FFFF)
    if not left and k.image is not None:
        k.cpu.call(k.image.address("__mmdrop"), mm)


# -- softirqs -------------------------------------------------------------------------------------------


@export("raise_softirq", "raise_softirq_irqoff", "__raise_softirq_irqoff")
def raise_softirq(k: Core, number: UInt) -> None:
    """void raise_softirq(unsigned int nr)."""
    if k.image is not None and (vector := k.image.get("softirq_vec")) is not None and number < 10:
        at = vector + 8 * number
        k.softirqs.raise_(number, lambda: k.memory.u64(at) and k.cpu.call(k.memory.u64(at), at))


# -- memory ---------------------------------------------------------------------------------------------


@export()
def module_alloc(k: Core, size: ULong) -> Ptr:
    """void *module_alloc(unsigned long size): also used for BPF programs and probes."""
    return k.module_area.alloc(size)


@export("execmem_alloc", "execmem_alloc_rw")
def execmem_alloc(k: Core, kind: UInt, size: SizeT) -> Ptr:
    """void *execmem_alloc(enum execmem_type type, size_t size): replaced module_alloc() in v6.10.

    The slots of kprobes are read-only and executable from the beginning: nothing makes them so later (v6.16).
    """
    address = k.module_area.alloc(size)
    if address and kind == k.types.enum("execmem_type").values.get("EXECMEM_KPROBES"):
        _protect(k, address, page_align(size) // PAGE_SIZE, remove=WRITE | NX)
    return address


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
    """void module_memfree(void *module_region)."""
    if address:
        k.module_area.free(address)


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


@export("memblock_alloc_try_nid", "memblock_alloc_try_nid_raw")
def memblock_alloc(k: Core, size: SizeT) -> Ptr:
    """void *memblock_alloc_try_nid(phys_addr_t size, ...): uses the normal allocator, which is already up."""
    return k.slab.kernel_object(size)


@export("free_frozen_pages", "__free_frozen_pages", "__free_pages_ok")
def free_pages_ok(k: Core, page: Ptr, order: UInt) -> None:
    """void free_frozen_pages(struct page *page, unsigned int order, ...): pages without references."""
    k.pages.free(k.pages.frame_of(page), 1 << order)


@export(adapts=True)
def free_unref_page(k: Core, page: Ptr, order: UInt) -> None:
    """void free_unref_page(struct page *page[, unsigned int order]): one page until v5.13."""
    prototype = k.types.prototype("free_unref_page")
    single = prototype is not None and len(prototype.parameters) == 1
    free_pages_ok(k, page, 0 if single else order)


@export()
def free_unref_page_list(k: Core, head: Ptr) -> None:
    """void free_unref_page_list(struct list_head *list): free pages without references."""
    offset = k.types.offset("page", "lru")
    for entry in list(list_entries(k.memory, head)):
        k.pages.free_folio(entry - offset)
    k.memory.set_u64(head, head)
    k.memory.set_u64(head + 8, head)


@export()
def free_unref_folios(k: Core, batch: Ptr) -> None:
    """void free_unref_folios(struct folio_batch *folios): replaced free_unref_page_list() in v6.10."""
    count = batch + k.types.offset("folio_batch", "nr")
    first = batch + k.types.offset("folio_batch", "folios")
    for n in range(k.memory.read(count, 1)[0]):
        k.pages.free_folio(k.memory.u64(first + 8 * n))
    k.memory.write(count, b"\0")


@export("__ksize")
def ksize(k: Core, address: Ptr) -> SizeT:
    """size_t __ksize(const void *object): struct pages are not marked as the slab allocator's here."""
    return k.slab.ksize(address)


@export()
def free_resource(k: Core, resource: Ptr) -> None:
    """static void free_resource(struct resource *res): struct pages are not marked here either."""
    if k.slab.object_at(resource) is not None:
        k.slab.kfree(resource)


@export("__alloc_pages_bulk", "alloc_pages_bulk_array_mempolicy", "alloc_pages_bulk_noprof",
        "alloc_pages_bulk_array_mempolicy_noprof", "alloc_pages_bulk_mempolicy_noprof")  # fmt: skip
def alloc_pages_bulk(k: Core) -> ULong:
    """unsigned long __alloc_pages_bulk(...): 0 pages, so that callers allocate them singly."""
    del k
    return 0


@export("alloc_contig_range", "alloc_contig_range_noprof")
def alloc_contig_range(k: Core) -> Int:
    """int alloc_contig_range(unsigned long start, unsigned long end, ...): no page is ever migrated."""
    del k
    return -EBUSY


@export()
def validate_slab_cache(k: Core, cache: Ptr) -> Long:
    """long validate_slab_cache(struct kmem_cache *s): the number of damaged objects, which are reported."""
    del cache
    return len(k.reports)


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


@export("__alloc_frozen_pages_noprof")
def alloc_frozen_pages_node(k: Core, gfp: GfpT, order: UInt, node: Int, nodes: Ptr) -> Ptr:
    """struct page *__alloc_frozen_pages_noprof(gfp_t gfp, unsigned int order, int nid, nodemask_t *)."""
    del node, nodes
    return alloc_frozen_pages(k, gfp, order)


@export("alloc_frozen_pages_noprof")
def alloc_frozen_pages(k: Core, gfp: GfpT, order: UInt) -> Ptr:
    """struct page *alloc_frozen_pages_noprof(gfp_t gfp, unsigned int order): pages without a reference."""
    if page := alloc_pages(k, gfp, order):
        k.pages.freeze(page)
    return page


@export("alloc_frozen_pages_nolock_noprof")
def alloc_frozen_pages_nolock(k: Core, gfp: GfpT, node: Int, order: UInt) -> Ptr:
    """struct page *alloc_frozen_pages_nolock_noprof(gfp_t gfp_flags, int nid, unsigned int order)."""
    del node
    return alloc_frozen_pages(k, gfp, order)


def _empty_memory(k: Core, physical: int, size: int) -> int:
    """Pages that read like memory without a device."""
    if not 0 < size <= k.memory.size:
        return 0
    size = page_align((physical & PAGE_SIZE - 1) + size)
    if not (address := k.vmalloc.alloc(size)):
        return 0
    k.memory.fill(address, _NO_DEVICE, size)
    return address + (physical & PAGE_SIZE - 1)


def _is_firmware_table(k: Core, physical: int) -> bool:
    return BIOS <= physical < LOW_MEMORY or (k.image is not None and physical in k.image.firmware)


@export("memremap", "early_ioremap", "early_memremap")
def memremap(k: Core, physical: ULong, size: ULong) -> Ptr:
    """void *memremap(resource_size_t offset, size_t size, ...): the firmware's tables, or empty memory."""
    if _is_firmware_table(k, physical):
        return PAGE_OFFSET + physical
    return _empty_memory(k, physical, size)


@export("ioremap", "ioremap_wc", "ioremap_wt", "ioremap_uc", "ioremap_cache", "ioremap_prot",
        "ioremap_encrypted")  # fmt: skip
def ioremap(k: Core, physical: ULong, size: ULong) -> Ptr:
    """void __iomem *ioremap(resource_size_t phys_addr, unsigned long size): no device answers there.

    RAM may not be mapped with it, except for ACPI's tables.
    """
    if _is_firmware_table(k, physical):
        return PAGE_OFFSET + physical
    if LOW_MEMORY <= physical < k.memory.size and size:
        warn_once(k, _ON_RAM, f"ioremap on RAM at {physical:#018x} - {physical + size - 1:#018x}\n")
        return 0
    return _empty_memory(k, physical, size)


@export("iounmap", "memunmap", "early_iounmap", "early_memunmap")
def iounmap(k: Core, address: Ptr) -> None:
    """void iounmap(volatile void __iomem *addr)."""
    if k.vmalloc.contains(address):
        k.vmalloc.free(address & -PAGE_SIZE)


# -- deferred work --------------------------------------------------------------------------------------


@export("__queue_work")
def queue_work(k: Core, cpu: Int, wq: Ptr, work: Ptr) -> None:
    """void __queue_work(int cpu, struct workqueue_struct *wq, struct work_struct *work)."""
    del cpu
    k.workqueues.insert(k.workqueues.at(wq), GuestWork(k, work))


@export("__flush_work")
def flush_work(k: Core, work: Ptr, from_cancel: Bool) -> Bool:
    """bool __flush_work(struct work_struct *work, bool from_cancel)."""
    return k.workqueues.flush(GuestWork(k, work), cancel=from_cancel)


@export("__queue_delayed_work")
def queue_delayed_work(k: Core, cpu: Int, wq: Ptr, dwork: Ptr, delay: ULong) -> None:
    """void __queue_delayed_work(int cpu, wq, struct delayed_work *dwork, unsigned long delay)."""
    del cpu
    DelayedWork(k, dwork).start(k.workqueues.at(wq), delay)


@export("call_rcu_tasks", "call_rcu_tasks_rude", "call_rcu_tasks_trace", "call_rcu_hurry")
def call_rcu_tasks(k: Core, head: Ptr, function: Ptr) -> None:
    """void call_rcu_tasks(struct rcu_head *rhp, rcu_callback_t func)."""
    call_rcu(k, head, function)


@export("synchronize_rcu_tasks_rude", "synchronize_rcu_tasks_trace", "rcu_barrier_tasks",
        "rcu_barrier_tasks_rude", "rcu_barrier_tasks_trace", "kvfree_rcu_barrier", "__kvfree_rcu_barrier",
        "kvfree_rcu_barrier_on_cache")  # fmt: skip
def synchronize_rcu_tasks(k: Core) -> None:
    """void synchronize_rcu_tasks_rude(void)."""
    synchronize_rcu(k)
