"""Types without an end, and small files that would be large ones: an error with file and offset, and soon."""

from __future__ import annotations

import struct

import pytest
from tests import elfwriter
from tests.elfwriter import Section, Symbol
from tests.machine.btfwriter import ARRAY, FUNC, PTR, TYPEDEF, BtfWriter
from tests.machine.dwarfwriter import DATA1, NAME, REF4, SIZE, STRP, TYPE, UPPER, DwarfWriter

from ukmod.errors import FormatError
from ukmod.kmod.elf import Elf
from ukmod.machine.types import Btf, TypeSource, graph
from ukmod.machine.types.debugsections import DebugSection
from ukmod.machine.types.dwarf import Dwarf
from ukmod.machine.types.lines import SourceLines


def look(source: TypeSource, *names: str) -> list[str]:
    """What is wrong with each name: every way to look it up is tried."""
    wrong = []
    for name in names:
        for find in (source.type, source.struct, source.enum, source.prototype):
            try:
                find(name)
            except FormatError as error:
                wrong.append(str(error))
    return wrong


class TestBtf:
    """BTF of types that are made of themselves."""

    def source(self, writer: BtfWriter) -> TypeSource:
        return TypeSource(Btf(writer.data(), path="own.btf"))

    @pytest.mark.parametrize("length", [1, 2, 3_000])
    def test_typedefs_of_each_other(self, length: int) -> None:
        btf = BtfWriter()
        first = btf.add(TYPEDEF, "first", 2 if length > 1 else 1)
        for number in range(2, length):
            btf.add(TYPEDEF, "", number + 1)
        if length > 1:
            btf.add(TYPEDEF, "last", first)
        assert any("defined by itself" in text for text in look(self.source(btf), "first"))

    def test_a_long_chain_of_typedefs(self) -> None:
        btf = BtfWriter()
        last = btf.integer("int", 4)
        for _ in range(3_000):
            last = btf.add(TYPEDEF, "", last)
        btf.add(TYPEDEF, "end", last)
        assert look(self.source(btf), "end")

    @pytest.mark.parametrize("kind", [PTR, ARRAY])
    def test_pointers_and_arrays_of_themselves(self, kind: int) -> None:
        btf = BtfWriter()
        btf.add(kind, "", 1, struct.pack("<III", 1, 1, 1) if kind == ARRAY else b"")
        btf.add(TYPEDEF, "itself", 1)
        assert look(self.source(btf), "itself")

    def test_a_struct_without_a_name_inside_itself(self) -> None:
        btf = BtfWriter()
        btf.aggregate("", 8, ("", 1, 0), ("pointer", 2, 0), ("again", 1, 64))
        btf.add(PTR, "", 1)
        btf.aggregate("outer", 8, ("", 1, 0))
        assert look(self.source(btf), "outer")

    def test_a_function_that_returns_and_takes_itself(self) -> None:
        btf = BtfWriter()
        btf.prototype(1, ("a", 1), ("b", 1))
        btf.add(FUNC, "itself", 1)
        assert look(self.source(btf), "itself")

    def test_few_bytes_with_billions_of_members(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(graph, "_ALL_MEMBERS", 10_000)
        btf = BtfWriter()
        number = btf.integer("int", 4)
        inner = btf.aggregate("", 4, *(((f"m{n}", number, 0)) for n in range(1_000)))
        structs = [btf.aggregate("", 4, ("", inner, 0)) for _ in range(30)]
        function = btf.prototype(number, *(("", kind) for kind in structs[:-1]), ("last", structs[-1]))
        btf.add(FUNC, "takes", function)
        assert any("members" in text for text in look(self.source(btf), "takes"))

    def test_names_that_are_the_ends_of_one_text(self) -> None:
        btf = BtfWriter()
        btf.integer("x" * 5000, 4)
        with pytest.raises(FormatError, match=r"own\.btf.*string of 512 bytes or more"):
            self.source(btf).type("x")


class TestDwarf:
    """The same in DWARF."""

    def dwarf(self, writer: DwarfWriter) -> Dwarf:
        symbols = [Symbol(".debug_str", ".debug_str")]
        return Dwarf(Elf(elfwriter.elf(writer.sections(), symbols, writer.relocations), "own.ko"))

    def unit(self, writer: DwarfWriter) -> None:
        writer.die(0x11, (NAME, STRP, "a.c"), children=True)

    def test_types_of_themselves(self) -> None:
        writer = DwarfWriter()
        self.unit(writer)
        at = len(writer.info)
        writer.die(0x16, (NAME, STRP, "itself"), (TYPE, REF4, at))
        at = len(writer.info)
        writer.die(0x0F, (TYPE, REF4, at))
        writer.die(0x16, (NAME, STRP, "pointer"), (TYPE, REF4, at))
        writer.end()
        assert len(look(TypeSource(self.dwarf(writer)), "itself", "pointer")) >= 2

    def test_an_array_of_a_hundred_thousand_dimensions(self) -> None:
        writer = DwarfWriter()
        self.unit(writer)
        number = writer.die(0x24, (NAME, STRP, "int"), (SIZE, DATA1, 4))
        array = writer.die(0x01, (TYPE, REF4, number), children=True)
        for _ in range(100_000):
            writer.die(0x21, (UPPER, DATA1, 0))
        writer.end()
        writer.die(0x16, (NAME, STRP, "deep"), (TYPE, REF4, array))
        writer.end()
        assert any("dimensions" in text for text in look(TypeSource(self.dwarf(writer)), "deep"))

    def test_abbreviations_that_are_the_ends_of_one_table(self) -> None:
        table = b"".join(bytes([0x80 | n & 0x7F, n >> 7 | 1, 0x24, 0, 0, 0]) for n in range(3000)) + b"\0"
        units = b"".join(struct.pack("<IHBBI", 8, 5, 1, 8, 6 * n) for n in range(3000))
        elf = Elf(elfwriter.elf([Section(".debug_info", units), Section(".debug_abbrev", table)]), "own.ko")
        with pytest.raises(FormatError, match=r"own\.ko.*\.debug_abbrev: its parts overlap"):
            Dwarf(elf).function("main") or list(Dwarf(elf).names())

    def test_a_text_without_an_end(self) -> None:
        section = DebugSection(".debug_str", b"x" * 100_000 + b"\0", "own.ko")
        with pytest.raises(FormatError, match="at most 4096 bytes"):
            section.string(0)
        assert section.string(100_000 - 4096) == b"x" * 4096

    def test_parts_of_a_section_are_read_several_times_at_most(self) -> None:
        section = DebugSection(".debug_line", bytes(10_000), "own.ko")
        section.charge(0, 40_000)
        with pytest.raises(FormatError, match="its parts overlap"):
            section.charge(0, 40_000)
        section.begin()
        section.charge(0, 10_000)

    def test_a_file_without_lines_has_none(self) -> None:
        assert SourceLines(Elf(elfwriter.elf([]), "own.ko")).find(".text", 0) is None
