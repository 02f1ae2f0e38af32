"""Initialising an image in memory so that modules can use it: init/main.c, one step at a time.

``STEPS`` lists the steps of start_kernel() and kernel_init_freeable(): those that run, those that this kernel
does instead, and those left out, each with its reason. The initcalls follow, in their order. Each step is a
call in a task of its own; if it faults, that is recorded and the next step runs.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import KernelPanic, LayoutError
from ukmod.kernel.image import firmware, hardware, trace_events
from ukmod.kernel.image.internal import printk_ringbuffer
from ukmod.kernel.image.interpose import interpose
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.image.preemption import default_model, model_name
from ukmod.kernel.image.runtime_const import limit_user_pointers
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.printk import Record
from ukmod.kernel.process_fs import enter_fs, unshare_fs
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.time.timekeeping import BOOT_TIME
from ukmod.kernel.x86.tsc import wire_image
from ukmod.machine.memory import PAGE_SHIFT
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

BOOT_SECONDS: Final = 10
"""Seconds before time 0 at which the image is brought up.

Modules then see time begin as it does without an image, and work and timers that the initialisation started
have finished by then.
"""
LSM_ORDER: Final = b"capability,landlock,yama"
"""lsm=: a kernel ignores names that it does not know.

The other LSMs need a policy from user space, and blobs in tasks.
"""
_STEP_PATIENCE: Final = 60.0
"""The maximum duration of a step in virtual seconds."""
CPUMASK_BYTES: Final = 8192 // 8
"""The greatest CONFIG_NR_CPUS of any kernel, in bytes of a CPU mask."""
EVENT_CACHES: Final = {"field_cachep": "ftrace_event_field", "file_cachep": "trace_event_file"}
"""The caches of a module's own events, which event_trace_memsetup(), a part of trace_init(), makes."""
NR_NODE_STATES: Final = 6
"""include/linux/nodemask.h, without CONFIG_HIGHMEM."""


class How(Enum):
    """How a step of the kernel's own initialisation is handled."""

    RUN = "run"
    OURS = "done by this kernel"
    LEFT_OUT = "left out"


@record
class BootStep:
    """One function of start_kernel() or kernel_init_freeable(). ``reason`` says why it is not simply run."""

    name: str
    how: How = How.RUN
    reason: str = ""
    argument: str = ""
    """The variable of the image whose address is its argument."""
    unless: str = ""
    """The function that contains this step; the step is called only if that one has been inlined."""
    or_initcall: bool = False
    """Some kernels do not call it here, but as one of their initcalls."""
    first: Callable[[Core, MappedImage], object] | None = None
    """Its task calls this before."""


def _ours(name: str, reason: str) -> BootStep:
    return BootStep(name, How.OURS, reason)


def _without(name: str, reason: str) -> BootStep:
    return BootStep(name, How.LEFT_OUT, reason)


