"""Messages about devices."""

from __future__ import annotations

from tests.kernel.conftest import Guest


def _device(guest: Guest, name: bytes, bus: bytes) -> int:
    k, offset = guest.kernel, guest.kernel.types.offset
    device = guest.put(b"", room=k.types.sizeof("device"))
    owner = guest.put(b"", room=k.types.sizeof("bus_type"))
    k.memory.write(device, bytes(k.types.sizeof("device")))
    k.memory.set_u64(owner + offset("bus_type", "name"), guest.put(bus))
    k.memory.set_u64(device + offset("device", "kobj.name"), guest.put(name))
    k.memory.set_u64(device + offset("device", "bus"), owner)
    return device


def test_a_message_names_the_driver_and_the_device(guest: Guest) -> None:
    device = _device(guest, b"0000:00:02.0", b"pci")
    guest.call("_dev_err", device, b"no %s\n", b"luck")
    record = guest.kernel.log.records[-1]
    assert (record.level, record.text) == (3, "pci 0000:00:02.0: no luck")
    assert (record.subsystem, record.device) == ("pci", "+pci:0000:00:02.0")


def test_a_message_about_no_device_says_so(guest: Guest) -> None:
    guest.call("_dev_info", 0, b"hello\n")
    assert guest.kernel.log.lines[-1] == "(NULL device *): hello"


def test_a_failed_probe_names_its_error(guest: Guest) -> None:
    device = _device(guest, b"dev", b"bus")
    assert guest.call_int("dev_err_probe", device, -5, b"no clock\n") == -5
    assert guest.kernel.log.lines[-1] == "bus dev: error -EIO: no clock"
    assert guest.call_int("dev_err_probe", device, -517, b"not yet\n") == -517
    assert "not yet" not in guest.kernel.log.dmesg()
