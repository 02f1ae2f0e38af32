"""Files that are no modules, and modules that lie: a clear refusal or an oops, and never more than that.

Every ``.ko`` here is a real one, damaged; what a damaged one may do is what the hardware and the kernel would
let it do. Only errors of ukmod's own family may come out, and the machine can be used afterwards.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.golden import modules
from tests.kernel.conftest import layouts

from ukmod.errors import KernelPanic, LoadError, UkmodError
from ukmod.kernel.api import Kernel
from ukmod.kmod.elf import Elf, Section

SAMPLES = ("ok_dep", "exporter", "params", "threads", "slab", "notifier")
SHT_NOBITS, SHF_ALLOC, SHF_EXECINSTR = 8, 2, 4


@cache
def image(name: str) -> bytes:
    return modules()[name].read_bytes()


@cache
def elf(name: str) -> Elf:
    return Elf(image(name), name)


@pytest.fixture
def machine() -> Iterator[Kernel]:
    """A machine that is the kernel of the compiled modules, and has one of them loaded."""
    with Kernel(types=layouts()) as k:
        k.insmod(image("ok_dep"))
        k.rmmod("ok_dep")
        yield k


def section(name: str, which: str) -> Section:
    found = elf(name).section(which)
    assert found is not None
    return found


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


# Offsets in an Elf64_Shdr.
NAME, TYPE, FLAGS, OFFSET, SIZE, LINK, INFO, ALIGN = 0, 4, 8, 24, 32, 40, 44, 48
_WIDTH = {NAME: 4, TYPE: 4, LINK: 4, INFO: 4}


def header(name: str, which: str, field: int, value: int) -> bytes:
    """The module with a field of a section's header changed."""
    data = image(name)
    (table,) = struct.unpack_from("<Q", data, 40)
    at = table + 64 * section(name, which).index + field
    width = _WIDTH.get(field, 8)
    return patched(data, at, (value & (1 << 8 * width) - 1).to_bytes(width, "little"))


def attempt(k: Kernel, data: bytes, params: str = "") -> str:
    """Load, run, unload; what came of it. Whatever is no error of ours comes through."""
    try:
        module = k.insmod(data, params)
        k.run(1)
        k.rmmod(module.name)
    except KernelPanic:
        return "panic"
    except UkmodError as error:
        return str(error)
    return "ok"


def refused(k: Kernel, data: bytes) -> str:
    """Why the module was refused, with the errno that execve() has for what is no program either."""
    loaded = set(k.modules)
    with pytest.raises(LoadError) as caught:
        k.insmod(data)
    assert caught.value.errno == 8, caught.value
    assert set(k.modules) == loaded
    assert attempt(k, image("ok_dep")) == "ok"
    return str(caught.value)


class TestTruncated:
    """A download that broke off."""

    @pytest.mark.parametrize("name", SAMPLES)
    def test_at_every_section_boundary(self, machine: Kernel, name: str) -> None:
        data = image(name)
        ends = {s.offset for s in elf(name).sections} | {s.offset + s.size for s in elf(name).sections}
        for end in sorted(ends):
            for near in (end - 1, end, end + 1):
                if 0 <= near < len(data):
                    with pytest.raises(UkmodError):
                        machine.insmod(data[:near])
        assert attempt(machine, image("ok_dep")) == "ok"

    def test_anywhere(self, machine: Kernel) -> None:
        data = image("exporter")
        for end in random.Random(1).sample(range(len(data)), 200):
            with pytest.raises(UkmodError):
                machine.insmod(data[:end])

    @pytest.mark.parametrize(
        "data", [b"", b"\x7f", b"\x7fELF", b"#!/bin/sh\n", bytes(64), b"\x7fELF" + bytes(60)]
    )
    def test_nothing_much(self, machine: Kernel, data: bytes) -> None:
        with pytest.raises(UkmodError):
            machine.insmod(data)