STEPS: Final[tuple[BootStep, ...]] = (
    _ours("boot_cpu_init", "the masks are set to one CPU"),
    _ours("setup_arch", "hardware.py says what there is; only the CPU and the firmware are looked at"),
    BootStep("early_cpu_init"),
    BootStep("reserve_standard_io_resources"),
    BootStep("dmi_setup"),
    _ours("setup_per_cpu_areas", "the area is made from .data..percpu when the kernel is put together"),
    BootStep("hugetlb_bootmem_alloc"),  # of setup_arch(), from v6.15 on: the lists of each node
    BootStep("debug_objects_early_init"),
    BootStep("cgroup_init_early"),
    BootStep("boot_cpu_hotplug_init"),
    BootStep("jump_label_init"),
    BootStep("static_call_init"),
    BootStep("vfs_caches_init_early"),
    _ours("mm_init", "pages, kmalloc() and vmalloc() are Python's"),
    BootStep("ptlock_cache_init"),
    BootStep("mm_cache_init"),
    BootStep("acpi_boot_table_init"),
    BootStep("sfi_init"),
    _without("ftrace_init", "calls of __fentry__ return at once; ftrace.py hooks functions"),
    BootStep("early_trace_init"),
    _ours("sched_init", "tasks are Python's"),
    BootStep("autogroup_init", argument="init_task"),
    BootStep("psi_init"),
    BootStep("radix_tree_init"),
    BootStep("maple_tree_init"),
    BootStep("wait_bit_init"),
    BootStep("workqueue_init_early"),
    _ours("rcu_init", "RCU is Python's"),
    _without("trace_init", "the kernel's own events would take a third of the time of all steps"),
    BootStep("register_trigger_cmds"),  # so that a module's own events have triggers, histograms among them
    BootStep("early_irq_init"),
    _ours("init_IRQ", "interrupts are the clock's events; those of ISA devices exist, but never come"),
    BootStep("init_ISA_irqs"),
    _ours("tick_init", "time is virtual"),
    _ours("init_timers", "timers are Python's"),
    BootStep("srcu_init"),  # for one processor, SRCU is the image's own
    _ours("hrtimers_init", "timers are Python's"),
    BootStep("hrtimers_prepare_cpu"),  # so that /proc/timer_list finds no timers
    _ours("softirq_init", "softirqs are Python's"),
    BootStep("timekeeping_init"),
    _ours("random_init", "random numbers are Python's, reproducible"),
    BootStep("perf_event_init"),
    BootStep("console_init"),
    BootStep("lockdep_init"),
    _without("locking_selftest", "its locks deadlock on purpose, hundreds of times"),
    _without("kmemleak_init", "ukmod itself finds leaks: allocation is Python's"),
    BootStep("debug_objects_mem_init"),
    BootStep("numa_policy_init"),
    BootStep("acpi_early_init"),
    BootStep("pid_idr_init"),
    BootStep("anon_vma_init"),
    BootStep("thread_stack_cache_init"),
    BootStep("cred_init"),
    BootStep("fork_init"),
    BootStep("proc_caches_init"),
    BootStep("uts_ns_init"),
    BootStep("buffer_init"),
    BootStep("key_init"),
    BootStep("security_init"),
    BootStep("net_ns_init"),
    BootStep("vfs_caches_init"),
    BootStep("pagecache_init"),
    BootStep("signals_init"),
    BootStep("seq_file_init"),
    BootStep("proc_root_init"),
    BootStep("nsfs_init"),
    BootStep("pidfs_init"),
    BootStep("cpuset_init"),
    BootStep("mem_cgroup_init", or_initcall=True),
    BootStep("cgroup_init"),
    BootStep("taskstats_init_early"),
    BootStep("delayacct_init"),
    _without("check_bugs", "nothing to mitigate"),
    BootStep("identify_boot_cpu"),
    BootStep("identify_cpu", argument="boot_cpu_data", unless="identify_boot_cpu"),
    BootStep("fpu__init_system"),
    BootStep("fpu__init_cpu"),
    BootStep("acpi_subsystem_init"),
    BootStep("init_userspace_fs", first=unshare_fs),
    _ours("workqueue_init", "workqueues are Python's"),
    _without("smp_init", "one CPU"),
    BootStep("async_init"),
    BootStep("padata_init"),
    BootStep("static_key_disable", argument="deferred_pages"),
    # It costs each system call a look at the time-stamp counter.
    BootStep("static_key_disable", argument="randomize_kstack_offset"),
    BootStep("ksysfs_init", or_initcall=True),
    BootStep("driver_init"),
    BootStep("init_irq_proc"),
)

LAST_STEPS: Final = (
    _without("free_initmem", "nothing needs its memory, and symbols of it may still be asked for"),
    BootStep("jump_label_init_ro"),
)
"""The calls of kernel_init() after the initcalls."""

