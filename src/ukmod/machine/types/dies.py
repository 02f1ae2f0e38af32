"""DWARF's tree of debugging information entries, versions 2 to 5 (dwarfstd.org, chapters 2 and 7).

For speed in pure Python, an abbreviation of fixed size, as most are, is read with one ``unpack``.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from struct import Struct

from ukmod.kmod.elf import Elf
from ukmod.machine.types.debugsections import DebugSection, read_debug_section
from ukmod.record import field, mutable, record

__all__ = ["At", "DebugInfo", "Die", "DwTag", "Form", "Unit"]


class DwTag:
    """DW_TAG_*."""

    ARRAY, ENUM, PARAMETER, POINTER = 0x01, 0x04, 0x05, 0x0F
    COMPILE_UNIT, STRUCT, SUBROUTINE_TYPE, TYPEDEF, UNION = 0x11, 0x13, 0x15, 0x16, 0x17
    UNSPECIFIED_PARAMETERS, INLINED, SUBRANGE, BASE = 0x18, 0x1D, 0x21, 0x24
    CONST, ENUMERATOR, SUBPROGRAM, VOLATILE, RESTRICT = 0x26, 0x28, 0x2E, 0x35, 0x37
    UNSPECIFIED_TYPE, ATOMIC, MEMBER, LEXICAL_BLOCK = 0x3B, 0x47, 0x0D, 0x0B


class At:
    """DW_AT_*."""

    SIBLING, NAME, BYTE_SIZE, STMT_LIST, LOW_PC, HIGH_PC = 0x01, 0x03, 0x0B, 0x10, 0x11, 0x12
    COMP_DIR, CONST_VALUE, UPPER_BOUND, ABSTRACT_ORIGIN, COUNT = 0x1B, 0x1C, 0x2F, 0x31, 0x37
    BIT_OFFSET, BIT_SIZE, MEMBER_LOCATION, DECLARATION, ENCODING = 0x0C, 0x0D, 0x38, 0x3C, 0x3E
    PROTOTYPED, SPECIFICATION, TYPE, RANGES = 0x27, 0x47, 0x49, 0x55
    CALL_FILE, CALL_LINE = 0x58, 0x59
    DATA_BIT_OFFSET, STR_OFFSETS_BASE, ADDR_BASE, RNGLISTS_BASE = 0x6B, 0x72, 0x73, 0x74


class Form:
    """DW_FORM_*."""

    ADDR, BLOCK2, BLOCK4, DATA2, DATA4, DATA8, STRING, BLOCK = 0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09
    BLOCK1, DATA1, FLAG, SDATA, STRP, UDATA, REF_ADDR, REF1 = 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11
    REF2, REF4, REF8, REF_UDATA, INDIRECT, SEC_OFFSET = 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
    EXPRLOC, FLAG_PRESENT, STRX, ADDRX, REF_SUP4, STRP_SUP = 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D
    DATA16, LINE_STRP, REF_SIG8, IMPLICIT_CONST, LOCLISTX, RNGLISTX = 0x1E, 0x1F, 0x20, 0x21, 0x22, 0x23
    STRX1, STRX2, STRX3, STRX4 = 0x25, 0x26, 0x27, 0x28
    ADDRX1, ADDRX2, ADDRX3, ADDRX4 = 0x29, 0x2A, 0x2B, 0x2C


_FIXED = {
    **dict.fromkeys((Form.DATA1, Form.FLAG, Form.REF1, Form.STRX1, Form.ADDRX1), "B"),
    **dict.fromkeys((Form.DATA2, Form.REF2, Form.STRX2, Form.ADDRX2), "H"),
    **dict.fromkeys((Form.STRX3, Form.ADDRX3), "3s"),
    **dict.fromkeys((Form.DATA4, Form.STRP, Form.REF_ADDR, Form.REF4, Form.SEC_OFFSET), "I"),
    **dict.fromkeys((Form.LINE_STRP, Form.STRX4, Form.ADDRX4, Form.REF_SUP4, Form.STRP_SUP), "I"),
    **dict.fromkeys((Form.ADDR, Form.DATA8, Form.REF8, Form.REF_SIG8), "Q"),
    Form.DATA16: "16s",
    Form.FLAG_PRESENT: "",
    Form.IMPLICIT_CONST: "",
}
_LEB = {Form.UDATA, Form.REF_UDATA, Form.STRX, Form.ADDRX, Form.LOCLISTX, Form.RNGLISTX}
_BLOCKS = {Form.BLOCK1: 1, Form.BLOCK2: 2, Form.BLOCK4: 4}
_STRX = {Form.STRX, Form.STRX1, Form.STRX2, Form.STRX3, Form.STRX4}
_ADDRX = {Form.ADDRX, Form.ADDRX1, Form.ADDRX2, Form.ADDRX3, Form.ADDRX4}
_UNIT_REFERENCES = {Form.REF1, Form.REF2, Form.REF4, Form.REF8, Form.REF_UDATA}

Value = int | bytes
_Step = Struct | Callable[[DebugSection, int], tuple[Value, int]]


@record
class AttributeSlot:
    """The place of an attribute among an entry's values; ``constant`` is the value if ``index`` is -1."""

    form: int
    index: int
    constant: int = 0


