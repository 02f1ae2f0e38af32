"""Functions of an image for I/O memory: there is the firmware's, and behind all else no device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.image.firmware import BIOS
from ukmod.machine.abi import Ptr, ULong
from ukmod.machine.memory import LOW_MEMORY, PAGE_OFFSET, PAGE_SIZE, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_ON_RAM: Final = Site("arch/x86/mm/ioremap.c", 211, "__ioremap_caller", nth=1, of=2)
_NO_DEVICE: Final = 0xFF
"""The byte that a bus returns if no device answers."""


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
    address = _empty_memory(k, physical, size)
    if address:
        _check_sanity(k, physical, size)
    return address


def _check_sanity(k: Core, physical: int, size: int) -> None:
    """Warn, as the image does, of a mapping that begins within a resource of the bus and spans more."""
    check = k.image.get("iomem_map_sanity_check") if k.image is not None else None
    if check is not None and k.cpu.call(check, physical, size):
        k.printk(f"caller {k.caller()} mapping multiple BARs\n")


@export("iounmap", "memunmap", "early_iounmap", "early_memunmap")
def iounmap(k: Core, address: Ptr) -> None:
    """void iounmap(volatile void __iomem *addr)."""
    if k.vmalloc.contains(address):
        k.vmalloc.free(address & -PAGE_SIZE)


@export()
def free_resource(k: Core, resource: Ptr) -> None:
    """static void free_resource(struct resource *res): struct pages are not marked here either."""
    if k.slab.object_at(resource) is not None:
        k.slab.kfree(resource)
