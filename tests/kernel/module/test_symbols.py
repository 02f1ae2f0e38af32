"""The kernel's symbol table: what is exported, where it is, and what an address is called."""

from __future__ import annotations

import pytest
from tests.golden import modules as compiled

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.export import Export
from ukmod.machine.abi import Int
from ukmod.machine.memory import PAGE_SIZE


class TestFind:
    def test_a_function_has_one_address_for_good(self, kernel: Core) -> None:
        """Modules compare them: ``wait->func == autoremove_wake_function``."""
        first = kernel.symbols.find("autoremove_wake_function")
        assert first is not None
        assert first == kernel.symbols.find("autoremove_wake_function")
        assert first.address == kernel.symbols.address("autoremove_wake_function")
        assert kernel.symbols.is_function(first.address, "autoremove_wake_function")

    def test_no_two_have_the_same(self, kernel: Core) -> None:
        names = sorted(kernel.symbols.functions())
        addresses = {kernel.symbols.address(name) for name in names}
        assert len(addresses) == len(names) > 0

    @pytest.mark.parametrize("name", ["", "nonesuch", "PRINTK", "_printk ", "_print"])
    def test_what_is_not_exported(self, kernel: Core, name: str) -> None:
        assert kernel.symbols.find(name) is None
        assert not kernel.symbols.is_python(name)

    @pytest.mark.parametrize(("name", "gpl"), [("_printk", False), ("kfree", False), ("call_rcu", True)])
    def test_some_are_for_gpl_modules_only(self, kernel: Core, name: str, gpl: bool) -> None:
        """EXPORT_SYMBOL or EXPORT_SYMBOL_GPL, as in the kernel's source."""
        symbol = kernel.symbols.find(name)
        assert symbol is not None
        assert symbol.gpl == gpl
        assert symbol.owner == ""

    def test_symbols_are_in_reach_of_a_modules_calls(self, kernel: Core) -> None:
        """A call has 32 bits of displacement: R_X86_64_PLT32; and R_X86_64_32S is signed."""
        symbol = kernel.symbols.find("_printk")
        assert symbol is not None
        assert symbol.address >= 0xFFFF_FFFF_8000_0000


class TestVariables:
    def test_one_is_zero_and_aligned_and_alone(self, kernel: Core) -> None:
        a = kernel.symbols.add_variable("var_a", 3)
        b = kernel.symbols.add_variable("var_b", 64, align=64)
        c = kernel.symbols.add_variable("var_c", 3 * PAGE_SIZE)
        assert a % 8 == b % 64 == 0
        assert a + 3 <= b < b + 64 <= c
        assert kernel.memory.read(c, 3 * PAGE_SIZE) == bytes(3 * PAGE_SIZE)
        kernel.memory.write(a, b"abc")
        assert kernel.memory.read(b, 64) == bytes(64)
        assert kernel.symbols.address("var_b") == b

    def test_some_are_always_there(self, kernel: Core) -> None:
        for name in ("jiffies", "system_wq"):
            assert kernel.symbols.find(name) is not None


class TestNames:
    """name_at(): what an oops report calls an address."""

    def test_a_function_and_the_offset_into_it(self, kernel: Core) -> None:
        start = kernel.symbols.address("_printk")
        assert kernel.symbols.name_at(start) == ("_printk", 0)
        assert kernel.symbols.name_at(start + 1) == ("_printk", 1)

    def test_up_to_its_size_only(self, kernel: Core) -> None:
        start = kernel.symbols.add_variable("var_a", 16)
        kernel.symbols.add_variable("var_b", 8)
        assert kernel.symbols.size_at(start) == 16
        assert kernel.symbols.name_at(start + 15) == ("var_a", 15)
        assert kernel.symbols.name_at(start + 16) == ("var_b", 0)

    @pytest.mark.parametrize("address", [0, 0xFFFF_8880_0000_0000, (1 << 64) - 1])
    def test_an_address_outside_all_symbols_has_no_name(self, kernel: Core, address: int) -> None:
        assert kernel.symbols.name_at(address) is None

    def test_a_per_cpu_variables_offset_is_no_address(self, kernel: Core) -> None:
        """is_ksym_addr(): a jump to 0x1000 is an oops at 0x1000, not in some variable."""
        symbol = kernel.symbols.find("current_task")
        assert symbol is not None
        assert symbol.address < 1 << 32
        assert kernel.symbols.name_at(symbol.address) is None


class TestAdded:
    """Functions that the user of this kernel exports."""

    def test_one_takes_the_place_of_the_kernels_own(self, kernel: Core) -> None:
        before = kernel.symbols.address("msleep")

        def msleep(value: Int) -> Int:
            return value + 1

        symbol = kernel.symbols.add_function(Export("msleep", gpl=True), msleep, kernel=False)
        assert symbol.address != before
        found = kernel.symbols.find("msleep")
        assert found is not None
        assert (found.address, found.gpl) == (symbol.address, True)
        results: list[int] = []
        kernel.run_task("t", lambda: results.append(kernel.cpu.call(symbol.address, 41)) or 0)
        assert results == [42]
        assert kernel.symbols.name_at(before) == ("msleep", 0), "modules that are loaded still call it"


class TestCrcs:
    """CONFIG_MODVERSIONS: what Module.symvers says of an export."""

    def test_none_is_known_until_there_are_some(self, kernel: Core) -> None:
        before = kernel.symbols.find("_printk")
        assert before is not None
        assert before.crc is None
        kernel.symbols.set_crcs({"_printk": 0x92997ED8, "later": 1})
        for name, crc in (("_printk", 0x92997ED8), ("kfree", None)):
            symbol = kernel.symbols.find(name)
            assert symbol is not None
            assert symbol.crc == crc

    def test_crcs_hold_for_symbols_that_are_added_later(self, kernel: Core) -> None:
        kernel.symbols.set_crcs({"var_x": 7})
        kernel.symbols.add_variable("var_x", 8)
        symbol = kernel.symbols.find("var_x")
        assert symbol is not None
        assert symbol.crc == 7


class TestModules:
    """find_symbol(): the kernel's own first, then those of modules."""

    def test_a_modules_exports_come_and_go_with_it(self, machine: Kernel) -> None:
        module = machine.insmod(compiled()["exporter"].read_bytes())
        core = machine.core
        (name, *_) = (
            name for name in module.layout.symbol_names if (s := core.modules.find_symbol(name)) and s.owner
        )
        found = core.modules.find_symbol(name)
        assert found is not None
        assert found.owner == "exporter"
        assert core.symbols.find(name) is None, "the kernel itself does not export it"
        machine.rmmod("exporter")
        assert core.modules.find_symbol(name) is None

    def test_what_nobody_exports_is_named(self, machine: Kernel) -> None:
        """simplify_symbols(): -ENOENT, and a line in the log for each."""
        with pytest.raises(LoadError) as caught:
            machine.insmod(compiled()["needs_missing_symbol"].read_bytes())
        assert caught.value.errno == 2
        assert "needs_missing_symbol: Unknown symbol " in machine.dmesg()
        assert "(err -2)" in machine.dmesg()