class TestOtherMachines:
    """Modules of other architectures, and what says it is."""

    @pytest.mark.parametrize("number", [0, 3, 40, 183, 243, 22, 0xFFFF])
    def test_machine(self, machine: Kernel, number: int) -> None:
        data = patched(image("ok_dep"), 18, number.to_bytes(2, "little"))
        assert f"machine {number}" in refused(machine, data)
        assert f"Invalid architecture in ELF header: {number}" in machine.dmesg()

    @pytest.mark.parametrize(("offset", "value"), [(4, 1), (4, 0), (4, 9), (5, 2), (5, 0), (5, 7), (6, 0)])
    def test_class_and_byte_order(self, machine: Kernel, offset: int, value: int) -> None:
        assert attempt(machine, patched(image("ok_dep"), offset, bytes((value,)))) != "panic"

    @pytest.mark.parametrize("kind", [0, 2, 3, 4])
    def test_no_object_file(self, machine: Kernel, kind: int) -> None:
        with pytest.raises(UkmodError):
            machine.insmod(patched(image("ok_dep"), 16, kind.to_bytes(2, "little")))


class TestSectionHeaders:
    """Headers that lie about their sections."""

    @pytest.mark.parametrize(
        "which", [".text", ".data", ".bss", ".symtab", ".strtab", ".shstrtab", ".modinfo"]
    )
    @pytest.mark.parametrize("field", [TYPE, FLAGS, OFFSET, SIZE, LINK, INFO, ALIGN, NAME])
    @pytest.mark.parametrize("value", [0, 1, 0x1000, 0x7FFF_FFFF, -1])
    def test_any_field(self, machine: Kernel, which: str, field: int, value: int) -> None:
        if elf("params").section(which) is not None:
            attempt(machine, header("params", which, field, value))

    @pytest.mark.parametrize("size", [1 << 29, 1 << 40, (1 << 64) - 1])
    def test_a_huge_bss(self, machine: Kernel, size: int) -> None:
        assert "larger than" in refused(machine, header("params", ".bss", SIZE, size))

    @pytest.mark.parametrize("align", [1 << 29, 1 << 63])
    def test_a_huge_alignment(self, machine: Kernel, align: int) -> None:
        assert "larger than" in refused(machine, header("params", ".bss", ALIGN, align))

    def test_sections_on_top_of_one_another(self, machine: Kernel) -> None:
        text = section("params", ".text")
        assert attempt(machine, header("params", ".data", OFFSET, text.offset)) != "ok"

    def test_more_memory_than_the_machine_has(self) -> None:
        with Kernel(types=layouts(), memory=64 << 20) as k:
            with pytest.raises(LoadError) as caught:
                k.insmod(header("params", ".bss", SIZE, 200 << 20))
            assert caught.value.errno == 12
            assert attempt(k, image("ok_dep")) == "ok"


class TestStructModule:
    """.gnu.linkonce.this_module, the one section that makes a module of an object file."""

    WHICH = ".gnu.linkonce.this_module"

    @pytest.mark.parametrize("size", [0, 8, 64, 1087])
    def test_of_another_size(self, machine: Kernel, size: int) -> None:
        assert "its struct module has" in refused(machine, header("ok_dep", self.WHICH, SIZE, size))

    def test_a_struct_module_in_no_loaded_section_is_refused(self, machine: Kernel) -> None:
        assert "not a kernel module" in refused(machine, header("ok_dep", self.WHICH, FLAGS, 0))
        assert "ok_dep: No module found in object" in machine.dmesg()

    def test_without_symbols(self, machine: Kernel) -> None:
        assert "stripped" in refused(machine, header("ok_dep", ".symtab", TYPE, 1))
        assert "ok_dep: module has no symbols (stripped?)" in machine.dmesg()


