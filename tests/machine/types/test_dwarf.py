from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import elfwriter
from tests.elfwriter import Section
from tests.machine.dwarfwriter import small_module

from ukmod.errors import FormatError, LayoutError, LimitError
from ukmod.kmod.elf import Elf
from ukmod.machine.types import Kind, Types, types_for
from ukmod.machine.types.debugsections import read_debug_section
from ukmod.machine.types.dwarf import Dwarf
from ukmod.machine.types.lines import SourceLines

MODULE = small_module()


def types(data: bytes = MODULE) -> Types:
    known = Types()
    known.add(Elf(data, "own.ko"))
    return known


@pytest.mark.parametrize(
    ("path", "offset"), [("count", 0), ("word", 4), ("signed_word", 4), ("grid[0][1]", 16)]
)
def test_members(path: str, offset: int) -> None:
    assert types().offset("own", path) == offset


def test_a_bitfield() -> None:
    member = types().member("own", "flag")
    assert (member.offset, member.bit_offset, member.bit_size) == (8, 5, 3)


def test_arrays_of_arrays() -> None:
    grid = types().member("own", "grid").type
    assert grid.target is not None
    assert (grid.count, grid.target.count, grid.target.kind, grid.size) == (2, 3, Kind.ARRAY, 24)


def test_typedefs_enums_and_functions() -> None:
    assert types().sizeof("own_t") == 40
    assert types().enum("mode").values == {"OFF": 0, "BAD": -1}
    assert str(types().prototype("big")) == "int big(struct own * it, ...)"


def test_a_function_without_its_types_is_not_known() -> None:
    """As gcc -g1 describes it; a result type that is left out is not void."""
    bare = MODULE.replace(bytes([0x27, 0x19]), bytes([0x3F, 0x19]))
    assert types(bare).prototype("big") is None


def test_what_is_only_declared_is_not_known() -> None:
    with pytest.raises(LayoutError, match="elsewhere"):
        types().sizeof("elsewhere")


def test_the_modules_own_debug_information_will_do(tmp_path: object) -> None:
    assert types_for(Elf(MODULE, "own.ko"), profiles_dir=str(tmp_path)).sources == ("own.ko",)


def test_a_module_that_is_added_again_replaces_its_types() -> None:
    """It may have been built anew; and types do not pile up."""
    known = types()
    assert known.offset("own", "count") == 0
    older = MODULE.replace(b"count\0", b"total\0")
    for _ in range(3):
        known.add(Elf(older, "own.ko"))
    assert known.sources == ("own.ko",)
    assert known.offset("own", "total") == 0
    assert not known.has("own", "count")


def test_two_modules_add_to_each_other() -> None:
    known = types()
    known.add(Elf(MODULE, "other.ko"))
    assert known.sources == ("own.ko", "other.ko")


def test_several_modules_are_merged() -> None:
    merged = types()
    merged.add(Elf(elfwriter.elf([]), "stripped.ko"))
    assert merged.sources == ("own.ko",)


@pytest.mark.parametrize(
    ("offset", "place"),
    [
        (0, "big /src/a.c:10"),
        (3, "big /src/a.c:10"),
        (4, "small /src/a.c:20"),
        (11, "big /src/a.c:30"),
        (12, "None"),
    ],
)
def test_source_lines(offset: int, place: str) -> None:
    assert str(SourceLines(Elf(MODULE)).find(".text", offset)) == place


def test_an_inlined_function_has_a_caller() -> None:
    found = SourceLines(Elf(MODULE)).find(1, 5)
    assert found is not None
    assert str(found.caller) == "big /src/a.c:15"


def test_no_lines_without_debug_information() -> None:
    assert SourceLines(Elf(elfwriter.elf([Section(".text", bytes(4))]))).find(".text", 0) is None
    assert SourceLines(Elf(MODULE)).find(".init.text", 0) is None


def test_debug_information_is_read_only_when_a_look_up_needs_it() -> None:
    section = Elf(MODULE).section(".debug_info")
    assert section is not None
    damaged = Elf(MODULE[: section.offset] + b"\xff" * 8 + MODULE[section.offset + 8 :], "damaged.ko")
    known, lines = types(), SourceLines(damaged)
    known.add(damaged)
    assert known.struct("own_t").members
    assert not known.has("nowhere_among_its_texts")
    with pytest.raises(FormatError, match=r"damaged\.ko"):
        known.has("count")  # a member's name: only the entries tell that it is not a type's
    with pytest.raises(FormatError, match=r"damaged\.ko"):
        lines.find(".text", 0)


def test_compressed_sections() -> None:
    content = b"some text " * 100

    def read(kind: int, size: int, packed: bytes) -> bytes:
        header = struct.pack("<IIQQ", kind, 0, size, 1)
        elf = Elf(elfwriter.elf([Section(".debug_str", header + packed, flags=0x800)]))
        return read_debug_section(elf, ".debug_str").data

    assert read(1, len(content), zlib.compress(content)) == content
    for kind, size, packed in ((3, 4, b""), (1, 4, b"????"), (1, 4, zlib.compress(content)), (1, 9999, b"")):
        with pytest.raises(FormatError):
            read(kind, size, packed)
    with pytest.raises(LimitError):
        read(1, 1 << 40, zlib.compress(content))


INFO = Elf(MODULE).section(".debug_info"), Elf(MODULE).section(".debug_line")
SPAN = min(s.offset for s in INFO if s), max(s.offset + s.size for s in INFO if s)


@given(
    st.dictionaries(
        st.one_of(st.integers(*SPAN), st.integers(0, len(MODULE) - 1)),
        st.integers(0, 255),
        min_size=1,
        max_size=6,
    )
)
def test_damaged(changes: dict[int, int]) -> None:
    data = bytearray(MODULE)
    for at, byte in changes.items():
        data[at] = byte
    with contextlib.suppress(FormatError, LimitError):
        elf = Elf(bytes(data), "own.ko")
        if Dwarf.is_in(elf):
            known = types(bytes(data))
            for ask in (known.struct, known.enum, known.sizeof):
                with contextlib.suppress(LayoutError):
                    ask("own_t")
                    ask("mode")
            known.prototype("big")
    with contextlib.suppress(FormatError, LimitError):
        lines = SourceLines(Elf(bytes(data), "own.ko"))
        for offset in range(14):
            lines.find(".text", offset)


@pytest.mark.parametrize("size", range(100, len(MODULE), 97))
def test_cut_off(size: int) -> None:
    with pytest.raises(FormatError):
        types(MODULE[:size])
