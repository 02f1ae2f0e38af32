"""The source line and function of a module's address: the part of DWARF that oops reports need."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from ukmod.kmod.elf import Elf
from ukmod.machine.registers import MASK64
from ukmod.machine.types.debugsections import DebugSection, supports
from ukmod.machine.types.dies import At, DebugInfo, Die, DwTag, Form, Unit
from ukmod.machine.types.lineprogram import LineTable, Row, read_line_table
from ukmod.record import record

__all__ = ["SourceLine", "SourceLines"]

_NESTING = 64
_Range = tuple[int, int, int]
"""A section's index, the offset of the first byte, and that after the last byte."""


@record
class SourceLine:
    """A place in the source. ``caller`` is where it was inlined, or None for a function of its own."""

    file: str
    line: int
    function: str
    caller: SourceLine | None = None

    def __str__(self) -> str:
        return f"{self.function} {self.file}:{self.line}"


class SourceLines:
    """The source lines of a module with debugging information, read on first use.

    A module without any has no lines. Look-ups raise FormatError if the information is damaged.
    """

    def __init__(self, elf: Elf) -> None:
        self._elf = elf
        self._tables: dict[int, LineTable] = {}
        self._rows: list[tuple[Row, int]] | None = None
        self._functions: list[tuple[_Range, Die]] | None = None

    @cached_property
    def _info(self) -> DebugInfo | None:
        """Relocating a large module's entries takes seconds, and most runs have nothing to report."""
        elf = self._elf
        return DebugInfo(elf) if supports(elf) and elf.section(".debug_line") is not None else None

    def find(self, section: str | int, offset: int) -> SourceLine | None:
        """Return the line for an offset into a section (given by name or index); None if it is unknown."""
        if isinstance(section, str):
            found = self._elf.section(section)
            index = 0 if found is None else found.index
        else:
            index = section
        info = self._info
        if info is None or not index:
            return None
        for name in (".debug_ranges", ".debug_rnglists"):
            info.section(name).begin()
        place = self._row_at(index, offset)
        if place is None:
            return None
        row, unit_offset = place
        file = self._file(unit_offset, row.file)
        functions = list(self._functions_at(info, index, offset))
        source: SourceLine | None = None
        # From the outermost function inwards: each is at the line where the next one was inlined.
        for number, die in enumerate(functions):
            last = number == len(functions) - 1
            inner = None if last else functions[number + 1]
            where = (file, row.line) if inner is None else self._call_site(info, inner)
            source = SourceLine(*where, self._name(info, die), source)
        return source or SourceLine(file, row.line, "")

    # Lines

    def _row_at(self, section: int, offset: int) -> tuple[Row, int] | None:
        if self._rows is None:
            self._rows = sorted(self._all_rows(), key=_row_order)
        index = bisect_right(self._rows, (section, offset, 1), key=_row_order) - 1
        if index < 0:
            return None
        row = self._rows[index][0]
        return self._rows[index] if row.section == section and row.file + row.line > 0 else None

    def _all_rows(self) -> Iterator[tuple[Row, int]]:
        info = self._info
        assert info is not None
        for unit in info.units:
            if unit.root is not None and unit.root.has(At.STMT_LIST):
                table = self._table(info, unit, unit.root)
                yield from ((row, unit.offset) for row in table.rows)

    def _table(self, info: DebugInfo, unit: Unit, root: Die) -> LineTable:
        if unit.offset not in self._tables:
            strings = {Form.STRP: info.section(".debug_str"), Form.LINE_STRP: info.section(".debug_line_str")}
            offset, directory = info.number(root, At.STMT_LIST), info.text(root, At.COMP_DIR)
            table = read_line_table(info.section(".debug_line"), offset, directory, strings)
            self._tables[unit.offset] = table
        return self._tables[unit.offset]

    def _file(self, unit_offset: int, number: int) -> str:
        table = self._tables.get(unit_offset)
        return "" if table is None else table.files.get(number, "")

    # Functions

    def _functions_at(self, info: DebugInfo, section: int, offset: int) -> Iterator[Die]:
        """Yield the function that contains an address and those inlined there, outermost first."""
        if self._functions is None:
            self._functions = list(_functions(info))
        for (index, first, end), die in self._functions:
            if index == section and first <= offset < end:
                yield die
                yield from _inlined(info, die, section, offset, 0)
                return

    def _call_site(self, info: DebugInfo, die: Die) -> tuple[str, int]:
        file = self._file(die.unit.offset, info.number(die, At.CALL_FILE))
        return file, info.number(die, At.CALL_LINE)

    def _name(self, info: DebugInfo, die: Die) -> str:
        """A function's name, which may be in its declaration or abstract instance instead."""
        for _ in range(_NESTING):
            name = info.text(die, At.NAME)
            origin = info.reference(die, At.ABSTRACT_ORIGIN) or info.reference(die, At.SPECIFICATION)
            found = info.die(origin) if origin and not name else None
            if found is None:
                return name
            die = found
        return ""