LEFT_OUT_INITCALLS: Final[dict[str, str]] = {
    "do_init_real_mode": "no CPU has to be woken from real mode",
    "init_real_mode": "no CPU has to be woken from real mode",
    "spawn_ksoftirqd": "softirqs are Python's",
    "migration_init": "one CPU",
    "cpu_stop_init": "one CPU",
    "rcu_spawn_gp_kthread": "RCU is Python's",
    "check_cpu_stall_init": "RCU is Python's",
    "rcu_sysrq_init": "RCU is Python's",
    "rcu_tasks_verify_schedule_work": "RCU is Python's",
    "kmemleak_late_init": "ukmod itself finds leaks",
    "init_workqueues": "workqueues are Python's",
    "wq_sysfs_init": "workqueues are Python's",
    "init_hw_perf_events": "no performance counters",
    "kvm_setup": "no hypervisor",
    "mcheck_init": "no machine checks",
    "microcode_init": "no microcode",
    "clocksource_done_booting": "time is virtual",
    "init_clocksource_sysfs": "time is virtual",
    "tsc_init": "time is virtual",
    "init_tsc_clocksource": "time is virtual",
    "kswapd_init": "memory is not reclaimed",
    "kcompactd_init": "memory is not reclaimed",
    "ksm_init": "memory is not reclaimed",
    "oom_init": "memory is not reclaimed",
    "init_per_zone_wmark_min": "memory is not reclaimed",
    "event_trace_init": "events have no files",
    "event_trace_init_fields": "events have no files",
    "trace_init_flags_sys_enter": "events have no files",
    "init_trace_selftests": "events have no files",
}


@record
class Done:
    """A step that was run, and its outcome."""

    name: str
    level: str
    outcome: str
    """"ok", an errno such as "-19", "oops: ...", or "waits" if it did not return."""


@record
class Boot:
    """The result of bringing the image up: the steps and the log."""

    done: tuple[Done, ...]
    log: tuple[Record, ...]
    unfit: tuple[str, ...] = ()
    """The functions that Python implements with other parameters, and so does not replace: one line each."""

    @property
    def failed(self) -> tuple[Done, ...]:
        """The steps that did not return a number."""
        return tuple(step for step in self.done if not step.outcome.lstrip("-").isdigit())

    @property
    def damage(self) -> str:
        """A summary of what is amiss; empty for an intact kernel."""
        texts = [f"it has other prototypes than are known: {'; '.join(self.unfit)}"] if self.unfit else []
        if failed := self.failed:
            count = f"{len(failed)} of {len(self.done)} steps of its initialisation failed"
            texts.append(f"{count}, first {failed[0].name}: {failed[0].outcome}")
        return "; ".join(texts)


def bring_up(k: Core, image: MappedImage) -> Boot:
    """Initialise the image so that modules can be loaded."""
    hardware.wire(k)
    wire_image(k, image)
    unfit = interpose(k, image)
    k.lockdep.follow_interrupts()
    k.clock.now = -BOOT_SECONDS * NSEC_PER_SEC
    _set_variables(k, image)
    _keep_jiffies(k, image)
    # The kernel's own objects are not checked for misuse.
    fence, k.slab.fence.limit = k.slab.fence.limit, 0
    done = [_call(k, image, call) for call in _calls(image)]
    k.sched.run(lambda: False, max(k.clock.now, 0))
    k.slab.fence.limit = fence
    image.set("system_state", k.types.enum("system_states").values["SYSTEM_RUNNING"], 4)
    image.mark_rodata_ro()
    k.slab.kasan = k.shadow is not None
    k.process_lists.publish(k.tasks.all())
    _complete_first_tasks(k, image)
    now = k.clock.now
    k.run_task("swapper/0", partial(_finish, k, image), limit=_STEP_PATIENCE)
    k.clock.now = now  # modules begin at 0
    k.timekeeping.real_offset = BOOT_TIME * NSEC_PER_SEC  # rtc_hctosys() knows whole seconds only
    k.cpu.sp = k.idle.sp  # that task has ended, and its stack with it
    boot = Boot(tuple(done), tuple(k.log.records), unfit)
    _forget(k)
    printk_ringbuffer.attach(k, image)
    return boot


