from __future__ import annotations

import pytest
from tests import elfwriter
from tests.elfwriter import STB_LOCAL, Section, Symbol
from tests.kmod import moduletree

from ukmod.kmod.elf import Elf
from ukmod.kmod.linkage import (
    Binding,
    ExportedSymbol,
    SymbolFault,
    bind,
    is_for,
    module_exports,
    parse_symvers,
    vermagic_difference,
)


def faults(
    user: bytes, *exports: ExportedSymbol, licenses: tuple[str, ...] = ("GPL",), imports: tuple[str, ...] = ()
) -> list[SymbolFault | None]:
    known = {export.name: export for export in exports}
    return [one.fault for one in bind(Elf(user), known.get, module="m", licenses=licenses, imports=imports)]


USER = elfwriter.module("user", needs=["f"], crcs={"module_layout": 1, "f": 7})


def test_an_answered_symbol_names_who_answers() -> None:
    export = ExportedSymbol("f", "base", 7)
    assert bind(Elf(USER), {"f": export}.get, module="m", licenses=["GPL"], imports=[]) == [
        Binding("f", False, 7, export, None)
    ]


def test_a_symbol_nobody_exports_is_unknown() -> None:
    assert faults(USER) == [SymbolFault.UNKNOWN]


def test_a_weak_symbol_may_be_unknown() -> None:
    assert faults(elfwriter.module("user", weak=["f"])) == [None]


def test_versions_have_to_agree_if_both_have_one() -> None:
    assert faults(USER, ExportedSymbol("f", "base", 8)) == [SymbolFault.VERSION]
    assert faults(USER, ExportedSymbol("f", "base", None)) == [None]
    assert faults(elfwriter.module("user", needs=["f"]), ExportedSymbol("f", "base", 8)) == [None]


def test_long_names_have_their_versions_in_the_extended_sections() -> None:
    """CONFIG_EXTENDED_MODVERSIONS, since 6.14: Rust's names are longer than 55 bytes."""
    name = "_RNv" + "x" * 80
    user = elfwriter.module("user", needs=[name], sections=elfwriter.extended_versions({name: 5}))
    assert faults(user, ExportedSymbol(name, "base", 5)) == [None]
    assert faults(user, ExportedSymbol(name, "base", 6)) == [SymbolFault.VERSION]


@pytest.mark.parametrize(
    ("license_", "fault"),
    [
        ("GPL v2", None),
        ("Dual MIT/GPL", None),
        ("GPL v3", SymbolFault.GPL_ONLY),
        ("Proprietary", SymbolFault.GPL_ONLY),
        ("", SymbolFault.GPL_ONLY),
    ],
)
def test_some_exports_are_for_gpl_compatible_modules(license_: str, fault: SymbolFault | None) -> None:
    assert faults(USER, ExportedSymbol("f", "base", 7, gpl_only=True), licenses=(license_,)) == [fault]


@pytest.mark.parametrize(
    ("licenses", "fault"),
    [
        ((), SymbolFault.GPL_ONLY),
        (("GPL", "Proprietary"), None),
        (("Proprietary", "GPL"), SymbolFault.GPL_ONLY),
    ],
)
def test_the_first_license_field_counts_and_without_one_a_module_is_not_gpl_compatible(
    licenses: tuple[str, ...], fault: SymbolFault | None
) -> None:
    assert faults(USER, ExportedSymbol("f", "base", 7, gpl_only=True), licenses=licenses) == [fault]


def test_a_namespace_has_to_be_imported() -> None:
    export = ExportedSymbol("f", "base", 7, namespace="DMA_BUF")
    assert faults(USER, export) == [SymbolFault.NAMESPACE]
    assert faults(USER, export, imports=("DMA_BUF",)) == [None]


@pytest.mark.parametrize(
    ("namespace", "module", "may"),
    [
        ("module:kvm", "kvm", True),
        ("module:kvm", "kvm_intel", False),
        ("module:vhost,kvm-*", "kvm_intel", True),
        ("module:snd-pcm", "snd_pcm", True),
        ("module:*", "anything", True),
        ("kvm", "kvm", False),
    ],
)
def test_a_namespace_may_name_the_modules_that_use_it(namespace: str, module: str, may: bool) -> None:
    assert is_for(namespace, module) is may


def test_the_exports_of_a_module() -> None:
    exports = module_exports(Elf(elfwriter.module("base", exports={"f": 7, "g": 9})), "base")
    assert exports == {"f": ExportedSymbol("f", "base", 7), "g": ExportedSymbol("g", "base", 9)}
    gpl = module_exports(Elf(moduletree.module(gpl=("h",))), "base")
    assert gpl == {"h": ExportedSymbol("h", "base", gpl_only=True)}


def test_the_namespace_of_an_export() -> None:
    symbols = [
        Symbol("__ksymtab_f", "__ksymtab", bind=STB_LOCAL),
        Symbol("__kstrtabns_f", "__ksymtab_strings", 2, bind=STB_LOCAL),
    ]
    sections = [Section("__ksymtab", bytes(12)), Section("__ksymtab_strings", b"f\0NS\0")]
    assert module_exports(Elf(elfwriter.elf(sections, symbols)), "base") == {
        "f": ExportedSymbol("f", "base", namespace="NS")
    }


def test_a_module_without_exports() -> None:
    assert module_exports(Elf(elfwriter.module("none")), "none") == {}


def test_module_symvers_of_each_time() -> None:
    text = (
        "0x00000007\tf\tvmlinux\tEXPORT_SYMBOL\n"
        "0x00000008\tg\tdrivers/net/base\tEXPORT_SYMBOL_GPL\tNS\n"
        "0x00000009\th\tNS\tvmlinux\tEXPORT_SYMBOL_GPL\n"
        "0x00000000\ti\tvmlinux\tEXPORT_SYMBOL\t\n"
        "nonsense\n"
        "what\tj\tvmlinux\tEXPORT_SYMBOL\n"
    )
    assert parse_symvers(text) == {
        "f": ExportedSymbol("f", "vmlinux", 7),
        "g": ExportedSymbol("g", "base", 8, gpl_only=True, namespace="NS"),
        "h": ExportedSymbol("h", "vmlinux", 9, gpl_only=True, namespace="NS"),
        "i": ExportedSymbol("i", "vmlinux"),
    }


def test_vermagic_is_compared_by_words() -> None:
    module, kernel = "6.1.0 SMP mod_unload ", "6.1.1 SMP preempt mod_unload "
    assert vermagic_difference(module, kernel, has_versions=True) == ([], ["preempt"])
    assert vermagic_difference(module, kernel, has_versions=False) == (["6.1.0"], ["6.1.1", "preempt"])
    assert vermagic_difference(kernel, kernel, has_versions=False) == ([], [])
