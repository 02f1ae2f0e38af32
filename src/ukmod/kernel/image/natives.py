"""Exported functions of an image that Python ought to replace: its neighbours are Python's, and it is not.

A file of the kernel becomes one piece of an image's text. Python keeps the state of many files, such as
kernel/workqueue.c; a function of such a file that stays the image's own would look for that state in vain.
Each of them is either replaced, or harmless for a reason that ``LEFT_NATIVE`` gives. One that is neither is
new in this kernel.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.image import internal
from ukmod.machine.types.layout import Kind

if TYPE_CHECKING:
    from ukmod.kernel.image.interpose import Replacement
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.types.types import Types

KEPT: Final = frozenset(
    """
    work_struct delayed_work rcu_work workqueue_struct timer_list hrtimer hrtimer_sleeper irq_work
    wait_queue_head wait_queue_entry wait_bit_queue_entry swait_queue_head swait_queue completion
    mutex rw_semaphore semaphore tasklet_struct kthread_worker kthread_work kthread_delayed_work
    callback_head srcu_struct task_struct pid module kmem_cache async_domain
    atomic_notifier_head blocking_notifier_head raw_notifier_head srcu_notifier_head
    """.split()  # noqa: SIM905 - the table is easier to read, and to add to, as text
)
"""Structs of which Python keeps the state, or a part of it."""
_BETWEEN: Final = 6000
"""The greatest distance in bytes of two functions of one file, here: the files' edges have no marks."""
_BESIDE: Final = 4096
"""The same of a function that takes a struct and a replaced one that takes the same struct."""

_GENERATED: Final = ("__SCT__", "__SCK__", "__traceiter_")
"""How names begin of a static call, its key, and the function that calls a tracepoint's probes."""

LEFT_NATIVE: Final[dict[str, str]] = {
    name: reason
    for reason, names in {
        "it only calls functions that are replaced": """
            async_unregister_domain mutex_trylock_recursive kill_cad_pid nmi_panic kvmemdup vcalloc __vcalloc
            vmalloc_array __vmalloc_array vma_alloc_folio_noprof free_contig_range free_vm_area
            page_frag_alloc_align page_frag_free __page_frag_cache_drain
            __cond_resched_lock __cond_resched_rwlock_read __cond_resched_rwlock_write woken_wake_bit_function
            sched_autogroup_create_attach sched_autogroup_detach wakeme_after_rcu finish_rcuwait __wait_rcu_gp
            free_reserved_page put_devmap_managed_page free_task""",
        "its state is in guest memory alone": """
            add_wait_queue_priority_exclusive ww_mutex_lock ww_mutex_lock_interruptible rt_mutex_unlock
            task_work_add task_active_pid_ns get_task_mm get_task_exe_file folio_mapped folio_mapping
            page_mapped __page_mapcount account_locked_vm module_layout kmsg_dump_unregister
            regset_get regset_get_alloc srcu_drive_gp hrtimer_update_function
            _local_interrupt_enable _local_interrupt_save_state
            kmsg_dump_register kmsg_dump_rewind kmsg_dump_get_line __printk_cpu_sync_put
            cpufreq_add_update_util_hook cpufreq_remove_update_util_hook can_nice vma_set_file
            register_random_vmfork_notifier unregister_random_vmfork_notifier
            __rcu_read_lock __rcu_read_unlock""",
        "it feeds or asks an entropy pool that Python does not need": """
            add_disk_randomness add_hwgenerator_randomness add_input_randomness add_interrupt_randomness
            random_get_entropy_fallback""",
        "it only counts or sets numbers that nothing here depends on": """
            adjust_managed_page_count si_meminfo vm_memory_committed rcu_async_hurry rcu_async_relax
            rcu_async_should_hurry rcu_expedite_gp rcu_unexpedite_gp rcu_inkernel_boot_has_ended
            rcu_jiffies_till_stall_check rcu_exp_jiffies_till_stall_check rcu_get_jiffies_lazy_flush
            rcu_set_jiffies_lazy_flush rcu_bind_current_to_nocb rcu_momentary_eqs rcu_momentary_dyntick_idle
            rcu_force_quiescent_state rcu_read_unlock_strict rcu_all_qs rcu_nocb_cpu_offload
            rcu_nocb_cpu_deoffload rcu_nocb_flush_deferred_wakeup housekeeping_enabled housekeeping_any_cpu
            housekeeping_affine housekeeping_cpumask housekeeping_test_cpu sched_numa_find_nth_cpu
            sched_clock_cpu sched_clock_idle_sleep_event __srcu_check_read_flavor rcu_tasks_trace_qs_blkd
            rcu_trc_cmpxchg_need_qs irq_work_run kmem_cache_charge""",
        "only rcutorture, which tests RCU's own insides, calls it": """
            do_trace_rcu_torture_read rcu_check_boost_fail rcu_gp_slow_register rcu_gp_slow_unregister
            rcutorture_get_gp_data rcutorture_format_gp_seqs show_rcu_gp_kthreads
            srcutorture_get_gp_data srcu_torture_stats_print show_rcu_tasks_classic_gp_kthread""",
        "no device measures the time": """
            get_device_system_crosststamp ktime_real_to_base_clock timekeeping_clocksource_has_base
            pvclock_gtod_register_notifier pvclock_gtod_unregister_notifier""",
        "there is one CPU": "kick_process rcu_lockdep_current_cpu_online",
        "consoles are the image's own": """
            console_start console_stop console_resume console_force_preferred_locked
            match_devname_and_update_preferred_console kmsg_dump_get_buffer""",
        "functions are hooked by name, one by one: none has to be left out": """
            ftrace_set_notrace ftrace_set_global_filter ftrace_set_global_notrace
            ftrace_ops_set_global_filter""",
        "it describes an object only to a person": "kmem_dump_obj mem_dump_obj sched_show_task",
        "it maps pages of devices, and there are none": "vmap_pfn",
    }.items()
    for name in names.split()
}
"""Exported functions that stay the image's own among functions that do not, and why that is harmless."""