@record
class Abbreviation:
    """The meaning of an entry's code. All values are read by ``fixed`` at once, or else by ``steps``."""

    tag: int
    children: bool
    slots: dict[int, AttributeSlot]
    steps: list[_Step]
    fixed: Struct | None
    sibling: int
    """The index of DW_AT_sibling among the values, if it is relative to the unit; else -1."""


@mutable
class Unit:
    """A unit's header; offsets are from the start of ``.debug_info``."""

    offset: int
    first: int
    end: int
    version: int
    abbreviations: dict[int, Abbreviation]
    str_offsets: int = 8
    addresses: int = 8
    rnglists: int = 12
    root: Die | None = field(default=None, repr=False)


@record
class Die:
    """An entry: its offset, abbreviation and attribute values; ``end`` is the offset of the next entry."""

    offset: int
    unit: Unit
    abbreviation: Abbreviation
    values: tuple[Value, ...]
    end: int
    places: int
    """The offset of the first value."""

    @property
    def tag(self) -> int:
        """Its DW_TAG."""
        return self.abbreviation.tag

    def has(self, attribute: int) -> bool:
        """True if it has an attribute."""
        return attribute in self.abbreviation.slots


class DebugInfo:
    """The entries of a file, with access to their attributes."""

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self.info = read_debug_section(elf, ".debug_info")
        self._abbrev = read_debug_section(elf, ".debug_abbrev")
        self._tables: dict[int, dict[int, Abbreviation]] = {}
        self._sections: dict[str, DebugSection] = {}
        self._signatures: dict[int, int] = {}
        self.units = list(self._read_units())
        self._starts = [unit.offset for unit in self.units]
        for unit in self.units:
            self._read_root(unit)

    def section(self, name: str) -> DebugSection:
        """Read another debug section, once."""
        if name not in self._sections:
            self._sections[name] = read_debug_section(self.elf, name)
        return self._sections[name]

    # Units and abbreviations

    def _read_units(self) -> Iterator[Unit]:
        info, at = self.info, 0
        while at < len(info.data):
            length, version = info.uint(at, 4), info.uint(at + 4, 2)
            end = at + 4 + length
            if length >= 0xFFFFFFF0 or not 2 <= version <= 5:
                raise info.error(f"64-bit DWARF, or version {version}, is not supported", at)
            if end > len(info.data):
                raise info.error("a unit is cut off", at)
            kind, first = 1, at + 11
            if version >= 5:
                kind, width, abbrev = info.uint(at + 6, 1), info.uint(at + 7, 1), info.uint(at + 8, 4)
                first = at + 12 + {2: 12, 4: 8, 5: 8, 6: 12}.get(kind, 0)
            else:
                abbrev, width = info.uint(at + 6, 4), info.uint(at + 10, 1)
            if width != 8 or first > end:
                raise info.error(f"addresses of {width} bytes are not supported", at)
            if kind in (2, 6):  # DW_UT_type: a separate type, referred to by a signature
                self._signatures[info.uint(at + 12, 8)] = at + info.uint(at + 20, 4)
            yield Unit(at, first, end, version, self._read_table(abbrev))
            at = end

    def _read_root(self, unit: Unit) -> None:
        unit.root = root = self.die(unit.first, unit) if unit.first < unit.end else None
        if root is not None:
            for attribute, name in (
                (At.STR_OFFSETS_BASE, "str_offsets"),
                (At.ADDR_BASE, "addresses"),
                (At.RNGLISTS_BASE, "rnglists"),
            ):
                if root.has(attribute):
                    setattr(unit, name, self.number(root, attribute))

    def _read_table(self, at: int) -> dict[int, Abbreviation]:
        if at in self._tables:
            return self._tables[at]
        table: dict[int, Abbreviation] = {}
        self._tables[at] = table
        section, start = self._abbrev, at
        while True:
            code, at = section.uleb(at)
            section.charge(at, at - start)
            if not code:
                return table
            start = at
            tag, at = section.uleb(at)
            children, at = section.uint(at, 1), at + 1
            pairs: list[tuple[int, int, int]] = []
            while True:
                attribute, at = section.uleb(at)
                form, at = section.uleb(at)
                constant = 0
                if form == Form.IMPLICIT_CONST:
                    constant, at = section.sleb(at)
                if not attribute and not form:
                    break
                pairs.append((attribute, form, constant))
            table[code] = _abbreviation(section, at, tag, children, pairs)

    # Entries

    def unit_of(self, offset: int) -> Unit:
        """Return the unit that contains an offset."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or not self.units[index].first <= offset < self.units[index].end:
            raise self.info.error("no entry at this offset", offset)
        return self.units[index]

    def die(self, offset: int, unit: Unit | None = None) -> Die | None:
        """Read the entry at an offset; None for the null entry that ends a list of children."""
        unit = unit or self.unit_of(offset)
        info = self.info
        code, at = info.uleb(offset)
        if not code:
            return None
        abbreviation = unit.abbreviations.get(code)
        if abbreviation is None:
            raise info.error(f"no abbreviation {code}", offset)
        fixed = abbreviation.fixed
        try:
            if fixed is not None:
                return Die(offset, unit, abbreviation, fixed.unpack_from(info.data, at), at + fixed.size, at)
            values: list[Value] = []
            end = at
            for step in abbreviation.steps:
                if isinstance(step, Struct):
                    values += step.unpack_from(info.data, end)
                    end += step.size
                else:
                    value, end = step(info, end)
                    values.append(value)
        except struct.error:
            raise info.error("an entry is cut off", offset) from None
        return Die(offset, unit, abbreviation, tuple(values), end, at)

    def children(self, parent: Die) -> Iterator[Die]:
        """Yield the direct children of an entry."""
        if not parent.abbreviation.children:
            return
        at, depth, unit, end = parent.end, 0, parent.unit, parent.unit.end
        read = self.die
        while at < end:
            die = read(at, unit)
            if die is None:
                if not depth:
                    return
                depth -= 1
                at = self.info.uleb(at)[1]
                continue
            if not depth:
                yield die
            at = die.end
            if die.abbreviation.children:
                sibling = die.abbreviation.sibling
                if sibling < 0:
                    depth += 1
                    continue
                target = die.values[sibling]
                assert isinstance(target, int)
                if not die.end <= unit.offset + target <= end:
                    raise self.info.error("an entry's sibling lies before it", die.offset)
                at = unit.offset + target

    # Attributes

    def number(self, die: Die, attribute: int, default: int = 0) -> int:
        """Return an attribute's number; a block is read as a constant location (DW_OP_plus_uconst)."""
        value = self._value(die, attribute)
        if isinstance(value, bytes):
            if value[:1] not in (b"\x23", b"\x10") and len(value) not in (3, 16):
                raise self.info.error("a location is not constant", die.offset)
            if value[:1] in (b"\x23", b"\x10"):
                return DebugSection(".debug_info", value, self.info.path).uleb(1)[0]
            return int.from_bytes(value, "little")
        return default if value is None else value

    def signed(self, die: Die, attribute: int) -> int:
        """Return a number whose sign bit is the highest bit of its form."""
        value = self.number(die, attribute)
        bits = {Form.DATA1: 8, Form.DATA2: 16, Form.DATA4: 32, Form.DATA8: 64}.get(
            die.abbreviation.slots[attribute].form if die.has(attribute) else 0
        )
        return value - (1 << bits) if bits and value >> (bits - 1) else value

    def text(self, die: Die, attribute: int) -> str:
        """Return an attribute's text, or ""."""
        slot = die.abbreviation.slots.get(attribute)
        if slot is None:
            return ""
        value = self._value(die, attribute)
        if isinstance(value, int):
            if slot.form in _STRX:
                place = die.unit.str_offsets + 4 * value
                value = self.section(".debug_str").string(self.section(".debug_str_offsets").uint(place, 4))
            elif slot.form in (Form.STRP, Form.LINE_STRP):
                name = ".debug_str" if slot.form == Form.STRP else ".debug_line_str"
                value = self.section(name).string(value)
            else:
                raise self.info.error("a name has an unknown form", die.offset)
        return (value or b"").decode("utf-8", "replace")

    def reference(self, die: Die, attribute: int) -> int:
        """Return the offset of the entry that an attribute refers to, or 0."""
        slot = die.abbreviation.slots.get(attribute)
        if slot is None:
            return 0
        value = self.number(die, attribute)
        if slot.form in _UNIT_REFERENCES:
            return die.unit.offset + value
        if slot.form == Form.REF_ADDR:
            return value
        if slot.form == Form.REF_SIG8 and value in self._signatures:
            return self._signatures[value]
        raise self.info.error("a reference to another file", die.offset)

    def address(self, die: Die, attribute: int) -> tuple[int, int] | None:
        """Return (section index, offset into it) for an attribute that is an address."""
        slot = die.abbreviation.slots.get(attribute)
        if slot is None:
            return None
        value = self.number(die, attribute)
        if slot.form == Form.ADDR:
            return self.info.section_at.get(self._place(die, attribute), 0), value
        if slot.form in _ADDRX:
            return self.indexed_address(die.unit, value)
        raise self.info.error("an address has an unknown form", die.offset)

    def indexed_address(self, unit: Unit, index: int) -> tuple[int, int]:
        """Return the address at an index into ``.debug_addr``."""
        addresses = self.section(".debug_addr")
        place = unit.addresses + 8 * index
        return addresses.section_at.get(place, 0), addresses.uint(place, 8)

    def _place(self, die: Die, attribute: int) -> int:
        """Return the offset of an attribute's value."""
        wanted, at = die.abbreviation.slots[attribute].index, die.places
        for step in _single_steps(die.abbreviation)[:wanted]:
            at = at + step.size if isinstance(step, Struct) else step(self.info, at)[1]
        return at

    def _value(self, die: Die, attribute: int) -> Value | None:
        slot = die.abbreviation.slots.get(attribute)
        if slot is None:
            return None
        return slot.constant if slot.index < 0 else die.values[slot.index]


