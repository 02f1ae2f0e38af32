"""inter_module_register() and its kin: kernel/intermodule.c of Linux 2.4."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.api import Kernel
from ukmod.kernel.module.inter_module import InterModuleEntry
from ukmod.kernel.module.main import Module, ModuleState, module_refcount
from ukmod.userland import Process

DATA = 0x1234_5678


@pytest.fixture
def guest(machine: Kernel, ok_dep: Module) -> Guest:
    return Guest(machine.core)


@pytest.fixture
def owner(ok_dep: Module) -> int:
    return ok_dep.address


def test_getting_what_is_registered_holds_its_module_until_it_is_put(
    machine: Kernel, guest: Guest, owner: int
) -> None:
    guest.call("inter_module_register", b"drm", owner, DATA)
    assert guest.call("inter_module_get", b"drm") == DATA
    assert module_refcount(machine.core, owner) == 1
    guest.call("inter_module_put", b"drm")
    assert module_refcount(machine.core, owner) == 0


def test_a_string_that_nobody_registered_or_that_was_taken_back_gives_null(guest: Guest, owner: int) -> None:
    assert guest.call("inter_module_get", b"drm") == 0
    guest.call("inter_module_register", b"drm", owner, DATA)
    guest.call("inter_module_unregister", b"drm")
    assert guest.call("inter_module_get", b"drm") == 0


def test_a_module_that_is_going_gives_null(machine: Kernel, guest: Guest, owner: int) -> None:
    guest.call("inter_module_register", b"drm", owner, DATA)
    module = machine.modules["ok_dep"]
    machine.core.modules.set_refcount(module, 0)
    machine.core.modules.set_state(module, ModuleState.GOING)
    assert guest.call("inter_module_get", b"drm") == 0


def test_what_the_kernel_itself_registers_has_no_module_to_hold(guest: Guest) -> None:
    guest.call("inter_module_register", b"drm", 0, DATA)
    assert guest.call("inter_module_get", b"drm") == DATA
    guest.call("inter_module_put", b"drm")


def test_a_module_is_requested_for_what_nobody_registered(machine: Kernel, guest: Guest, owner: int) -> None:
    """inter_module_get_request(): what the module registers when it is loaded is returned."""
    asked = list[str]()

    def modprobe(process: Process) -> int:
        asked.extend(process.argv)
        machine.core.inter_module.register(InterModuleEntry("drm", 0, DATA))
        return 0

    machine.install("/sbin/modprobe", modprobe)
    assert guest.call("inter_module_get_request", b"drm", b"agpgart") == DATA
    assert asked[-1] == "agpgart"
    asked.clear()
    assert guest.call("inter_module_get_request", b"drm", b"agpgart") == DATA
    assert asked == [], "it is there already"


def test_a_request_that_comes_to_nothing_gives_null(machine: Kernel, guest: Guest) -> None:
    machine.install("/sbin/modprobe", lambda _: 1)
    assert guest.call("inter_module_get_request", b"drm", b"agpgart") == 0
