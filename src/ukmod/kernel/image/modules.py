"""The parts of a struct module that only an image's code looks at: find_module_sections() and others."""

from __future__ import annotations

from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LoadError
from ukmod.kernel.lib.list import list_add, list_del
from ukmod.kernel.panic import TAINT_LETTERS

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module
    from ukmod.kmod.elf import Elf

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
MODINFO: Final = ("version", "srcversion")
"""The fields of .modinfo that struct module points to."""


def fill_struct(k: Core, module: Module, elf: Elf) -> None:
    """find_module_sections(): record in struct module where the module's sections are."""
    types, memory = k.types, k.memory
    for section, pointer, count, size in SECTIONS:
        start, length = module.layout.sections.get(section, (0, 0))
        if start and types.has("module", pointer) and types.has("module", count):
            memory.set_u64(module.address + types.offset("module", pointer), start)
            memory.set_u32(module.address + types.offset("module", count), length // size)
    for word in MODINFO:
        if word in module.modinfo and types.has("module", word):
            text = module.modinfo[word][0].encode("utf-8", "surrogateescape") + b"\0"
            memory.write(at := k.slab.kernel_object(len(text)), text)
            memory.set_u64(module.address + types.offset("module", word), at)
    taints = sum(1 << TAINT_LETTERS.index(letter) for letter in module.taints)
    memory.set_u64(module.address + types.offset("module", "taints"), taints)
    for owner in reversed(module.uses):
        _add_module_usage(k, module, owner)
    _set_btf_data(k, module, elf)


def _add_module_usage(k: Core, user: Module, owner: Module) -> None:
    """add_module_usage(): a struct module_use, which /proc/modules and /sys/module go through."""
    at = k.types.offset
    use = k.slab.kernel_object(k.types.sizeof("module_use"))
    for member, address in (("source", user.address), ("target", owner.address)):
        k.memory.set_u64(use + at("module_use", member), address)
    for link, end in (("source_list", owner), ("target_list", user)):
        list_add(k.memory, use + at("module_use", link), end.address + at("module", link))
    user.usages.append(use)


def free_module_usages(k: Core, module: Module) -> None:
    """module_unload_free(), of the lists in guest memory."""
    while module.usages:
        use = module.usages.pop()
        for link in ("source_list", "target_list"):
            list_del(k.memory, use + k.types.offset("module_use", link))
        k.slab.kfree(use)


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


def free_modinfo(k: Core, module: Module) -> None:
    """free_modinfo(): free what ``fill_struct`` allocated and sysfs has not freed, and the symbol table."""
    for word in MODINFO if k.image is not None and module.address else ():
        if k.types.has("module", word):
            at = module.address + k.types.offset("module", word)
            k.slab.kfree(k.memory.u64(at))
            k.memory.set_u64(at, 0)
    while module.strings:
        k.slab.kfree(module.strings.pop())