def unclaimed(image: KernelImage, types: Types, replaced: tuple[Replacement, ...]) -> dict[str, str]:
    """The exported functions that lie among replaced ones and are not Python's, each with a neighbour."""
    ours = {function.name for function in replaced} | kernel_functions().keys()
    places = sorted(_places(image, replaced))
    taking = _by_struct(image, types, replaced)
    found = {}
    for name in image.exports:
        at = image.address(name)
        if name in ours or at is None or name.startswith(_GENERATED):
            continue
        neighbour = _between(places, at) or _beside(taking, _structs(types, name), at)
        if neighbour:
            found[name] = neighbour
    return found


def _places(image: KernelImage, replaced: tuple[Replacement, ...]) -> Iterator[tuple[int, str, str]]:
    """The address, the Python file and the name of each replaced function that is Python's counterpart."""
    for replacement in replaced:
        function, at = replacement.function, image.address(replacement.name)
        if function is not None and at is not None and not function.__module__.startswith(internal.__name__):
            yield at, function.__module__, replacement.name


def _between(places: list[tuple[int, str, str]], at: int) -> str:
    """The replaced function before ``at`` if that and the next one are of one file; else an empty string."""
    index = bisect(places, (at, "", ""))
    if not 0 < index < len(places):
        return ""
    (start, file, name), (end, other, _) = places[index - 1], places[index]
    return name if file == other and end - start < _BETWEEN else ""


def _by_struct(
    image: KernelImage, types: Types, replaced: tuple[Replacement, ...]
) -> dict[str, list[tuple[int, str]]]:
    """The addresses and names of replaced functions that take a struct, by the struct's name."""
    found: dict[str, list[tuple[int, str]]] = {}
    for at, _, name in _places(image, replaced):
        for struct in _structs(types, name):
            found.setdefault(struct, []).append((at, name))
    return found


def _beside(taking: dict[str, list[tuple[int, str]]], structs: frozenset[str], at: int) -> str:
    """A replaced function near ``at`` that takes one of the structs; or an empty string."""
    near = ((abs(place - at), name) for struct in structs for place, name in taking.get(struct, ()))
    distance, name = min(near, default=(_BESIDE, ""))
    return name if distance < _BESIDE else ""


def _structs(types: Types, function: str) -> frozenset[str]:
    """The structs of ``KEPT`` to which a function's parameters point."""
    prototype = types.prototype(function)
    if prototype is None:
        return frozenset()
    targets = (
        parameter.type.target for parameter in prototype.parameters if parameter.type.kind is Kind.POINTER
    )
    return KEPT & {target.name for target in targets if target is not None}
