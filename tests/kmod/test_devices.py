"""Listings of devices: sysfs, lspci and lsusb."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError, NotFoundError, UkmodError
from ukmod.kmod.devices import matcher, modaliases, read_devices

SATA = "pci:v00008086d00002922sv{0}sd{1}bc01sc06i{2}"


@pytest.mark.parametrize(
    ("listing", "subsystem"),
    [
        ("00:1f.2 0106: 8086:2922 (rev 02)", ("?" * 8, "?" * 8, "??")),
        ("0000:00:1f.2 0106: 8086:2922 (rev 02) (prog-if 01 [AHCI 1.0])", ("?" * 8, "?" * 8, "01")),
        ("00:1f.2 0106: 8086:2922\n\tSubsystem: 1af4:1100\n", ("00001AF4", "00001100", "??")),
        (
            "00:1f.2 SATA [0106]: Intel [AHCI] [8086:2922] (rev 02)\n\tSubsystem: QEMU [1af4:1100]\n",
            ("00001AF4", "00001100", "??"),
        ),
        ('00:1f.2 "0106" "8086" "2922" -r02 -p01 "1af4" "1100"', ("00001AF4", "00001100", "01")),
        ('00:1f.2 "0106" "8086" "2922" -r02 "" ""', ("00000000", "00000000", "00")),
        (
            '00:1f.2 "SATA [0106]" "Intel [8086]" "[AHCI] [2922]" -r02 -p01 "Red Hat [1af4]" "QEMU [1100]"',
            ("00001AF4", "00001100", "01"),
        ),
        (
            "Slot:\t00:1f.2\nClass:\t0106\nVendor:\t8086\nDevice:\t2922\nSVendor:\t1af4\nSDevice:\t1100\nProgIf:\t01\n",
            ("00001AF4", "00001100", "01"),
        ),
    ],
)
def test_each_listing_of_lspci_gives_what_it_shows(listing: str, subsystem: tuple[str, ...]) -> None:
    assert modaliases(listing) == [SATA.format(*subsystem)]


def test_a_listing_of_names_says_how_to_list_numbers() -> None:
    with pytest.raises(FormatError, match="lspci -n"):
        modaliases("00:1f.2 SATA controller: Intel Corporation 82801 (rev 02)", "list.txt")


def test_lsusb_knows_vendor_and_product() -> None:
    text = "Bus 001 Device 002: ID 8087:0024 Intel Corp. Hub\nBus 001 Device 003: ID 046d:c52b Logitech\n"
    assert modaliases(text) == [
        "usb:v8087p0024d????dc??dsc??dp??ic??isc??ip??in??",
        "usb:v046DpC52Bd????dc??dsc??dp??ic??isc??ip??in??",
    ]


def test_lsusb_v_knows_each_interface() -> None:
    text = """
Bus 001 Device 003: ID 046d:c52b Logitech, Inc. Unifying Receiver
Device Descriptor:
  bLength                18
  bcdUSB               2.00
  bDeviceClass            0
  bDeviceSubClass         0
  bDeviceProtocol         0
  idVendor           0x046d Logitech, Inc.
    Interface Descriptor:
      bInterfaceNumber        0
      bInterfaceClass         3 Human Interface Device
      bInterfaceSubClass      1 Boot Interface Subclass
      bInterfaceProtocol      1 Keyboard
    Interface Descriptor:
      bInterfaceNumber        1
      bInterfaceClass       255 Vendor Specific Class
      bInterfaceSubClass      0
      bInterfaceProtocol      2
"""
    assert modaliases(text) == [
        "usb:v046DpC52Bd????dc00dsc00dp00ic03isc01ip01in00",
        "usb:v046DpC52Bd????dc00dsc00dp00icFFisc00ip02in01",
    ]


def test_lines_of_sysfs_are_taken_as_they_are() -> None:
    text = (
        "acpi:PNP0C0C:\n"
        "/sys/devices/pci0000:00/0000:00:02.0/modalias:pci:v00001234d00001111sv0sd0bc03sc00i00\n"
        "MODALIAS=platform:Fixed MDIO bus\n"
        "E: MODALIAS=virtio:d00000001v00001AF4\n"
        "uevent:MODALIAS=acpi:PNP0C0C:\n"
        "DRIVER=e1000\n# comment\n\n"
    )
    assert modaliases(text) == [
        "acpi:PNP0C0C:",
        "pci:v00001234d00001111sv0sd0bc03sc00i00",
        "platform:Fixed MDIO bus",
        "virtio:d00000001v00001AF4",
    ]


def test_a_directory_is_searched_as_sys_devices_is(tmp_path: Path) -> None:
    (tmp_path / "pci0/usb1").mkdir(parents=True)
    (tmp_path / "pci0/modalias").write_text("pci:v1\n")
    (tmp_path / "pci0/uevent").write_text("DRIVER=x\nMODALIAS=pci:v1\n")
    (tmp_path / "pci0/usb1/uevent").write_text("MODALIAS=usb:v2\n")
    (tmp_path / "pci0/again").symlink_to(tmp_path)
    assert read_devices(str(tmp_path)) == ["pci:v1", "usb:v2"]


def test_a_file_without_devices_is_an_error_and_so_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("hello\n")
    with pytest.raises(FormatError, match="lists no device"):
        read_devices(str(tmp_path / "list"))
    with pytest.raises(NotFoundError):
        read_devices(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("alias", "answer"),
    [
        ("pci:v00008086d00002922sv*sd*bc*sc*i*", True),
        ("pci:v00008086d*sv*sd*bc01sc06i*", True),
        ("pci:v*d*sv*sd*bc01sc06i01*", True),
        ("pci:v00008086d00002922sv00001AF4sd*bc*sc*i*", True),
        ("pci:v*d*sv*sd*bc[0-2]?sc06i0[!2-9]", True),
        ("pci:v00008086d00002923sv*sd*bc*sc*i*", False),
        ("pci:v*d*sv*sd*bc02sc06i01*", False),
        ("pci:v*", True),
        ("pci:*", True),
        ("*", True),
        ("usb:v*", False),
        ("pci:v[", False),
    ],
)
def test_an_alias_matches_if_what_is_not_known_may_be_as_it_says(alias: str, answer: bool) -> None:
    assert matcher(SATA.format("?" * 8, "?" * 8, "??"))(alias) is answer


@pytest.mark.fuzz
@given(st.text())
def test_any_listing_gives_modaliases_or_an_error_of_ours(text: str) -> None:
    try:
        found = modaliases(text)
    except UkmodError:
        return
    assert len(found) == len(set(found))
