from __future__ import annotations

import contextlib
import io

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from tests import elfwriter
from tests.elfwriter import TARGETS, Relocation, Section, Symbol, Target

from ukmod.errors import FormatError
from ukmod.kmod.elf import SHN_ABS, SHT_NOBITS, SHT_RELA, STB_LOCAL, STB_WEAK, Elf

targets = pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.bits}-{target.order}")


def written(target: Target = elfwriter.X86_64) -> bytes:
    sections = [
        Section(".text", bytes(16), flags=6, align=16),
        Section(".bss", type=SHT_NOBITS, size=4096, flags=3, align=32),
        Section(".modinfo", elfwriter.modinfo("license=GPL", "alias=a=b", "odd")),
    ]
    symbols = [
        Symbol("local", ".text", 4, 8, bind=STB_LOCAL, type=2),
        Symbol("there", SHN_ABS, 0x1234),
        Symbol("printk"),
        Symbol("maybe", bind=STB_WEAK),
    ]
    return elfwriter.elf(sections, symbols, [Relocation(".text", 4, "printk", 2, -4)], target)


@targets
def test_sections(target: Target) -> None:
    elf = Elf(written(target))
    assert (elf.bits, elf.order, elf.machine) == (target.bits, target.order, target.machine)
    text = elf.section(".text")
    assert text is not None
    assert (text.flags, text.align, elf.section_data(text)) == (6, 16, bytes(16))
    bss = elf.section(".bss")
    assert bss is not None
    assert (bss.size, elf.section_data(bss)) == (4096, b"")
    assert elf.section(".data") is None
    assert elf.sections[0].name == ""


@targets
def test_symbols_and_relocations(target: Target) -> None:
    elf = Elf(written(target))
    by_name = {symbol.name: symbol for symbol in elf.symbols}
    assert (by_name["local"].value, by_name["local"].size, by_name["local"].shndx) == (4, 8, 1)
    assert (by_name["there"].value, by_name["there"].shndx) == (0x1234, SHN_ABS)
    assert by_name["maybe"].weak
    rela = elf.section(".rela.text")
    assert rela is not None
    assert rela.type == SHT_RELA
    assert list(elf.relocations(rela)) == [(4, by_name["printk"].index, 2, -4)]


@targets
def test_symbols_are_found_by_name_by_its_beginning_and_by_place(target: Target) -> None:
    symbols = Elf(written(target)).symbols
    every = list(Elf(written(target)).symbols)
    assert [one.name for one in symbols.named("maybe")] == ["maybe"]
    assert symbols.named("mayb") == []
    assert {one.name for one in symbols.starting("")} == {one.name for one in every}
    assert [one.name for one in symbols.starting("lo")] == ["local"]
    assert [one.name for one in symbols.at(1, 4)] == ["local"]
    assert list(symbols.at(1, 5)) == []
    assert symbols[1:] == every[1:]
    assert symbols[-1] == every[-1]
    assert list(symbols) == every
    with pytest.raises(IndexError):
        symbols[len(every)]


@targets
def test_pyelftools_reads_the_same(target: Target) -> None:
    ours = Elf(written(target))
    theirs = ELFFile(io.BytesIO(written(target)))
    table = theirs.get_section_by_name(".symtab")
    assert [section.name for section in ours.sections] == [section.name for section in theirs.iter_sections()]
    assert [(s.name, s.value, s.bind) for s in ours.symbols] == [
        (s.name, s["st_value"], {"STB_LOCAL": 0, "STB_GLOBAL": 1, "STB_WEAK": 2}[s["st_info"]["bind"]])
        for s in table.iter_symbols()
    ]


def test_modinfo_is_split_at_the_first_equals_sign() -> None:
    assert Elf(written()).modinfo() == [("license", "GPL"), ("alias", "a=b"), ("odd", "")]
    assert Elf(written()).modinfo_texts((b"alias=", b"softdep=")) == [("a=b",), ()]


@targets
def test_versions(target: Target) -> None:
    crcs = {"module_layout": 0xDEADBEEF, "printk": 7}
    assert Elf(elfwriter.module(crcs=crcs, target=target)).versions() == crcs


@targets
def test_extended_versions_win_and_have_long_names(target: Target) -> None:
    crcs = {"x" * 300: 0xDEADBEEF, "printk": 7}
    sections = elfwriter.extended_versions(crcs, target)
    assert Elf(elfwriter.module(crcs={"printk": 1}, sections=sections, target=target)).versions() == crcs


def test_the_first_section_of_a_name_counts() -> None:
    elf = Elf(elfwriter.elf([Section(".a", b"one"), Section(".a", b"two")]))
    assert elf.find(b".a") == (1, b"one")


@targets
def test_a_section_is_found_where_other_fields_hold_the_place_of_its_name(target: Target) -> None:
    for number in range(64):  # one of them is where ".b" is among the names
        sections = [Section(".a", b"one", link=number, info=number), Section(".b", b"two")]
        assert Elf(elfwriter.elf(sections, [], [], target)).find(b".b") == (2, b"two")


def test_a_section_that_lies_about_its_place() -> None:
    data = bytearray(written())
    section = Elf(bytes(data)).section(".modinfo")
    assert section is not None
    at = data.rindex(section.offset.to_bytes(8, "little"))
    data[at : at + 8] = (len(data) + 1).to_bytes(8, "little")
    elf = Elf(bytes(data), "lying.ko")
    assert elf.find(b".modinfo") is None
    with pytest.raises(FormatError, match=r"lying\.ko: section \.modinfo.*at offset 0x"):
        elf.section_data(elf.sections[3])


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"", 8),
        (b"MZ" + bytes(100), 8),
        (b"\x7fELF\x03\x01" + bytes(100), 22),
        (b"\x7fELF\x02\x01" + bytes(20), 22),
        (b"\x7fELF\x02\x01" + bytes(100), 22),
        (written()[:-1], 22),
    ],
    ids=["empty", "other", "class", "short", "zeros", "cut off"],
)
def test_what_is_no_elf_file(data: bytes, number: int) -> None:
    with pytest.raises(FormatError) as caught:
        Elf(data, "bad.ko")
    assert caught.value.errno == number  # ENOEXEC or EINVAL: libkmod's choice


def ask_everything(elf: Elf) -> None:
    elf.modinfo()
    elf.versions()
    for section in elf.sections:
        try:
            elf.section_data(section)
            list(elf.relocations(section))
        except FormatError:
            pass
    list(elf.symbols)
    elf.symbols.starting("l")


@given(st.sampled_from(TARGETS), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6))
def test_any_bytes_changed(target: Target, changes: list[tuple[int, int]]) -> None:
    data = bytearray(written(target))
    for at, value in changes:
        data[at % len(data)] = value
    with contextlib.suppress(FormatError):
        ask_everything(Elf(bytes(data)))


@given(st.sampled_from(TARGETS), st.integers(0, 2000))
def test_any_length(target: Target, length: int) -> None:
    with contextlib.suppress(FormatError):
        ask_everything(Elf(written(target)[:length]))