def _finish(k: Core, image: MappedImage) -> int:
    """The last of it, in a task: the image finds tasks by number, and says the words of its reports."""
    for task in k.tasks.all():
        if task not in (k.idle, k.sched.current):
            k.pids.publish(image, task)
    k.wording = replace(k.wording, preemption=model_name(k, image))
    return 0


def _complete_first_tasks(k: Core, image: MappedImage) -> None:
    """The tasks that were made before there were control groups and autogroups are in those of init_task."""
    has, offset, memory = k.types.has, k.types.offset, k.memory
    init = image.address("init_task")
    for task in k.tasks.all():
        if task is k.tasks.init:
            enter_fs(k, image, task)
        if has("task_struct", "cgroups"):
            _inherit(k, init, task.address, offset("task_struct", "cgroups"))
        if has("task_struct", "mems_allowed"):
            memory.set_u64(task.address + offset("task_struct", "mems_allowed"), 1)  # kernel_init_freeable()
        if memory.u64(task.address + offset("task_struct", "nsproxy")) != image.address("init_nsproxy"):
            _count_nsproxy(k, image)
        if has("signal_struct", "autogroup"):
            signal = offset("task_struct", "signal")
            of_init, own = (memory.u64(at + signal) for at in (init, task.address))
            _inherit(k, of_init, own, offset("signal_struct", "autogroup"))


def _count_nsproxy(k: Core, image: MappedImage) -> None:
    """A kernel thread that has left init's namespaces, as kdevtmpfs has, did not count among their users."""
    at = image.address("init_nsproxy") + k.types.offset("nsproxy", "count")
    k.memory.set_u32(at, k.memory.u32(at) + 1)


def _inherit(k: Core, source: int, target: int, offset: int) -> None:
    """Copy a pointer that is NULL."""
    if not k.memory.u64(target + offset):
        k.memory.set_u64(target + offset, k.memory.u64(source + offset))


def _keep_jiffies(k: Core, image: MappedImage) -> None:
    """Keep the image's own ``jiffies`` variable up to date whenever time passes."""
    k.clock.on_advance = partial(_update_jiffies, k, image.address("jiffies"))
    k.clock.on_advance()


def _update_jiffies(k: Core, at: int) -> None:
    k.memory.set_u64(at, k.clock.jiffies)


def _set_variables(k: Core, image: MappedImage) -> None:
    hardware.set_variables(k, image)
    limit_user_pointers(k, image)
    if (queues := image.get("runqueues")) is not None and k.types.has("rq", "idle"):
        idle = k.percpu.base + queues + k.types.offset("rq", "idle")
        k.memory.set_u64(idle, image.address("init_task"))  # init_idle()
    image.firmware = firmware.install(k, image)
    image.set("__per_cpu_offset", k.percpu.base)
    for name in ("kmemleak_enabled", "kmemleak_free_enabled"):
        image.set(name, 0, 4)  # as with kmemleak=off
    # As with transparent_hugepage=never: without hugepage_init(), a fault that wants one may find no memory.
    image.set("transparent_hugepage_flags", 0)
    image.set("preempt_dynamic_mode", default_model(k, image), 4)  # to ask while it is unknown is a WARN
    line = k.slab.kernel_object(len(k.cmdline) + 1)
    k.memory.write(line, k.cmdline.encode("latin-1", "replace") + b"\0")
    for name in ("saved_command_line", "static_command_line", "initcall_command_line"):
        image.set(name, line)
    order = k.slab.kernel_object(len(LSM_ORDER) + 1)
    k.memory.write(order, LSM_ORDER + b"\0")
    image.set("chosen_lsm_order", order)
    image.set("lsm_order_cmdline", order)  # since v6.19
    if image.get("jump_label_init") is None:
        image.set("static_key_initialized", 1, 1)  # without CONFIG_JUMP_LABEL that is all it does
    if (states := image.get("node_states")) is not None:
        # Initially all nodes are possible. nodemask_t has no name that struct layouts could look up.
        mask = image.symbols.size_at(states) // NR_NODE_STATES
        names = k.types.enum("node_states").values
        for name in ("N_POSSIBLE", "N_NORMAL_MEMORY", "N_MEMORY"):
            k.memory.write(states + names[name] * mask, (1).to_bytes(mask, "little"))
    for variable, struct in EVENT_CACHES.items():
        if image.get(variable) is not None and k.types.has(struct):
            image.set(variable, k.caches.create(struct, k.types.sizeof(struct), 0, 0, 0).address)
    trace_events.define_common_fields(k, image)
    if k.types.has("pglist_data") and (nodes := image.get("node_data")) is not None:
        _one_node(k, image, nodes)


