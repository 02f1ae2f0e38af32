"""``.debug_line``: the source line of each address, versions 2 to 5 (dwarfstd.org, chapter 6.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ukmod.errors import FormatError
from ukmod.machine.registers import MASK64
from ukmod.machine.types.debugsections import DebugSection
from ukmod.record import record

__all__ = ["LineTable", "Row", "read_line_table"]

_SHARED = 64
"""So many units may name each file of a module, and the ends of one long text are many names."""
_STRING, _BLOCK, _STRP, _UDATA, _LINE_STRP = 0x08, 0x09, 0x0E, 0x0F, 0x1F  # DW_FORM_*
_FIXED = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}  # DW_FORM_data*
_PATH, _DIRECTORY = 1, 2  # DW_LNCT_*
_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 1, 2, 3, 4
_CONST_ADD_PC, _FIXED_ADVANCE_PC = 8, 9
_END_SEQUENCE, _SET_ADDRESS = 1, 2


class Row(NamedTuple):
    """Code from this address to the next row's is from this line. ``file`` is 0 at the end of code."""

    section: int
    address: int
    file: int
    line: int


@record
class LineTable:
    """The rows of a unit, unordered, and the files by their numbers."""

    rows: list[Row]
    files: dict[int, str]


class _Cursor:
    """A position in a section that advances with each read."""

    def __init__(self, section: DebugSection, at: int) -> None:
        self.section, self.at = section, at

    def uint(self, size: int) -> int:
        self.at += size
        return self.section.uint(self.at - size, size)

    def uleb(self) -> int:
        value, self.at = self.section.uleb(self.at)
        return value

    def sleb(self) -> int:
        value, self.at = self.section.sleb(self.at)
        return value

    def string(self) -> str:
        text = self.section.string(self.at)
        self.at += len(text) + 1
        return text.decode("utf-8", "replace")


@record
class _Header:
    minimum: int
    line_base: int
    line_range: int
    lengths: list[int]
    """The number of operands of each standard opcode."""


def read_line_table(
    section: DebugSection, offset: int, directory: str, strings: dict[int, DebugSection]
) -> LineTable:
    """Read the line program at an offset.

    ``directory`` is the compiler's working directory; ``strings`` are the sections for DW_FORM_strp and
    _line_strp.
    """
    cursor = _Cursor(section, offset)
    end = cursor.uint(4) + cursor.at
    version = cursor.uint(2)
    section.charge(offset, end - offset)
    if not 2 <= version <= 5 or end > len(section.data):
        raise section.error(f"a line program of version {version} is unsupported or cut off", offset)
    if version >= 5:
        cursor.uint(2)
    program = cursor.uint(4) + cursor.at
    minimum = cursor.uint(1)
    cursor.uint(1 if version < 4 else 2)
    base, line_range, opcodes = cursor.uint(1), cursor.uint(1), cursor.uint(1)
    lengths = [0, *(cursor.uint(1) for _ in range(opcodes - 1))]
    if not line_range or not opcodes:
        raise section.error("a line program without opcodes or with a line range of 0", offset)
    files = _files_5(cursor, directory, strings) if version >= 5 else _files_2(cursor, directory)
    header = _Header(minimum, base - 256 if base > 127 else base, line_range, lengths)
    return LineTable(list(_run(_Cursor(section, program), end, header)), files)


def _run(cursor: _Cursor, end: int, header: _Header) -> Iterator[Row]:  # noqa: C901 - one case an opcode
    opcodes = len(header.lengths)
    section, address, file, line = 0, 0, 1, 1
    while cursor.at < end:
        opcode = cursor.uint(1)
        if opcode >= opcodes:
            advance, step = divmod(opcode - opcodes, header.line_range)
            address = address + advance * header.minimum & MASK64
            line += header.line_base + step
            yield Row(section, address, file, line)
        elif opcode == 0:
            size = cursor.uleb()
            after = cursor.at + size
            kind = cursor.uint(1) if size else 0
            if kind == _END_SEQUENCE:
                yield Row(section, address, 0, 0)
                section, address, file, line = 0, 0, 1, 1
            elif kind == _SET_ADDRESS:
                section = cursor.section.section_at.get(cursor.at, 0)
                address = cursor.uint(8)
            cursor.at = after
        elif opcode == _COPY:
            yield Row(section, address, file, line)
        elif opcode == _ADVANCE_PC:
            address = address + cursor.uleb() * header.minimum & MASK64
        elif opcode == _ADVANCE_LINE:
            line += cursor.sleb()
        elif opcode == _SET_FILE:
            file = cursor.uleb()
        elif opcode == _CONST_ADD_PC:
            address = address + (255 - opcodes) // header.line_range * header.minimum & MASK64
        elif opcode == _FIXED_ADVANCE_PC:
            address = address + cursor.uint(2) & MASK64
        else:
            for _ in range(header.lengths[opcode]):
                cursor.uleb()


def _files_2(cursor: _Cursor, directory: str) -> dict[int, str]:
    """The files before DWARF 5: directories, then files, each list ended by an empty name."""
    directories = [directory]
    while name := cursor.string():
        directories.append(_join(directory, name))
    files: dict[int, str] = {}
    while name := cursor.string():
        index = cursor.uleb()
        cursor.uleb()
        cursor.uleb()
        files[len(files) + 1] = _join(_pick(directories, index), name)
    return files


def _files_5(cursor: _Cursor, directory: str, strings: dict[int, DebugSection]) -> dict[int, str]:
    directories = [_join(directory, name) for name, _ in _entries(cursor, strings)]
    return {
        number: _join(_pick(directories, index), name)
        for number, (name, index) in enumerate(_entries(cursor, strings))
    }


def _entries(cursor: _Cursor, strings: dict[int, DebugSection]) -> list[tuple[str, int]]:
    """A list of names with their directory numbers, in the format that precedes it."""
    formats = [(cursor.uleb(), cursor.uleb()) for _ in range(cursor.uint(1))]
    count = cursor.uleb()
    if not formats and count:
        raise cursor.section.error("files without names", cursor.at)
    entries = []
    for _ in range(count):
        fields = {content: _value(cursor, form, strings) for content, form in formats}
        name, index = fields.get(_PATH, ""), fields.get(_DIRECTORY, 0)
        entries.append((name if isinstance(name, str) else "", index if isinstance(index, int) else 0))
    return entries


def _value(cursor: _Cursor, form: int, strings: dict[int, DebugSection]) -> str | int:
    if form == _STRING:
        return cursor.string()
    if form in strings:
        at = cursor.uint(4)
        text = strings[form].string(at)
        strings[form].charge(at, len(text) // _SHARED)
        return text.decode("utf-8", "replace")
    if form == _UDATA:
        return cursor.uleb()
    if form in _FIXED:
        return cursor.uint(_FIXED[form])
    if form == _BLOCK:
        cursor.at += cursor.uleb()
        return 0
    raise FormatError(f"unknown form {form:#x} of a file's name", path=cursor.section.path, offset=cursor.at)


def _pick(directories: list[str], index: int) -> str:
    return directories[index] if index < len(directories) else ""


def _join(directory: str, name: str) -> str:
    return name if name.startswith("/") or directory in ("", ".") else f"{directory}/{name}"
