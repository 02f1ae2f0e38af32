"""Messages about devices."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(
    ("bus", "devt", "name"),
    [
        (b"pci", 0, "+pci:eth0"),
        (b"pci", 8 << 20 | 3, "c8:3"),
        (b"block", 8 << 20 | 3, "b8:3"),
        (b"pci", 3, "+pci:eth0"),  # no major number
        (b"a_very_long_subsystem", 0, "+a_very_long_subsystem:eth0"),
        (b"b" * 60, 0, "+" + "b" * 46),
    ],
)
def test_a_record_identifies_the_device(guest: Guest, bus: bytes, devt: int, name: str) -> None:
    k = guest.kernel
    device = _device(guest, b"eth0", bus)
    k.memory.set_u32(device + k.types.offset("device", "devt"), devt)
    guest.call("_dev_err", device, b"text\n")
    record = k.log.records[-1]
    assert (record.subsystem, record.device) == (bus.decode()[:15], name)


def test_a_record_of_a_network_interface_has_its_index(guest: Guest) -> None:
    k, offset = guest.kernel, guest.kernel.types.offset
    interface = guest.put(b"", room=k.types.sizeof("net_device"))
    k.memory.write(interface, bytes(k.types.sizeof("net_device")))
    k.memory.set_u32(interface + offset("net_device", "ifindex"), 8)
    owner = guest.put(b"", room=k.types.sizeof("class"))
    k.memory.set_u64(owner + offset("class", "name"), guest.put(b"net"))
    device = interface + offset("net_device", "dev")
    k.memory.set_u64(device + offset("device", "class"), owner)
    guest.call("_dev_err", device, b"text\n")
    assert k.log.records[-1].device == "n8"


def test_a_record_of_a_device_without_bus_and_class_names_none(guest: Guest) -> None:
    device = _device(guest, b"thing", b"none")
    guest.kernel.memory.set_u64(device + guest.kernel.types.offset("device", "bus"), 0)
    guest.call("_dev_err", device, b"text\n")
    record = guest.kernel.log.records[-1]
    assert (record.text, record.subsystem, record.device) == (" thing: text", "", "")


def test_a_message_about_no_device_says_so(guest: Guest) -> None:
    guest.call("_dev_info", 0, b"hello\n")
    assert guest.kernel.log.lines[-1] == "(NULL device *): hello"


def test_a_failed_probe_names_its_error(guest: Guest) -> None:
    device = _device(guest, b"dev", b"bus")
    assert guest.call_int("dev_err_probe", device, -5, b"no clock\n") == -5
    assert guest.kernel.log.lines[-1] == "bus dev: error -EIO: no clock"
    assert guest.call_int("dev_err_probe", device, -517, b"not yet\n") == -517
    assert "not yet" not in guest.kernel.log.dmesg()


@pytest.mark.parametrize(
    ("function", "level"),
    [("_dev_emerg", 0), ("_dev_alert", 1), ("_dev_crit", 2), ("_dev_warn", 4), ("_dev_notice", 5)],
)
def test_each_name_has_its_level(guest: Guest, function: str, level: int) -> None:
    guest.call(function, _device(guest, b"dev", b"bus"), b"%d\n", 7)
    record = guest.kernel.log.records[-1]
    assert (record.level, record.text) == (level, "bus dev: 7")


def test_a_level_may_be_an_argument(guest: Guest) -> None:
    device = _device(guest, b"dev", b"bus")
    guest.call("_dev_printk", b"\x015", device, b"five\n")
    guest.call("dev_printk_emit", 2, device, b"two\n")
    assert [(r.level, r.text, r.device) for r in guest.kernel.log.records] == [
        (5, "bus dev: five", "+bus:dev"),
        (2, "two", "+bus:dev"),
    ]


def test_a_failed_probe_may_be_a_warning(guest: Guest) -> None:
    assert guest.call_int("dev_warn_probe", _device(guest, b"dev", b"bus"), -5, b"no clock\n") == -5
    assert (guest.kernel.log.records[-1].level, guest.kernel.log.lines[-1]) == (
        4, "bus dev: error -EIO: no clock",
    )  # fmt: skip


def test_a_devices_driver_is_named_or_its_bus(guest: Guest) -> None:
    k, device = guest.kernel, _device(guest, b"dev", b"bus")
    assert guest.string(guest.pointer("dev_driver_string", device)) == b"bus"
    driver = guest.put(b"", room=k.types.sizeof("device_driver"))
    k.memory.set_u64(driver + k.types.offset("device_driver", "name"), guest.put(b"driver"))
    k.memory.set_u64(device + k.types.offset("device", "driver"), driver)
    assert guest.string(guest.pointer("dev_driver_string", device)) == b"driver"
    k.memory.set_u64(device + k.types.offset("device", "driver"), 0)
    k.memory.set_u64(device + k.types.offset("device", "bus"), 0)
    assert guest.string(guest.pointer("dev_driver_string", device)) == b""


class TestDynamicDebug:
    """Documentation/admin-guide/dynamic-debug-howto.rst: flags m, f, l and t of a call site."""

    FLAGS = pytest.mark.parametrize(
        ("flags", "prefix"),
        [
            ("", ""),
            ("m", "mod: "),
            ("f", "fn: "),
            ("l", "42: "),
            ("mfl", "mod:fn:42: "),
            ("t", "[{pid}] "),
            ("tl", "[{pid}] 42: "),
        ],
    )

    def site(self, guest: Guest, flags: str) -> int:
        """A struct _ddebug of function fn in module mod, at line 42."""
        k, offset = guest.kernel, guest.kernel.types.offset
        at = guest.put(bytes(k.types.sizeof("_ddebug")))
        for member, text in (("modname", b"mod"), ("function", b"fn"), ("format", b"")):
            k.memory.set_u64(at + offset("_ddebug", member), guest.put(text))
        bits = 1 | sum(1 << 1 + "mflt".index(flag) for flag in flags)
        k.memory.set_u32(at + offset("_ddebug", "format") + 8, 42 | bits << 24)
        return at

    @FLAGS
    def test_a_debug_message_begins_as_the_flags_of_its_site_say(
        self, guest: Guest, flags: str, prefix: str
    ) -> None:
        guest.call("__dynamic_pr_debug", self.site(guest, flags), b"%d left\n", 5)
        record = guest.kernel.log.records[-1]
        assert (record.level, record.text) == (7, prefix.format(pid=record.pid) + "5 left")

    @FLAGS
    def test_a_debug_message_about_a_device_names_it_behind_the_prefix(
        self, guest: Guest, flags: str, prefix: str
    ) -> None:
        device = _device(guest, b"dev", b"bus")
        guest.call("__dynamic_dev_dbg", self.site(guest, flags), device, b"%d left\n", 5)
        record = guest.kernel.log.records[-1]
        assert (record.level, record.text) == (7, prefix.format(pid=record.pid) + "bus dev: 5 left")
        assert record.device == "+bus:dev"

    def test_a_debug_message_about_no_device_has_no_prefix(self, guest: Guest) -> None:
        guest.call("__dynamic_dev_dbg", self.site(guest, "mflt"), 0, b"text\n")
        record = guest.kernel.log.records[-1]
        assert (record.level, record.text) == (7, "(NULL device *): text")

    def test_an_interrupt_has_no_task_to_name(self, guest: Guest) -> None:
        k, site = guest.kernel, self.site(guest, "tm")
        k.clock.at(k.clock.now, lambda: guest.call("__dynamic_pr_debug", site, b"text\n"))
        k.run(0.01)
        assert k.log.lines[-1] == "<intr> mod: text"
