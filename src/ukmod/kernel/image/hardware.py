"""The hardware that an image finds: one CPU, RAM, firmware, and buses without devices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LayoutError
from ukmod.kernel.image.fdc import FDC1, FDC_IRQ, Fdc
from ukmod.kernel.image.pci import PciConfig
from ukmod.kernel.image.ports import InterruptMask, Ports
from ukmod.kernel.image.rtc import RTC_IRQ, Rtc
from ukmod.kernel.image.uart import COM1, COM1_IRQ, Uart
from ukmod.kernel.time.timekeeping import BOOT_TIME
from ukmod.kernel.x86.tsc import TSC_KHZ
from ukmod.machine.memory import LOW_MEMORY
from ukmod.machine.registers import CR4

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

SMALL_MACHINE: Final = 64 << 20
"""The RAM size in bytes for which the kernel sizes its hash tables, which are rarely filled."""

INTERRUPT_MASKS: Final = (0x21, 0xA1)
"""The ports of the two interrupt controllers' mask registers."""

VARIABLES: Final[dict[str, tuple[int, int]]] = {
    "nr_cpu_ids": (1, 4),
    "__cpu_possible_mask": (1, 8),
    "__cpu_present_mask": (1, 8),
    "__cpu_online_mask": (1, 8),
    "__cpu_active_mask": (1, 8),
    "__num_online_cpus": (1, 4),
    "__num_possible_cpus": (1, 4),
    "nr_node_ids": (1, 4),
    "__max_logical_packages": (1, 4),
    "acpi_noirq": (1, 4),
    "disable_apic": (1, 4),
    "apic_is_disabled": (1, 1),
    "slab_state": (4, 4),
    "hrtimer_resolution": (1, 4),
    "hashdist": (0, 4),
    "tsc_khz": (TSC_KHZ, 4),
    "cpu_khz": (TSC_KHZ, 4),
    "loops_per_jiffy": (4_000_000, 8),
}
"""Variables that setup_arch(), setup_nr_cpu_ids() and the like would set: value and size in bytes.

``slab_state`` is FULL, as the allocator is ready; with one node, ``hashdist`` is 0.
"""


def wire(k: Core) -> None:
    """Answer port I/O as a PC without devices does.

    The engine needs no help for MSRs, of which unknown ones read as 0, nor for CPUID, which describes its own
    CPU.
    """
    k.serial = Uart(COM1, partial(_interrupt, k, COM1_IRQ))
    floppy = Fdc(FDC1, partial(_interrupt, k, FDC_IRQ))
    clock = Rtc(k.clock, BOOT_TIME, partial(_interrupt, k, RTC_IRQ))
    masks = (InterruptMask(port) for port in INTERRUPT_MASKS)
    ports = Ports(PciConfig(), k.serial, floppy, clock, *masks)
    k.cpu.on_port_io(ports.load, ports.store)


def _interrupt(k: Core, irq: int) -> None:
    """Raise an interrupt line: its handler is called as soon as no guest code is running."""
    k.clock.at(k.clock.now, partial(_handle, k, irq))


def _handle(k: Core, irq: int) -> None:
    if k.image is not None and (handler := k.image.get("generic_handle_irq")) is not None:
        with k.cpu.interrupts_off():
            k.cpu.call(handler, irq)


def set_variables(k: Core, image: MappedImage) -> None:
    """Set the image's variables as early boot code, which is not run, would set them.

    Raises LayoutError if one of them is smaller than what would be written.
    """
    for name, (_, size) in VARIABLES.items():
        at = image.get(name)
        if at is not None and 0 < (room := image.symbols.size_at(at)) < size:
            text = f"the variable {name} has {room} bytes, and {size} would be set"
            raise LayoutError(text, subject=image.image.path)
    k.memory.map_direct(0, LOW_MEMORY)  # scans for BIOS tables expect this range to be mapped
    pages = k.memory.size >> 12
    small = SMALL_MACHINE >> 12
    values = {"max_pfn": pages, "highest_memmap_pfn": pages, "max_low_pfn": pages, "_totalram_pages": pages}
    values |= {"nr_kernel_pages": small, "nr_all_pages": small}
    zero = k.memory.translate(image.address("empty_zero_page"))
    values |= {"zero_page_pfn": zero >> 12, "__zero_page": k.pages.page(zero)}  # since v7
    for name, (value, size) in (VARIABLES | {name: (value, 8) for name, value in values.items()}).items():
        image.set(name, value, size)
    if (state := image.get("cpu_tlbstate")) is not None and k.types.has("tlb_state", "cr4"):
        # cr4_init_shadow(), which is inlined into startup code.
        k.memory.set_u64(k.percpu.base + state + k.types.offset("tlb_state", "cr4"), CR4)
    if (platform := image.get("x86_platform")) is not None and k.types.has("x86_platform_ops", "legacy.rtc"):
        k.memory.set_u32(platform + k.types.offset("x86_platform_ops", "legacy.rtc"), 1)
    if (noop := image.get("apic_noop")) is not None:
        image.set("apic", noop)  # the kernel's own driver for a CPU whose APIC is disabled
