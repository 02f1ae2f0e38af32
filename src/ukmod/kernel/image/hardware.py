"""The hardware an image finds: one CPU, RAM, and buses on which no device answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.machine.cpu import Cpu

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel
    from ukmod.kernel.image.map import MappedImage

NO_DEVICE: Final = 0xFFFF_FFFF
"""What a load from a port gives that no device decodes, in as many bits as are asked for."""
SMALL_MACHINE: Final = 64 << 20
"""Bytes of RAM that the kernel's hash tables are made for: they are rarely filled."""
CACHE_LINE: Final = 64
"""Bytes."""

VARIABLES: Final[dict[str, tuple[int, int]]] = {
    "nr_cpu_ids": (1, 4),
    "__cpu_possible_mask": (1, 8),
    "__cpu_present_mask": (1, 8),
    "__cpu_online_mask": (1, 8),
    "__cpu_active_mask": (1, 8),
    "__num_online_cpus": (1, 4),
    "acpi_disabled": (1, 4),
    "acpi_pci_disabled": (1, 4),
    "acpi_noirq": (1, 4),
    "disable_apic": (1, 4),
    "apic_is_disabled": (1, 1),
    "slab_state": (4, 4),
    "tsc_khz": (2_000_000, 4),
    "cpu_khz": (2_000_000, 4),
    "loops_per_jiffy": (4_000_000, 8),
}
"""Variables that setup_arch(), setup_nr_cpu_ids() and their like would set: value and size in bytes.
``slab_state`` is FULL: the allocator is there."""

CPU: Final[dict[str, tuple[int, int]]] = {
    "x86": (6, 1),
    "x86_cache_alignment": (CACHE_LINE, 4),
    "x86_clflush_size": (CACHE_LINE, 2),
    "x86_virt_bits": (48, 1),
    "x86_phys_bits": (46, 1),
    "x86_max_cores": (1, 2),
}
"""Members of ``boot_cpu_data``. No feature is set: code for special instructions finds none of them."""


def wire(cpu: Cpu) -> None:
    """Answer port I/O as an empty bus does. MSRs that the engine does not know read as 0, and CPUID is that
    of the engine's own CPU, both without our help.
    """
    cpu.on_port_input(_port_input)


def _port_input(port: int, size: int) -> int:
    del port
    return NO_DEVICE >> (32 - 8 * size)


def set_variables(k: Kernel, image: MappedImage) -> None:
    """Leave the image's variables as early boot code, which is not run, would leave them."""
    pages = k.memory.size >> 12
    small = SMALL_MACHINE >> 12
    sizes = {"max_pfn": pages, "max_low_pfn": pages, "_totalram_pages": pages}
    sizes |= {"nr_kernel_pages": small, "nr_all_pages": small}
    for name, (value, size) in (VARIABLES | {name: (value, 8) for name, value in sizes.items()}).items():
        image.set(name, value, size)
    data = image.get("boot_cpu_data")
    for member, (value, size) in CPU.items():
        if data is not None and k.types.has("cpuinfo_x86", member):
            k.memory.set_uint(data + k.types.offset("cpuinfo_x86", member), value, size)
