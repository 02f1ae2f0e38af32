"""The hardware an image finds: a CPU, RAM, and buses on which no device answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ukmod.machine.cpu import Cpu

if TYPE_CHECKING:
    from ukmod.kernel.image.map import MappedImage

SMALL_MACHINE: Final = 64 << 20
"""Bytes of RAM."""
NO_DEVICE: Final = 0xFFFF_FFFF
"""What a load from a port gives that no device decodes, in as many bits as are asked for."""


def wire(cpu: Cpu) -> None:
    """Answer port I/O as an empty bus does. (MSRs that the engine does not know read as 0, and CPUID is its
    own CPU's; both without our help.)
    """
    cpu.on_port_input(lambda _port, size: NO_DEVICE >> (32 - 8 * size))


CONSTANTS: Final[dict[str, tuple[int, int]]] = {
    # name: (value, size in bytes)
    "nr_cpu_ids": (1, 4),
    "acpi_disabled": (1, 4),
    "acpi_pci_disabled": (1, 4),
    "acpi_noirq": (1, 4),
    "disable_apic": (1, 4),
    "apic_is_disabled": (1, 1),
    "x86_platform_ipi_callback": (0, 8),
    "static_key_initialized": (0, 1),
    "slab_state": (4, 4),  # FULL: the allocator is there
    "system_state": (0, 4),
    "early_boot_irqs_disabled": (0, 1),
    "boot_cpu_physical_apicid": (0, 4),
    "totalram_pages": (0, 0),
    "tsc_khz": (2_000_000, 4),
    "cpu_khz": (2_000_000, 4),
    "loops_per_jiffy": (4_000_000, 8),
    "preset_lpj": (4_000_000, 8),
}
"""Variables that early boot code, which is left out, would have found out from firmware."""


def found_by_early_boot(image: MappedImage, ram: int) -> dict[str, tuple[int, int]]:
    """Values of the image's variables as setup_arch() and its like would leave them: value, bytes."""
    pages = ram >> 12
    values: dict[str, Any] = dict(CONSTANTS)
    for mask in ("__cpu_possible_mask", "__cpu_present_mask", "__cpu_online_mask", "__cpu_active_mask",
                 "cpu_bit_bitmap"):  # fmt: skip
        if mask.startswith("__"):
            values[mask] = (1, 8)
    values["__num_online_cpus"] = (1, 4)
    values["max_pfn"] = values["max_low_pfn"] = (pages, 8)
    values["_totalram_pages"] = (pages, 8)
    # What hash tables are sized by: a small machine's, for they are rarely filled.
    values["nr_kernel_pages"] = values["nr_all_pages"] = (SMALL_MACHINE >> 12, 8)
    values["cpuinfo_node"] = (0, 0)
    return {name: value for name, value in values.items() if value[1] and image.get(name) is not None}
