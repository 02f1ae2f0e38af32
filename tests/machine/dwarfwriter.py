"""Write the DWARF of a small module, version 5, its strings and addresses left to relocations as in a .ko."""

from __future__ import annotations

import struct

from tests import elfwriter
from tests.elfwriter import Relocation, Section, Symbol

from ukmod.kmod.elf import Elf
from ukmod.machine.types.debugsections import read_debug_section

STRP, DATA1, DATA2, REF4, ADDR, SEC_OFFSET, DATA4, EXPRLOC, FLAG, SDATA = (
    0x0E,
    0x0B,
    5,
    0x13,
    1,
    0x17,
    6,
    0x18,
    0x19,
    0x0D,
)
NAME, SIZE, STMT, LOW, HIGH, DIR, VALUE, UPPER = 3, 0x0B, 0x10, 0x11, 0x12, 0x1B, 0x1C, 0x2F
PROTOTYPED = 0x27
BITS, LOCATION, DECLARED, ENCODING, TYPE, BIT_OFFSET, ORIGIN, CALL_FILE, CALL_LINE = (
    0x0D, 0x38, 0x3C, 0x3E, 0x49, 0x6B, 0x31, 0x58, 0x59,
)  # fmt: skip


class DwarfWriter:
    """Entries one after another; each returns its offset, which is what a reference to it is."""

    def __init__(self) -> None:
        self.info = bytearray(12)
        self.abbrev = b""
        self.codes: dict[object, int] = {}
        self.strings = b"\0"
        self.relocations: list[Relocation] = []

    def die(self, tag: int, *attributes: tuple[int, int, object], children: bool = False) -> int:
        key = tag, children, tuple((name, form) for name, form, _ in attributes)
        if key not in self.codes:
            self.codes[key] = len(self.codes) + 1
            pairs = b"".join(bytes([name, form]) for name, form, _ in attributes)
            self.abbrev += bytes([self.codes[key], tag, children]) + pairs + b"\0\0"
        offset = len(self.info)
        self.info.append(self.codes[key])
        for _, form, value in attributes:
            self.value(form, value)
        return offset

    def value(self, form: int, value: object) -> None:
        at = len(self.info)
        if form == STRP:
            assert isinstance(value, str)
            self.relocations.append(Relocation(".debug_info", at, ".debug_str", 10, len(self.strings)))
            self.strings += value.encode() + b"\0"
            self.info += bytes(4)
        elif form == ADDR:
            assert isinstance(value, int)
            self.relocations.append(Relocation(".debug_info", at, ".text", 1, value))
            self.info += bytes(8)
        elif form == EXPRLOC:
            assert isinstance(value, bytes)
            self.info += bytes([len(value)]) + value
        elif form != FLAG:
            assert isinstance(value, int)
            size = {DATA1: 1, DATA2: 2, SDATA: 1}.get(form, 4)
            self.info += (value & ((1 << 7 if form == SDATA else 1 << 8 * size) - 1)).to_bytes(size, "little")

    def end(self) -> None:
        self.info.append(0)

    def sections(self) -> list[Section]:
        self.info[:12] = struct.pack("<IHBBI", len(self.info) - 4, 5, 1, 8, 0)
        return [
            Section(".debug_info", bytes(self.info), flags=0),
            Section(".debug_abbrev", self.abbrev + b"\0", flags=0),
            Section(".debug_str", self.strings, flags=0),
        ]