def _one_node(k: Core, image: MappedImage, nodes: int) -> None:
    """free_area_init(): one node with empty zones, since pages are Python's; all memory counts as free."""
    types, memory = k.types, k.memory
    node = k.slab.kernel_object(types.sizeof("pglist_data"))
    memory.set_u64(nodes, node)
    zones = node + types.offset("pglist_data", "node_zones")
    for n in range(types.enum("zone_type").values["__MAX_NR_ZONES"]):
        zone = zones + n * types.sizeof("zone")
        memory.set_u64(zone + types.offset("zone", "zone_pgdat"), node)
        _set_boot_percpu(k, image, zone, "zone")
    _set_boot_percpu(k, image, node, "pglist_data")
    for queue in ("kswapd_wait", "pfmemalloc_wait", "kcompactd_wait"):  # whoever wakes them finds nobody
        if types.has("pglist_data", queue):
            init_list_head(memory, node + types.offset("pglist_data", queue) + k.waitqueues.queue.head)
    if (init := image.get("lru_gen_init_pgdat")) is not None:
        k.run_task("swapper/0", partial(_run, k, init, [], node), limit=_STEP_PATIENCE)  # since v6.3
    _cpu_maps(k, image)
    image.set("vm_zone_stat", memory.size >> PAGE_SHIFT)


def _set_boot_percpu(k: Core, image: MappedImage, at: int, struct: str) -> None:
    """zone_pcp_init(): per-CPU counters and lists of pages are those that are used while memory is set up."""
    for member, variable in (
        ("per_cpu_pageset", "boot_pageset"),
        ("per_cpu_zonestats", "boot_zonestats"),
        ("per_cpu_nodestats", "boot_nodestats"),
    ):
        if k.types.has(struct, member) and (offset := image.get(variable)) is not None:
            k.memory.set_u64(at + k.types.offset(struct, member), offset)


def _cpu_maps(k: Core, image: MappedImage) -> None:
    """smp_prepare_cpus_common(): the only CPU is its own sibling, its node's only CPU, and APIC 0."""
    mask = k.slab.kernel_object(CPUMASK_BYTES)
    k.memory.set_u64(mask, 1)
    image.set("node_to_cpumask_map", mask)
    image.set("cpuid_to_apicid", 0, 4)
    if (offset := image.get("x86_cpu_to_apicid")) is not None:
        # Of 16 bits or, since v6.8, 32. The symbols tell them apart: not every image has the type.
        size = 2 if image.symbols.size_at(offset) < 4 else 4
        k.memory.write(k.percpu.base + offset, bytes(size))
    for name in (
        "cpu_sibling_map",
        "cpu_core_map",
        "cpu_die_map",
        "cpu_llc_shared_map",
        "cpu_l2c_shared_map",
    ):
        if (offset := image.get(name)) is not None:
            k.memory.set_u64(k.percpu.base + offset, mask)


