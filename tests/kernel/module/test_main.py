"""Reference counts of modules: kernel/module/main.c."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.golden import modules as compiled
from tests.kernel.conftest import layouts

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.module.main import (
    Module,
    ModuleState,
    module_get,
    module_put,
    module_refcount,
    try_module_get,
)


@pytest.fixture
def machine() -> Iterator[Kernel]:
    with Kernel(types=layouts()) as k:
        yield k


@pytest.fixture
def module(machine: Kernel) -> Module:
    machine.insmod(compiled()["ok_dep"].read_bytes())
    return machine.modules["ok_dep"]


def test_a_live_module_can_be_held_and_let_go(machine: Kernel, module: Module) -> None:
    k = machine.core
    assert try_module_get(k, module.address)
    assert module_refcount(k, module.address) == 1
    module_put(k, module.address)
    assert module_refcount(k, module.address) == 0
    machine.rmmod("ok_dep")


def test_a_module_that_is_going_cannot_be_tried_but_who_knows_better_may_hold_it(
    machine: Kernel, module: Module
) -> None:
    # net/qrtr gives back in its exit function the reference that it did without while it was loaded.
    k = machine.core
    k.modules.set_refcount(module, 0)
    k.modules.set_state(module, ModuleState.GOING)
    assert not try_module_get(k, module.address)
    module_get(k, module.address)
    module_put(k, module.address)
    assert not machine.warnings
    assert module_refcount(k, module.address) == -1


def test_a_reference_put_too_often_is_warned_of(machine: Kernel, module: Module) -> None:
    k = machine.core
    module_put(k, module.address)
    module_put(k, module.address)
    assert [(w.file, w.line) for w in machine.warnings] == [("kernel/module/main.c", 857)]
    assert module_refcount(k, module.address) == -1, "and it goes no lower"


def test_what_is_built_in_has_no_module_to_count(machine: Kernel) -> None:
    k = machine.core
    assert try_module_get(k, 0)
    module_put(k, 0)
    assert not machine.warnings


class TestGracePeriods:
    """Nobody who has seen a module may still be looking at it when its memory goes."""

    @pytest.fixture
    def waited(self, machine: Kernel, monkeypatch: pytest.MonkeyPatch) -> list[ModuleState]:
        """The state of the module at each grace period that was waited for."""
        seen: list[ModuleState] = []
        rcu = machine.core.rcu
        wait = rcu.synchronize

        def synchronize() -> None:
            seen.extend(module.state for module in machine.core.modules)
            wait()

        monkeypatch.setattr(rcu, "synchronize", synchronize)
        return seen

    def test_unloading(self, machine: Kernel, module: Module, waited: list[ModuleState]) -> None:
        machine.rmmod(module.name)
        assert waited == [ModuleState.UNFORMED]

    def test_an_init_function_that_fails(self, machine: Kernel, waited: list[ModuleState]) -> None:
        with pytest.raises(LoadError):
            machine.insmod(compiled()["ret_enodev"].read_bytes())
        assert waited == [ModuleState.GOING, ModuleState.UNFORMED]
