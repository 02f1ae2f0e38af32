"""An ldd for modules: each verdict by its rule."""

from __future__ import annotations

import pytest
from tests import elfwriter
from tests.kmod.moduletree import VERMAGIC, module

from ukmod.kmod.fits import Fit, KernelOffer, fit
from ukmod.kmod.linkage import KERNEL, ExportedSymbol
from ukmod.kmod.modfile import ModuleFile

LAYOUT = ExportedSymbol("module_layout", KERNEL, 0x11)
F = ExportedSymbol("f", KERNEL, 0x22)


def judged(
    *exports: ExportedSymbol,
    versions: dict[str, int] | None = None,
    fields: tuple[str, ...] = ("import_ns=NS",),
    license_: str = "GPL",
    vermagic: str = VERMAGIC,
    gap: str = "",
    known: bool | None = True,
) -> Fit:
    found = {"module_layout": 0x11, "f": 0x22} if versions is None else versions
    data = module(*fields, name="m", needs=["f"], license_=license_, crcs=found)
    offer = KernelOffer({one.name: one for one in exports}.get, gap, vermagic, known)
    return fit(ModuleFile.of(data, "/m.ko"), offer)


def test_a_module_fits_the_kernel_it_was_built_for() -> None:
    found = judged(LAYOUT, F)
    assert found.verdict == "fits"
    assert [one.binding.symbol for one in found.symbols] == ["f"]


@pytest.mark.parametrize(
    ("export", "text"),
    [
        (ExportedSymbol("f", KERNEL, 0x23), "another version: 0x00000023, not 0x00000022"),
        (ExportedSymbol("f", KERNEL, 0x22, namespace="OTHER"), "does not import: OTHER"),
        (ExportedSymbol("g", KERNEL, 0x22), "nobody exports it"),
    ],
)
def test_each_symbol_has_its_own_objection(export: ExportedSymbol, text: str) -> None:
    found = judged(LAYOUT, export)
    assert found.verdict == "does not fit"
    assert text in found.symbols[0].objection


@pytest.mark.parametrize(("license_", "verdict"), [("GPL", "fits"), ("Proprietary", "does not fit")])
def test_a_licence_decides_about_gpl_only_exports(license_: str, verdict: str) -> None:
    export = ExportedSymbol("f", "base", 0x22, gpl_only=True)
    assert judged(LAYOUT, export, license_=license_).verdict == verdict


def test_a_namespace_that_is_imported_is_no_objection() -> None:
    assert judged(LAYOUT, ExportedSymbol("f", KERNEL, 0x22, namespace="NS")).verdict == "fits"


def test_a_module_without_a_symbol_s_version_is_refused_by_a_kernel_with_versions() -> None:
    assert judged(LAYOUT, F, versions={"module_layout": 0x11}).verdict == "does not fit"
    assert "no version" in judged(LAYOUT, F, versions={"f": 0x22}).objections[0]


def test_another_layout_of_struct_module_is_an_objection() -> None:
    found = judged(ExportedSymbol("module_layout", KERNEL, 0x12), F)
    assert found.objections == (
        "struct module differs: module_layout has version 0x00000012, not 0x00000011",
    )


def test_with_versions_the_release_may_differ_and_the_rest_of_the_vermagic_may_not() -> None:
    assert judged(LAYOUT, F, vermagic=VERMAGIC.replace("4.4.4", "4.4.5")).verdict == "fits"
    found = judged(LAYOUT, F, vermagic="4.4.4 SMP mod_unload modversions ")
    assert found.objections == ("vermagic differs: +preempt",)


def test_facts_that_are_not_known_of_the_kernel_are_doubts() -> None:
    assert judged(LAYOUT, gap="unknown exports").symbols[0].doubt == "unknown exports"
    assert judged(LAYOUT, gap="unknown exports").verdict == "unknown"
    assert judged(F, vermagic="", known=None).doubts == ("the kernel's vermagic is not known",)
    assert judged(LAYOUT, F, vermagic="").verdict == "fits"
    assert judged(ExportedSymbol("f", KERNEL), known=None).verdict == "unknown"
    assert judged(ExportedSymbol("f", KERNEL), known=False).verdict == "fits"


def test_an_objection_outweighs_a_doubt() -> None:
    found = judged(LAYOUT, gap="x", vermagic="4.4.4 SMP")
    assert found.verdict == "does not fit"


def test_a_module_without_vermagic_is_refused() -> None:
    data = elfwriter.module("m", "license=GPL")
    found = fit(ModuleFile.of(data, "m.ko"), KernelOffer(lambda _name: None, "", VERMAGIC, False))
    assert found.objections == ("the module has no vermagic",)