def _abbreviation(
    section: DebugSection,
    at: int,
    tag: int,
    children: int,
    pairs: list[tuple[int, int, int]],
) -> Abbreviation:
    slots: dict[int, AttributeSlot] = {}
    steps: list[_Step] = []
    layout, index, sibling = "", 0, -1
    for attribute, form, constant in pairs:
        code = _FIXED.get(form)
        if code is None:
            reader = _reader(form)
            if reader is None:
                raise section.error(f"unknown form {form:#x}", at)
            if layout:
                steps.append(Struct("<" + layout))
                layout = ""
            steps.append(reader)
        else:
            layout += code
        if code == "":
            slots[attribute] = AttributeSlot(form, -1, 1 if form == Form.FLAG_PRESENT else constant)
            continue
        slots[attribute] = AttributeSlot(form, index)
        if attribute == At.SIBLING and form in _UNIT_REFERENCES:
            sibling = index
        index += 1
    if layout or not steps:
        steps.append(Struct("<" + layout))
    fixed = steps[0] if len(steps) == 1 and isinstance(steps[0], Struct) else None
    return Abbreviation(tag, bool(children), slots, steps, fixed, sibling)


def _single_steps(abbreviation: Abbreviation) -> list[_Step]:
    """The steps that read one value each."""
    steps: list[_Step] = []
    for slot in abbreviation.slots.values():
        if slot.index >= 0:
            code = _FIXED.get(slot.form)
            reader = Struct("<" + code) if code is not None else _reader(slot.form)
            assert reader is not None
            steps.append(reader)
    return steps


def _reader(form: int) -> Callable[[DebugSection, int], tuple[Value, int]] | None:
    """The function that reads a value of variable size; None for an unknown form."""
    if form in _LEB:
        return DebugSection.uleb
    if form == Form.SDATA:
        return DebugSection.sleb
    if form == Form.STRING:
        return _read_string
    if form in (Form.BLOCK, Form.EXPRLOC):
        return _read_block
    if form in _BLOCKS:
        width = _BLOCKS[form]
        return lambda section, at: _read_bytes(section, at + width, section.uint(at, width))
    return None


def _read_string(section: DebugSection, at: int) -> tuple[bytes, int]:
    text = section.string(at)
    return text, at + len(text) + 1


def _read_block(section: DebugSection, at: int) -> tuple[bytes, int]:
    size, start = section.uleb(at)
    return _read_bytes(section, start, size)


def _read_bytes(section: DebugSection, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(section.data):
        raise section.error("a block is cut off", at)
    return section.data[at : at + size], at + size
