from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import elfwriter
from tests.elfwriter import SHN_ABS, TARGETS, Section, Symbol, Target

from ukmod.errors import FormatError
from ukmod.kmod.elf import Elf
from ukmod.kmod.symbols import exported_symbols, find_exports, namespaces, needed_names, needed_symbols

targets = pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.bits}-{target.order}")


@targets
def test_crcs_stored_in_a_section(target: Target) -> None:
    exports = {"first": 0xDEADBEEF, "second": 2}
    assert dict(exported_symbols(Elf(elfwriter.module(exports=exports, target=target)))) == exports


def test_crcs_that_are_the_symbols_value() -> None:
    data = elfwriter.elf([], [Symbol("__crc_old", SHN_ABS, 0x1234)])
    assert exported_symbols(Elf(data)) == [("old", 0x1234)]


def test_a_crc_outside_its_section() -> None:
    data = elfwriter.elf([Section("__kcrctab", bytes(4))], [Symbol("__crc_x", "__kcrctab", 1)])
    assert exported_symbols(Elf(data)) == [("x", 2**64 - 1)]


def test_without_crcs_the_strings_tell() -> None:
    assert exported_symbols(Elf(elfwriter.module(exports=["a", "b"]))) == [("a", 0), ("b", 0)]


def test_nothing_exported() -> None:
    elf = Elf(elfwriter.module())
    assert find_exports(elf) == []
    with pytest.raises(FormatError) as caught:
        exported_symbols(elf)
    assert caught.value.errno == 61  # ENODATA


@targets
def test_needed_are_the_undefined_and_then_the_versioned(target: Target) -> None:
    crcs = {"module_layout": 5, "b": 6}
    elf = Elf(elfwriter.module(needs=["b", "a"], weak=["w"], crcs=crcs, target=target))
    assert needed_symbols(elf) == [
        ("b", False, 6),
        ("a", False, 0),
        ("w", True, 0),
        ("module_layout", False, 5),
    ]


def test_names_that_are_not_ascii() -> None:
    names, weak = needed_names(Elf(elfwriter.module(needs=["caf\xe9"], weak=["\udcff"])))
    assert (names, weak) == (["caf\xe9", "\udcff"], {"\udcff"})


@targets
def test_where_the_global_symbols_begin_is_not_believed(target: Target) -> None:
    data = bytearray(elfwriter.module(needs=["b", "a"], target=target))
    elf = Elf(bytes(data))
    table = next(section.index for section in elf.sections if section.name == ".symtab")
    at = elf.layout.header.unpack_from(data)[5] + table * elf.layout.section.size
    fields = [*elf.layout.section.unpack_from(data, at)]
    fields[7] = 1000  # sh_info
    elf.layout.section.pack_into(data, at, *fields)
    assert needed_names(Elf(bytes(data)))[0] == ["b", "a"]


def test_a_symbol_that_is_weak_here_and_strong_there_is_not_weak() -> None:
    assert needed_names(Elf(elfwriter.module(needs=["s"], weak=["s", "w"]))) == (["s", "s", "w"], {"w"})


def test_register_declarations_of_sparc_are_not_needed() -> None:
    sparc = Target(64, "big", 43)
    data = elfwriter.elf([], [Symbol("%g2", type=13), Symbol("printk")], target=sparc)
    assert needed_names(Elf(data))[0] == ["printk"]


def test_namespaces() -> None:
    strings = Section("__ksymtab_strings", b"usb_thing\0USB_STORAGE\0")
    symbols = [
        Symbol("__kstrtabns_usb_thing", "__ksymtab_strings", 10),
        Symbol("__kstrtabns_other", "__ksymtab_strings", 9),
    ]
    assert namespaces(Elf(elfwriter.elf([strings], symbols))) == {"usb_thing": "USB_STORAGE"}


@given(st.sampled_from(TARGETS), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6))
def test_any_bytes_changed(target: Target, changes: list[tuple[int, int]]) -> None:
    data = bytearray(elfwriter.module("m", exports={"e": 1}, needs=["n"], crcs={"n": 2}, target=target))
    for at, value in changes:
        data[at % len(data)] = value
    try:
        elf = Elf(bytes(data))
        find_exports(elf)
        needed_symbols(elf)
    except FormatError:
        pass
