"""The parts of a module that only an image needs: find_module_sections() and sysfs."""

from __future__ import annotations

from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LoadError
from ukmod.kernel.module.main import Module
from ukmod.kernel.sched.core import MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE
from ukmod.kmod.elf import Elf

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

SECTIONS: Final = (
    # section, member that points to it, member that counts its entries, bytes per entry
    ("__jump_table", "jump_entries", "num_jump_entries", 16),
    ("__tracepoints_ptrs", "tracepoints_ptrs", "num_tracepoints", 4),
    ("__bpf_raw_tp_map", "bpf_raw_events", "num_bpf_raw_events", 32),
    (".static_call_sites", "static_call_sites", "num_static_call_sites", 8),
    ("_ftrace_events", "trace_events", "num_trace_events", 8),
    ("_ftrace_eval_map", "trace_evals", "num_trace_evals", 8),
    ("__trace_printk_fmt", "trace_bprintk_fmt_start", "num_trace_bprintk_fmt", 8),
    (".kprobes.text", "kprobes_text_start", "kprobes_text_size", 1),
    ("_kprobe_blacklist", "kprobe_blacklist", "num_kprobe_blacklist", 8),
    (".noinstr.text", "noinstr_text_start", "noinstr_text_size", 1),
    ("_error_injection_whitelist", "ei_funcs", "num_ei_funcs", 16),
    (".kunit_test_suites", "kunit_suites", "num_kunit_suites", 8),
    (".kunit_init_test_suites", "kunit_init_suites", "num_kunit_init_suites", 8),
    ("__ksymtab", "syms", "num_syms", 12),
    ("__ksymtab_gpl", "gpl_syms", "num_gpl_syms", 12),
    ("__ex_table", "extable", "num_exentries", 12),
    ("___srcu_struct_ptrs", "srcu_struct_ptrs", "num_srcu_structs", 8),
    (".data..percpu", "percpu", "percpu_size", 1),
)


def fill_struct(k: Core, module: Module, elf: Elf) -> None:
    """find_module_sections(): record in struct module where the module's sections are."""
    types, memory = k.types, k.memory
    for section, pointer, count, size in SECTIONS:
        start, length = module.layout.sections.get(section, (0, 0))
        if start and types.has("module", pointer) and types.has("module", count):
            memory.set_u64(module.address + types.offset("module", pointer), start)
            memory.set_u32(module.address + types.offset("module", count), length // size)
    for word in ("version", "srcversion"):
        if word in module.modinfo and types.has("module", word):
            text = module.modinfo[word][0].encode("utf-8", "surrogateescape") + b"\0"
            memory.write(at := k.slab.kernel_object(len(text)), text)
            memory.set_u64(module.address + types.offset("module", word), at)
            module.strings.append(at)
    _set_btf_data(k, module, elf)


def _set_btf_data(k: Core, module: Module, elf: Elf) -> None:
    """Set ``btf_data`` to the module's .BTF section while it is being loaded.

    The image's BPF code makes its own copy when it is notified that the module is coming.
    """
    section = elf.section(".BTF")
    if section is None or not section.size or not k.types.has("module", "btf_data"):
        return
    if not (address := k.vmalloc.alloc(section.size)):
        raise LoadError("the machine has no memory for its BTF", errno=ENOMEM, subject=module.name)
    module.btf = address
    k.memory.write(module.btf, elf.section_data(section))
    k.memory.set_u64(module.address + k.types.offset("module", "btf_data"), module.btf)
    k.memory.set_u32(module.address + k.types.offset("module", "btf_data_size"), section.size)


def free_btf_data(k: Core, module: Module) -> None:
    """Free the BTF after the module was loaded or failed to load."""
    if module.btf and k.types.has("module", "btf_data"):
        k.memory.set_u64(module.address + k.types.offset("module", "btf_data"), 0)
        k.vmalloc.free(module.btf)
        module.btf = 0


def add_to_sysfs(k: Core, module: Module) -> None:
    """mod_sysfs_init(): create /sys/module/NAME, which drivers link to."""
    image = k.image
    if image is None or (kset := image.get("module_kset")) is None or not k.memory.u64(kset):
        return
    mkobj = module.address + k.types.offset("module", "mkobj")
    kobj = mkobj + k.types.offset("module_kobject", "kobj")
    k.memory.fill(mkobj, 0, k.types.sizeof("module_kobject"))
    k.memory.set_u64(mkobj + k.types.offset("module_kobject", "mod"), module.address)
    k.memory.set_u64(kobj + k.types.offset("kobject", "kset"), k.memory.u64(kset))
    name = module.address + k.types.offset("module", "name")
    fmt = k.slab.kernel_object(8)
    k.memory.write(fmt, b"%s\0")
    k.cpu.call(image.address("kobject_init_and_add"), kobj, image.address("module_ktype"), 0, fmt, name)
    k.slab.kfree(fmt)


def remove_from_sysfs(k: Core, module: Module) -> None:
    """mod_sysfs_teardown(): remove the directory of its drivers, and its own."""
    image = k.image
    mkobj = module.address + k.types.offset("module", "mkobj")
    kobj = mkobj + k.types.offset("module_kobject", "kobj")
    if image is None or not k.memory.u64(kobj + k.types.offset("kobject", "kset")):
        return
    drivers = k.memory.u64(mkobj + k.types.offset("module_kobject", "drivers_dir"))
    k.cpu.call(image.address("kobject_put"), drivers)
    # mod_kobject_put(): wait for everyone who has a file of it open.
    released = k.slab.kernel_object(k.types.sizeof("completion"))
    k.memory.set_u64(mkobj + k.types.offset("module_kobject", "kobj_completion"), released)
    k.cpu.call(image.address("kobject_put"), kobj)
    k.completions.wait(released, MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE)
    k.slab.kfree(released)


def free_modinfo(k: Core, module: Module) -> None:
    """free_modinfo(): free the strings that ``fill_struct`` allocated."""
    while module.strings:
        k.slab.kfree(module.strings.pop())
