"""delete_module(): kernel/module/main.c; tests/golden has what it does to each compiled case (loading)."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EAGAIN, EBUSY, ENOENT, EPERM

import pytest
from tests.golden import modules as compiled

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.module.main import ModuleState, module_refcount, try_module_get
from ukmod.userland import Process

FORCE = os.O_TRUNC


@pytest.fixture
def forceful(machine: Kernel) -> Kernel:
    """A kernel with CONFIG_MODULE_FORCE_UNLOAD=y, as Debian's, and a module."""
    machine.insmod(compiled()["ok_dep"].read_bytes())
    return machine


def load(machine: Kernel, name: str) -> None:
    machine.insmod(compiled()[name].read_bytes())


def refused(machine: Kernel, name: str, flags: int = os.O_NONBLOCK) -> int | None:
    """The errno; the module stays as it is."""
    before = {module.name: module.state for module in machine.modules.values()}
    with pytest.raises(LoadError) as caught:
        machine.rmmod(name, flags=flags)
    assert {module.name: module.state for module in machine.modules.values()} == before
    return caught.value.errno


class TestRefused:
    @pytest.mark.parametrize("name", ["", "none", "x" * 100])
    def test_what_is_not_loaded(self, machine: Kernel, name: str) -> None:
        load(machine, "ok_dep")
        assert refused(machine, name) == ENOENT

    def test_a_name_with_dashes(self, machine: Kernel) -> None:
        """The kernel compares names as they are; rmmod(8) and modprobe(8) make underscores of dashes."""
        load(machine, "ok_dep")
        errors: list[int | None] = []

        def main(process: Process) -> int:
            try:
                process.sys.delete_module("ok-dep", 0)
            except OSError as error:
                errors.append(error.errno)
            return 0

        machine.install("/bin/unload", main)
        machine.execute("/bin/unload")
        assert errors == [ENOENT]
        machine.rmmod("ok-dep")

    @pytest.mark.parametrize("flags", [0, os.O_NONBLOCK, FORCE])
    def test_what_other_modules_use(self, machine: Kernel, flags: int) -> None:
        """Not even by force: try_force_unload() is not asked."""
        load(machine, "exporter")
        load(machine, "uses_exporter")
        assert refused(machine, "exporter", flags) == EAGAIN
        assert not machine.core.taint.has("R")

    @pytest.mark.parametrize("flags", [0, os.O_NONBLOCK])
    def test_what_is_held(self, machine: Kernel, flags: int) -> None:
        """EWOULDBLOCK at once, with or without O_NONBLOCK: nobody has waited here since Linux 3.13."""
        load(machine, "ok_dep")
        module = machine.modules["ok_dep"]
        assert try_module_get(machine.core, module.address)
        assert refused(machine, "ok_dep", flags) == EAGAIN
        assert module_refcount(machine.core, module.address) == 1

    @pytest.mark.parametrize("flags", [0, FORCE])
    def test_what_has_no_exit_function(self, machine: Kernel, flags: int) -> None:
        load(machine, "no_exit")
        machine.core.force_unload = False
        assert refused(machine, "no_exit", flags) == EBUSY, "and this kernel cannot be forced"

    @pytest.mark.parametrize("state", [ModuleState.COMING, ModuleState.GOING])
    def test_what_is_coming_or_going(self, machine: Kernel, state: ModuleState) -> None:
        load(machine, "ok_dep")
        machine.core.modules.set_state(machine.modules["ok_dep"], state)
        assert refused(machine, "ok_dep") == EBUSY

    def test_anything_once_modules_are_disabled(self, machine: Kernel) -> None:
        load(machine, "ok_dep")
        machine.sysctl("kernel.modules_disabled", "1")
        assert refused(machine, "ok_dep") == EPERM
        assert refused(machine, "none") == EPERM, "which is looked at first"


