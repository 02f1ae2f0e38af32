"""Reference counts of modules: kernel/module/main.c."""

from __future__ import annotations

import pytest
from tests.golden import modules as compiled
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call

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
from ukmod.machine.registers import MASK64


@pytest.fixture
def module(ok_dep: Module) -> Module:
    return ok_dep


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


class TestExports:
    """The same as a module calls it."""

    @pytest.fixture
    def guest(self, machine: Kernel) -> Guest:
        return Guest(machine.core)

    def test_an_unconditional_reference_is_counted(
        self, machine: Kernel, guest: Guest, module: Module
    ) -> None:
        guest.call("__module_get", module.address)
        assert guest.call_int("module_refcount", module.address) == 1
        with pytest.raises(LoadError):
            machine.rmmod("ok_dep")
        guest.call("module_put", module.address)
        machine.rmmod("ok_dep")

    def test_null_is_the_kernel_itself(self, machine: Kernel, guest: Guest) -> None:
        guest.call("__module_get", 0)
        assert not machine.oopses

    def test_an_address_belongs_to_the_module_whose_memory_it_is_in(
        self, guest: Guest, module: Module
    ) -> None:
        layout = module.layout
        inside = (module.address, layout.core, layout.core + layout.core_size - 1)
        assert [guest.call("__module_address", at) & MASK64 for at in inside] == [module.address] * 3
        outside = (
            0,
            layout.core - 1,
            layout.core + layout.core_size,
            guest.kernel.symbols.address("_printk"),
        )
        assert [guest.call("__module_address", at) for at in outside] == [0] * 4

    def test_a_symbol_can_be_put_by_its_address(self, guest: Guest, module: Module) -> None:
        """symbol_put_addr(): the way back for a caller of symbol_get() that kept the pointer only."""
        guest.call("__module_get", module.address)
        guest.call("symbol_put_addr", module.layout.core)
        assert guest.call_int("module_refcount", module.address) == 0
        guest.call("symbol_put_addr", guest.kernel.symbols.address("_printk"))  # the kernel's are not counted
        assert not guest.kernel.oopses

    def test_an_address_that_is_nobodys_cannot_be_put(self, guest: Guest) -> None:
        lines = guest.oops("symbol_put_addr", 0x1234)
        assert "kernel BUG at kernel/module/main.c:805!" in lines

    def test_a_thread_can_end_and_let_its_module_go_at_once(
        self, machine: Kernel, guest: Guest, module: Module
    ) -> None:
        """module_put_and_kthread_exit(): no code of the module runs any more."""
        k = machine.core
        guest.call("__module_get", module.address)
        task = k.kthreads.create("t", lambda: call(k, "__module_put_and_kthread_exit", module.address, 7) + 1)
        k.tasks.get(task)
        k.sched.wake(task)
        machine.run(0.1)
        assert guest.call_int("module_refcount", module.address) == 0
        assert guest.call_int("kthread_stop", task.address) == 7


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
