"""The empty machine: its PCI bus, and the tables of its firmware, checked as a kernel would check them."""

from __future__ import annotations

import struct

import pytest

from ukmod.kernel.api import Kernel
from ukmod.kernel.image.firmware import BIOS, acpi_tables, smbios
from ukmod.kernel.image.pci import CONFIG_ADDRESS, CONFIG_DATA, PciConfig
from ukmod.kernel.image.ports import InterruptMask, Ports

PHYSICAL = 0x12_3000
HOST_BRIDGE = 0x0600
"""Class code of a PCI host bridge: base class 06h, sub-class 00h."""


def config(bus: int, device: int, function: int, register: int) -> int:
    """The address of a register in configuration space, as it is written to port 0xcf8."""
    return 1 << 31 | bus << 16 | device << 11 | function << 8 | register


class TestPci:
    def test_a_kernel_finds_mechanism_1_by_reading_back_what_it_wrote(self) -> None:
        bus = PciConfig()
        bus.store(CONFIG_ADDRESS, 4, 0x8000_0000)
        assert bus.load(CONFIG_ADDRESS, 4) == 0x8000_0000

    def test_the_host_bridge_is_function_0_of_device_0(self) -> None:
        bus = PciConfig()
        bus.store(CONFIG_ADDRESS, 4, config(0, 0, 0, 8))
        assert bus.load(CONFIG_DATA + 2, 2) == HOST_BRIDGE
        assert bus.load(CONFIG_DATA + 3, 1) == HOST_BRIDGE >> 8

    def test_no_other_function_answers(self) -> None:
        bus = PciConfig()
        for place in ((0, 0, 1), (0, 1, 0), (0, 31, 7), (1, 0, 0), (255, 0, 0)):
            bus.store(CONFIG_ADDRESS, 4, config(*place, 0))
            assert bus.load(CONFIG_DATA, 4) == 0xFFFF_FFFF, place

    def test_without_the_enable_bit_the_window_is_an_ordinary_port(self) -> None:
        bus = PciConfig()
        bus.store(CONFIG_ADDRESS, 4, 0)
        assert bus.load(CONFIG_DATA, 2) == 0xFFFF

    def test_a_byte_written_to_the_address_register_is_another_devices(self) -> None:
        bus = PciConfig()
        bus.store(CONFIG_ADDRESS, 1, 1)
        assert bus.load(CONFIG_ADDRESS, 1) == 0


class TestPorts:
    def test_a_port_of_nobody_reads_as_all_ones_and_takes_anything(self) -> None:
        ports = Ports()
        ports.store(0x3F8, 1, 7)
        assert [ports.load(0x3F8, size) for size in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFF_FFFF]

    def test_a_device_answers_at_its_own_ports_only(self) -> None:
        ports = Ports(PciConfig(), InterruptMask(0x21))
        ports.store(CONFIG_ADDRESS, 4, config(0, 0, 0, 0))
        ports.store(0x21, 1, 0xFB)
        assert ports.load(CONFIG_DATA, 2) == 0x8086
        assert ports.load(0x21, 1) == 0xFB, "by which a kernel finds that there is an interrupt controller"
        assert ports.load(0x20, 1) == 0xFF


class TestAcpi:
    def test_root_pointer_has_both_checksums(self) -> None:
        root = acpi_tables(PHYSICAL)[:36]
        assert root.startswith(b"RSD PTR ")
        assert sum(root[:20]) & 0xFF == 0
        assert sum(root) & 0xFF == 0

    def test_every_table_is_where_another_says_and_sums_to_zero(self) -> None:
        memory = acpi_tables(PHYSICAL)

        def table(physical: int, signature: bytes) -> bytes:
            at = physical - PHYSICAL
            length = int.from_bytes(memory[at + 4 : at + 8], "little")
            data = memory[at : at + length]
            assert data[:4] == signature
            assert sum(data) & 0xFF == 0
            return data

        xsdt = table(int.from_bytes(memory[24:32], "little"), b"XSDT")
        fadt_at, madt_at = struct.unpack("<2Q", xsdt[36:])
        fadt, madt = table(fadt_at, b"FACP"), table(madt_at, b"APIC")
        dsdt = table(int.from_bytes(fadt[140:148], "little"), b"DSDT")
        assert len(dsdt) == 36, "a namespace without devices"
        assert int.from_bytes(fadt[112:116], "little") & 1 << 20, "hardware-reduced"
        assert madt[44:46] == b"\x00\x08", "one local APIC"

    def test_tables_do_not_overlap(self) -> None:
        memory = acpi_tables(PHYSICAL)
        starts = sorted(memory.index(name) for name in (b"DSDT", b"APIC", b"FACP", b"XSDT"))
        ends = [start + int.from_bytes(memory[start + 4 : start + 8], "little") for start in starts]
        assert starts[0] >= 36, "after the root pointer"
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
        assert ends[-1] == len(memory)


class TestSmbios:
    def test_entry_point_has_both_checksums(self) -> None:
        entry = smbios(BIOS)[:31]
        assert entry.startswith(b"_SM_")
        assert entry[16:21] == b"_DMI_"
        assert sum(entry) & 0xFF == 0
        assert sum(entry[16:]) & 0xFF == 0

    def test_tables_are_where_it_says_and_end_with_the_end(self) -> None:
        memory = smbios(BIOS)
        length, address, count = struct.unpack_from("<HIH", memory, 22)
        table = memory[address - BIOS :]
        assert len(table) == length
        kinds, names, at = [], {}, 0
        while at < len(table):
            kinds.append(table[at])
            strings = table.index(b"\0\0", at + table[at + 1])
            names[table[at]] = table[at + table[at + 1] : strings].split(b"\0")
            at = strings + 2
        assert kinds == [0, 1, 3, 127]
        assert len(kinds) == count
        assert names[1][:2] == [b"ukmod", b"emulated PC"]


@pytest.mark.real
def test_the_image_finds_its_firmware(booted: Kernel) -> None:
    boot = booted.core.boot
    assert boot is not None
    log = [record.text for record in boot.log]
    assert "DMI: ukmod emulated PC, BIOS 1.0 04/01/2014" in log
    assert "ACPI: 1 ACPI AML tables successfully acquired and loaded" in log
    assert "PCI: Using configuration type 1 for base access" in log
    assert not [text for text in log if text.startswith("WARNING: ")]
