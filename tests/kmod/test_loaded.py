"""What /sys/module says of a module; refcnt, holders and size are lsmod's and rmmod's tests."""

from __future__ import annotations

import errno

import pytest
from tests.kmod.fakehost import FakeHost

from ukmod.kmod.loaded import SysModules


@pytest.fixture
def host() -> FakeHost:
    host = FakeHost()
    host.loaded["vfat"] = (0, [])
    host.sections = {".text": "0xffffffffc0557000\n", ".bss": "0xffffffffc05593c0\n"}
    return host


def test_sections_are_addresses_by_name(host: FakeHost) -> None:
    assert SysModules(host).sections("vfat") == {".text": 0xFFFFFFFFC0557000, ".bss": 0xFFFFFFFFC05593C0}


def test_a_module_that_is_not_there_has_none(host: FakeHost) -> None:
    messages: list[tuple[str, str]] = []
    with pytest.raises(FileNotFoundError):
        SysModules(host, lambda _priority, place, text: messages.append((place, text))).sections("ext4")
    assert messages == [
        ("kmod_module_get_sections", "could not open '/sys/module/ext4/sections': No such file or directory")
    ]


def test_what_is_no_number_is_refused(host: FakeHost) -> None:
    host.sections[".text"] = "(null)\n"
    with pytest.raises(OSError, match="Invalid argument") as caught:
        SysModules(host).sections("vfat")
    assert caught.value.errno == errno.EINVAL


def test_a_count_that_is_no_number_is_not_the_same_as_none(host: FakeHost) -> None:
    """`modprobe -r` tries to remove such a module; without a count it is gone already."""
    host.loaded["vfat"] = ("x", [])  # type: ignore[assignment]
    assert SysModules(host).refcnt("vfat") == -errno.EINVAL
    assert SysModules(host).refcnt("ext4") is None