class TestRelocations:
    """Tables that point outside."""

    def lie(self, name: str, offset: int, value: int, width: int = 8) -> bytes:
        table = section(name, ".rela.init.text" if elf(name).section(".rela.init.text") else ".rela.text")
        return patched(image(name), table.offset + offset, value.to_bytes(width, "little"))

    @pytest.mark.parametrize("place", [1 << 20, (1 << 64) - 1])
    def test_outside_of_the_section(self, machine: Kernel, place: int) -> None:
        assert "outside of its section" in refused(machine, self.lie("params", 0, place))

    @pytest.mark.parametrize("kind", [3, 9, 255, 0xFFFF_FFFF])
    def test_of_an_unknown_type(self, machine: Kernel, kind: int) -> None:
        assert f"unknown relocation type {kind}" in refused(machine, self.lie("params", 8, kind, 4))

    @pytest.mark.parametrize("symbol", [10_000, 0xFFFF_FFFF])
    def test_of_a_symbol_that_does_not_exist(self, machine: Kernel, symbol: int) -> None:
        assert "which does not exist" in refused(machine, self.lie("params", 12, symbol, 4))

    def test_too_far(self, machine: Kernel) -> None:
        assert "overflow in relocation" in refused(machine, self.lie("params", 16, 1 << 40))
        assert "likely not compiled with -mcmodel=kernel" in machine.dmesg()


class TestSymbols:
    """A symbol table that lies."""

    def lie(self, offset: int, value: int, width: int) -> bytes:
        table = section("exporter", ".symtab")
        data = image("exporter")
        for at in range(table.offset + 24, table.offset + table.size, 24):
            data = patched(data, at + offset, value.to_bytes(width, "little"))
        return data

    @pytest.mark.parametrize(("offset", "width"), [(0, 4), (6, 2)])
    @pytest.mark.parametrize("value", [0x7FFF, 0xFEFF])
    def test_names_and_sections_out_of_range(
        self, machine: Kernel, offset: int, width: int, value: int
    ) -> None:
        refused(machine, self.lie(offset, value << (16 if width == 4 else 0), width))

    def test_values_anywhere(self, machine: Kernel) -> None:
        assert attempt(machine, self.lie(8, 0x1234_5678_9ABC_DEF0, 8)) != "ok"


@pytest.mark.parametrize("which", ["__ksymtab", "__ksymtab_gpl", "__param", ".modinfo", "__versions"])
@pytest.mark.parametrize("size", [1, 7, 11, 13, 25])
def test_tables_of_odd_sizes(machine: Kernel, which: str, size: int) -> None:
    for name in ("exporter", "params", "ok_dep"):
        if elf(name).section(which) is not None:
            attempt(machine, header(name, which, SIZE, size))


def test_without_modinfo(machine: Kernel) -> None:
    """No vermagic: the kernel takes such a module only by force, if it is built for that."""
    machine.core.force_load = False
    assert "bad vermagic" in refused(machine, header("ok_dep", ".modinfo", SIZE, 0))


@pytest.mark.parametrize("name", [b"name=" + b"x" * 80, b"name=\xff\xfe/../.."])
def test_names(machine: Kernel, name: bytes) -> None:
    where = section("printk_formats", ".modinfo")
    data = image("printk_formats")
    at = data.index(b"name=", where.offset)
    attempt(machine, patched(data, at, name))


# -- damage at random ---------------------------------------------------------------------------------


def damaged(choice: random.Random) -> bytes:
    """A module with some bytes changed, mostly where a change is not noticed at once."""
    name = choice.choice(SAMPLES)
    data = bytearray(image(name))
    loaded = [s for s in elf(name).sections if s.size and s.type != SHT_NOBITS and s.flags & SHF_ALLOC]
    tables = [s for s in elf(name).sections if s.type in (2, 3, 4)]
    wanted = choice.choice((loaded, tables, [s for s in loaded if s.flags & SHF_EXECINSTR]))
    for _ in range(choice.choice((1, 2, 4, 16))):
        where = choice.choice(wanted)
        at = where.offset + choice.randrange(where.size)
        data[at] = choice.choice((0, 255, data[at] ^ 1 << choice.randrange(8), choice.randrange(256)))
    return bytes(data)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(st.integers(0, 1 << 32))
def test_damage_at_random(seed: int) -> None:
    with Kernel(types=layouts()) as k:
        k.insmod(image("ok_dep"))
        if attempt(k, damaged(random.Random(seed))) != "panic":
            k.rmmod("ok_dep")
        for oops in k.oopses:
            assert "RIP: " in oops.text()