def _row_order(item: tuple[Row, int] | tuple[int, int, int]) -> tuple[int, int, int]:
    """Order by address; the end of one range sorts before a row that begins at the same address."""
    if len(item) == 2:
        row = item[0]
        return row.section, row.address, int(row.file + row.line > 0)
    return item


def _functions(info: DebugInfo) -> Iterator[tuple[_Range, Die]]:
    for unit in info.units:
        for die in info.children(unit.root) if unit.root is not None else ():
            if die.tag == DwTag.SUBPROGRAM:
                for part in _ranges(info, die):
                    yield part, die


def _inlined(info: DebugInfo, parent: Die, section: int, offset: int, depth: int) -> Iterator[Die]:
    for die in info.children(parent):
        if die.tag not in (DwTag.INLINED, DwTag.LEXICAL_BLOCK) or depth > _NESTING:
            continue
        if any(index == section and first <= offset < end for index, first, end in _ranges(info, die)):
            if die.tag == DwTag.INLINED:
                yield die
            yield from _inlined(info, die, section, offset, depth + 1)
            return


def _ranges(info: DebugInfo, die: Die) -> Iterator[_Range]:
    """Yield an entry's code ranges: one, or a list of them."""
    low = info.address(die, At.LOW_PC)
    if die.has(At.RANGES):
        place = info.number(die, At.RANGES)
        if die.unit.version < 5:
            yield from _ranges_2(info.section(".debug_ranges"), place, die.unit, info)
        else:
            lists = info.section(".debug_rnglists")
            if die.abbreviation.slots[At.RANGES].form == Form.RNGLISTX:
                place = die.unit.rnglists + lists.uint(die.unit.rnglists + 4 * place, 4)
            yield from _ranges_5(lists, place, die.unit, info)
    elif low is not None and die.has(At.HIGH_PC):
        index, first = low
        high = info.number(die, At.HIGH_PC)
        is_address = die.abbreviation.slots[At.HIGH_PC].form == Form.ADDR
        yield index, first, high if is_address else first + high


def _base(info: DebugInfo, unit: Unit) -> tuple[int, int]:
    return (info.address(unit.root, At.LOW_PC) if unit.root is not None else None) or (0, 0)


def _ranges_2(section: DebugSection, at: int, unit: Unit, info: DebugInfo) -> Iterator[_Range]:
    base = _base(info, unit)
    while True:
        section.charge(at, 16)
        first, end, index = section.uint(at, 8), section.uint(at + 8, 8), section.section_at.get(at)
        if first == MASK64:
            base = section.section_at.get(at + 8, 0), end
        elif index is not None:
            yield index, first, end
        elif not first and not end:
            return
        else:
            yield base[0], base[1] + first, base[1] + end
        at += 16


def _ranges_5(section: DebugSection, at: int, unit: Unit, info: DebugInfo) -> Iterator[_Range]:
    base = _base(info, unit)
    while kind := section.uint(at, 1):
        section.charge(at, 1)
        at += 1
        if kind in (5, 6, 7):  # DW_RLE_base_address, _start_end, _start_length
            start = section.section_at.get(at, 0), section.uint(at, 8)
            at += 8
        elif kind in (1, 2, 3):  # the same by index: _base_addressx, _startx_endx, _startx_length
            number, at = section.uleb(at)
            start = info.indexed_address(unit, number)
        elif kind == 4:  # _offset_pair
            first, at = section.uleb(at)
            start = base[0], base[1] + first
        else:
            raise section.error(f"unknown kind {kind} of range", at)
        if kind in (1, 5):
            base = start
            continue
        if kind == 6:
            end, at = section.uint(at, 8), at + 8
        else:
            number, at = section.uleb(at)
            if kind == 2:
                end = info.indexed_address(unit, number)[1]
            else:
                end = number + (base[1] if kind == 4 else start[1])
        yield start[0], start[1], end