@record
class _Call:
    """A function to call. Each call of ``first`` and then the function is in a task of its own."""

    name: str
    address: int
    level: str
    arguments: tuple[int, ...] = ()
    first: Callable[[Core, MappedImage], object] | None = None


def _calls(image: MappedImage) -> Iterator[_Call]:
    """The calls, in order.

    A step that is an initcall too, as net_ns_init() until v5.13, is called once.
    """
    calls = tuple(initcalls(image))
    later = {address for _, address in calls}
    called = set()
    for call in _steps(image, STEPS, "start", later):
        called.add(call.address)
        yield call
    for level, address in calls:
        symbol = image.symbols.at(address)
        name = symbol.name if symbol is not None else f"{address:#x}"
        if name not in LEFT_OUT_INITCALLS and address not in called:
            yield _Call(name, address, level)
    yield from _steps(image, LAST_STEPS, "end", later)


def _steps(
    image: MappedImage, steps: Iterable[BootStep], level: str, initcalls: Container[int]
) -> Iterator[_Call]:
    """The calls of those steps that this image has, and that are not done otherwise."""
    for step in steps:
        address = image.get(step.name)
        argument = image.get(step.argument) if step.argument else None
        wanted = step.how is How.RUN and (not step.unless or image.get(step.unless) is None)
        known = address is not None and (not step.argument or argument is not None)
        if wanted and known and not (step.or_initcall and address in initcalls):
            arguments = () if argument is None else (argument,)
            yield _Call(step.name, address or 0, level, arguments, step.first)


def initcalls(image: MappedImage) -> Iterator[tuple[str, int]]:
    """The level and address of each initcall, beginning with the early ones."""
    marks = ["__initcall_start", *(f"__initcall{n}_start" for n in range(8)), "__initcall_end"]
    places = [image.get(mark) for mark in marks]
    if None in places:
        raise LayoutError("has no initcalls", subject=image.image.path)
    for level, start, end in zip(("early", *"01234567"), places, places[1:], strict=False):
        assert start is not None
        assert end is not None
        for at in range(start, end, 4):
            offset = int.from_bytes(image.image.read(at, 4), "little", signed=True)
            yield level, (at + offset) & (1 << 64) - 1


def _call(k: Core, image: MappedImage, call: _Call) -> Done:
    """Call one function in a task of its own."""
    results: list[int] = []
    name, level, before = call.name, call.level, len(k.oopses)
    # No closure: a task that waits is saved in a snapshot.
    run = partial(_run, k, call.address, results, *call.arguments)
    if call.first is not None:
        run = partial(_run_after, partial(call.first, k, image), run)
    try:
        task = k.run_task("swapper/0", run, limit=_STEP_PATIENCE)
    except KernelPanic as panic:
        k.crash.forget()
        return Done(name, level, f"panic: {panic}")
    k.percpu.set_preempt(0)
    if len(k.oopses) > before:
        return Done(name, level, f"oops: {k.oopses[-1]}")
    if not results:
        return Done(name, level, "waits" if not task.exited else "ended")
    value = results[0] if level not in ("start", "end") else 0
    return Done(name, level, str(value - (1 << 32) if value >> 31 else value))


def _run(k: Core, address: int, results: list[int], *arguments: int) -> int:
    results.append(k.cpu.call(address, *arguments or (0,)) & 0xFFFF_FFFF)  # 0: the number of the CPU
    return 0


def _run_after(first: Callable[[], object], run: Callable[[], int]) -> int:
    first()
    return run()


def _forget(k: Core) -> None:
    """Discard the traces of the initialisation, which belong to the image and not to any module."""
    k.slab.disown()
    k.tasks.restart_pids()
    k.log.clear()
    k.oopses.clear()
    k.warnings.clear()
    k.reports.clear()
    k.warned.clear()
    k.taint.clear()
    k.trace.clear()
