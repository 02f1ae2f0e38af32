"""What a module leaves registered with the code of a real kernel image."""

from __future__ import annotations

from typing import Any

import pytest
from tests.golden import modules as compiled
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

REGISTRATIONS = {
    "reboot_notifier": "pointer to ear [registers] in ",
    "netdevice_notifier": "pointer to ear [registers] in ",
    "proc": "pointer to proc_ops [registers] in an object of proc_dir_entry from registers_init+",
    "debugfs": "pointer to fops",
    "misc": "pointer to misc+0x18 [registers] in ",
    "filesystem": "pointer to filesystem [registers] in ",
    "interrupt": "pointer to handle [registers] in an object of kmalloc-128 from request_threaded_irq+",
    "driver": "pointer to driver+0x30 [registers] in an object of kmalloc-192 from bus_add_driver+",
    "protocol": "pointer to protocol+0x38 [registers] in ptype_base+",
}
"""What the module ``registers`` registers, and how one of the pointers to it is reported."""


def left_by(booted: Kernel, params: str) -> list[str]:
    def work() -> Any:
        booted.insmod(compiled()["registers"].read_bytes(), params)
        booted.rmmod("registers")
        if booted.dangling:
            booted.settle()
        return [str(one) for one in booted.dangling]

    found: list[str] = in_a_copy(booted, work)
    return found


@pytest.mark.parametrize("what", REGISTRATIONS)
def test_what_is_registered_with_the_image_is_found(booted: Kernel, what: str) -> None:
    found = left_by(booted, f"what={what}")
    assert any(line.startswith(REGISTRATIONS[what]) for line in found), found


@pytest.mark.parametrize("what", REGISTRATIONS)
def test_what_was_unregistered_is_not_found(booted: Kernel, what: str) -> None:
    assert left_by(booted, f"what={what} tidy=1") == []