class TestForce:
    """O_TRUNC, where the kernel was built with CONFIG_MODULE_FORCE_UNLOAD."""

    def test_a_module_that_is_held_goes_all_the_same(self, forceful: Kernel) -> None:
        assert try_module_get(forceful.core, forceful.modules["ok_dep"].address)
        forceful.rmmod("ok_dep", flags=FORCE)
        assert "ok_dep" not in forceful.modules
        assert forceful.core.taint.has("R")
        assert "Disabling lock debugging due to kernel taint" in forceful.dmesg()

    def test_a_module_in_use_stays_without_the_force_flag(self, forceful: Kernel) -> None:
        assert try_module_get(forceful.core, forceful.modules["ok_dep"].address)
        assert refused(forceful, "ok_dep", os.O_NONBLOCK) == EAGAIN

    def test_force_removes_a_module_without_an_exit_function(self, forceful: Kernel) -> None:
        load(forceful, "no_exit")
        forceful.rmmod("no_exit", flags=FORCE)
        assert "no_exit" not in forceful.modules
        assert forceful.core.taint.has("R")

    def test_where_no_force_is_needed_nothing_is_tainted(self, forceful: Kernel) -> None:
        """try_force_unload() is asked only where the module would have been refused."""
        forceful.rmmod("ok_dep", flags=FORCE)
        assert not forceful.core.taint.has("R")

    def test_the_taint_is_the_kernels_not_the_modules(self, forceful: Kernel) -> None:
        """add_taint(), not add_taint_module(): "last unloaded" does not show it."""
        assert try_module_get(forceful.core, forceful.modules["ok_dep"].address)
        forceful.rmmod("ok_dep", flags=FORCE)
        assert "R" not in forceful.core.modules.last_unloaded

    def test_the_exit_function_finds_the_references_as_they_were(self, forceful: Kernel) -> None:
        """try_release_module_ref() gives MODULE_REF_BASE back where there are more."""
        module = forceful.modules["ok_dep"]
        assert try_module_get(forceful.core, module.address)
        seen: list[int] = []
        watch(forceful, lambda: seen.append(module_refcount(forceful.core, module.address)))
        forceful.rmmod("ok_dep", flags=FORCE)
        assert seen == [1]


def watch(machine: Kernel, look: Callable[[], object]) -> None:
    """Have ``look`` called when a module is going: register_module_notifier()."""
    k = machine.core

    def notified(block: int, state: int, module: int) -> int:
        del block, module
        if state == ModuleState.GOING.value:
            look()
        return 0

    block = k.slab.kmalloc(k.types.sizeof("notifier_block"))
    k.memory.write(block, bytes(k.types.sizeof("notifier_block")))
    function = k.cpu.stubs.add_function(lambda frame: notified(*frame[1:4].tolist()))
    k.memory.set_u64(block + k.types.offset("notifier_block", "notifier_call"), function)
    machine.call("register_module_notifier", block)


class TestGoing:
    def test_the_exit_function_runs_before_notifiers_hear_of_it(self, machine: Kernel) -> None:
        load(machine, "params")
        logged: list[str] = []
        watch(machine, lambda: logged.append(machine.dmesg().splitlines()[-1]))
        machine.rmmod("params")
        assert "params: array" in logged[0], "the last line that its exit function prints"

    def test_meanwhile_nobody_can_hold_it(self, machine: Kernel) -> None:
        load(machine, "ok_dep")
        module = machine.modules["ok_dep"]
        seen: list[tuple[ModuleState, bool]] = []
        watch(machine, lambda: seen.append((module.state, try_module_get(machine.core, module.address))))
        machine.rmmod("ok_dep")
        assert seen == [(ModuleState.GOING, False)]

    def test_what_it_used_is_used_no_more(self, machine: Kernel) -> None:
        load(machine, "exporter")
        load(machine, "uses_exporter")
        assert module_refcount(machine.core, machine.modules["exporter"].address) == 1
        machine.rmmod("uses_exporter")
        assert module_refcount(machine.core, machine.modules["exporter"].address) == 0
        machine.rmmod("exporter")
        assert not machine.modules

    def test_the_last_module_that_went_is_remembered(self, machine: Kernel) -> None:
        """As an oops report has it, with its taints: Modules linked in: [last unloaded: NAME(OE)]."""
        load(machine, "exporter")
        load(machine, "ok_dep")
        machine.rmmod("ok_dep")
        assert machine.core.modules.last_unloaded == "ok_dep(OE)"

    def test_a_modules_symbols_go_with_the_module(self, machine: Kernel) -> None:
        load(machine, "exporter")
        machine.rmmod("exporter")
        with pytest.raises(LoadError):
            load(machine, "uses_exporter")

    def test_an_exit_function_that_oopses_leaves_it_going_for_ever(self, machine: Kernel) -> None:
        load(machine, "ok_dep")
        module = machine.modules["ok_dep"]
        exit_function = module.address + machine.core.types.offset("module", "exit")
        machine.core.memory.set_u64(exit_function, 0x10)
        with pytest.raises(LoadError, match="its exit function did not return"):
            machine.rmmod("ok_dep")
        assert len(machine.oopses) == 1
        assert module.state is ModuleState.GOING
        assert refused(machine, "ok_dep") == EBUSY