def line_program() -> tuple[bytes, list[Relocation]]:
    """Lines 10, 20 and 30 for .text + 0, 4 and 8; the code ends at 12."""
    head = bytes([1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
    files = b"\x01\x01\x08\x01/src\0" + b"\x02\x01\x08\x02\x0b\x02a.c\0\0b.h\0\0"
    start = 12 + len(head) + len(files)
    lines = b"\x04\x00\x03\x09\x01\x02\x04\x03\x0a\x01\x02\x04\x03\x0a\x01\x02\x04\x00\x01\x01"
    body = struct.pack("<HBBI", 5, 8, 0, len(head) + len(files)) + head + files
    body += b"\x00\x09\x02" + bytes(8) + lines
    return struct.pack("<I", len(body)) + body, [Relocation(".debug_line", start + 3, ".text", 1, 0)]


def small_module(*extra: Section) -> bytes:
    """A module with a struct of every shape, and a function that another one is inlined into."""
    dw = DwarfWriter()
    dw.die(
        0x11, (NAME, STRP, "a.c"), (DIR, STRP, "/src"), (STMT, SEC_OFFSET, 0), (LOW, ADDR, 0), children=True
    )
    u32 = dw.die(0x24, (NAME, STRP, "unsigned int"), (SIZE, DATA1, 4), (ENCODING, DATA1, 7))
    i32 = dw.die(0x24, (NAME, STRP, "int"), (SIZE, DATA1, 4), (ENCODING, DATA1, 5))
    own = dw.die(0x13, (NAME, STRP, "own"), (SIZE, DATA1, 40), children=True)
    member = 0x0D
    dw.die(member, (NAME, STRP, "count"), (TYPE, REF4, i32), (LOCATION, DATA1, 0))
    # A type that is declared among the members it is the type of.
    inner = dw.die(0x17, (SIZE, DATA1, 4), children=True)
    dw.die(member, (NAME, STRP, "word"), (TYPE, REF4, u32))
    dw.die(member, (NAME, STRP, "signed_word"), (TYPE, REF4, i32))
    dw.end()
    dw.die(member, (TYPE, REF4, inner), (LOCATION, EXPRLOC, b"\x23\x04"))
    dw.die(member, (NAME, STRP, "flag"), (TYPE, REF4, u32), (BITS, DATA1, 3), (BIT_OFFSET, DATA1, 69))
    grid = len(dw.info) + 1 + 4 + 4 + 1
    dw.die(member, (NAME, STRP, "grid"), (TYPE, REF4, grid + 0), (LOCATION, DATA1, 12))
    array = dw.die(0x01, (TYPE, REF4, i32), children=True)
    assert array == grid
    dw.die(0x21, (UPPER, DATA1, 1))
    dw.die(0x21, (UPPER, DATA1, 2))
    dw.end()
    dw.end()
    dw.die(0x16, (NAME, STRP, "own_t"), (TYPE, REF4, own))
    pointer = dw.die(0x0F, (SIZE, DATA1, 8), (TYPE, REF4, own))
    dw.die(0x04, (NAME, STRP, "mode"), (SIZE, DATA1, 4), children=True)
    dw.die(0x28, (NAME, STRP, "OFF"), (VALUE, DATA1, 0))
    dw.die(0x28, (NAME, STRP, "BAD"), (VALUE, SDATA, -1))
    dw.end()
    dw.die(0x13, (NAME, STRP, "elsewhere"), (DECLARED, FLAG, 1))
    small = dw.die(0x2E, (NAME, STRP, "small"), (PROTOTYPED, FLAG, 1))
    dw.die(
        0x2E,
        (NAME, STRP, "big"),
        (PROTOTYPED, FLAG, 1),
        (TYPE, REF4, i32),
        (LOW, ADDR, 0),
        (HIGH, DATA4, 12),
        children=True,
    )
    dw.die(0x05, (NAME, STRP, "it"), (TYPE, REF4, pointer))
    dw.die(0x18)
    dw.die(
        0x1D,
        (ORIGIN, REF4, small),
        (LOW, ADDR, 4),
        (HIGH, DATA4, 4),
        (CALL_FILE, DATA1, 0),
        (CALL_LINE, DATA1, 15),
    )
    dw.end()
    dw.end()
    lines, relocations = line_program()
    text = Section(".text", bytes(16), flags=6)
    return elfwriter.elf(
        [text, *dw.sections(), Section(".debug_line", lines, flags=0), *extra],
        [Symbol(".text", ".text"), Symbol(".debug_str", ".debug_str")],
        [*dw.relocations, *relocations],
    )


def linked() -> dict[str, bytes]:
    """The types of ``small_module`` as a linker leaves them, without relocations: sections by name."""
    module = Elf(small_module(), "own.ko")
    names = (".debug_info", ".debug_abbrev", ".debug_str")
    return {name: read_debug_section(module, name).data for name in names}
