"""The per-CPU variables of an image that Python reads or sets, and what it takes each of them for.

An image's BTF has the types of its per-CPU variables, so what is assumed here can be compared with it. The
sizes of other variables are in ``hardware.VARIABLES``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.machine.types.graph import POINTER

if TYPE_CHECKING:
    from ukmod.machine.types.types import Types

TAKEN_FOR: Final[dict[str, tuple[str | int, ...]]] = {
    "current_task": (POINTER,),
    "__preempt_count": (4, 8),  # 8 where PREEMPT_NEED_RESCHED is bit 63
    "pcpu_hot": ("struct pcpu_hot",),
    "cpu_number": (4,),
    "this_cpu_off": (8,),
    "cpu_current_top_of_stack": (8,),
    "gdt_page": ("struct gdt_page",),
    "cpu_tss_rw": ("struct tss_struct",),
    "cpu_tlbstate": ("struct tlb_state",),
    "runqueues": ("struct rq",),
    "hardirqs_enabled": (4,),
    "hardirq_context": (4,),
    "boot_pageset": ("struct per_cpu_pages", "struct per_cpu_pageset"),
    "boot_zonestats": ("struct per_cpu_zonestat",),
    "boot_nodestats": ("struct per_cpu_nodestat",),
    "x86_cpu_to_apicid": (2, 4),
    "cpu_sibling_map": (POINTER,),
    "cpu_core_map": (POINTER,),
    "cpu_die_map": (POINTER,),
    "cpu_llc_shared_map": (POINTER,),
    "cpu_l2c_shared_map": (POINTER,),
}
"""By variable: the struct whose members are used, or the sizes in bytes that can be read and written."""


def mistaken(types: Types, name: str) -> str | None:
    """The fact that contradicts an assumption about a variable; empty if it holds, None without its type."""
    if (kind := types.variable(name)) is None:
        return None
    taken = TAKEN_FOR[name]
    if kind.size in taken or f"{kind.kind.value} {kind.name}" in taken:
        return ""
    words = " or ".join(one if isinstance(one, str) else f"{one} bytes" for one in taken)
    return f"it is {kind}, of {kind.size} bytes, not {words}"
