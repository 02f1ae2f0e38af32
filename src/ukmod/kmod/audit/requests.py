"""Calls of request_module() in a module's code, with the format string that each is given.

request_module(fmt, ...) is ``__request_module(true, fmt, ...)`` (include/linux/kmod.h): by the ABI of x86-64,
the second argument is in the register rsi. A compiler sets it shortly before the call, by ``mov $fmt, %rsi``
or ``lea fmt(%rip), %rsi``, whose address the linker, or the module loader, fills in.
"""

from __future__ import annotations

import re

from ukmod.kmod.elf import EM_X86_64, SHN_UNDEF, STT_FUNC, Elf
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ukmod.kmod.elf import Section, Symbol

__all__ = [
    "CALLS",
    "FUNCTION",
    "OPERAND",
    "ModuleRequest",
    "format_text",
    "formats_of_call",
    "module_requests",
]

FUNCTION = "__request_module"
_FORWARDING = "request_module"
"""nft_request_module() and others take a format and pass it on: the end of their names says so."""
_CALL = 0xE8
CALLS = frozenset((_CALL, 0xE9))
"""The opcodes of a call, and of a jump that takes its place at the end of a function."""
_REACH = 192
"""Bytes before a call in which its format is looked for."""
_TAIL, _AHEAD = 16, 12
"""Bytes before a call to which jumps may lead, and bytes behind a format in which such a jump is found."""

_MOV, _LEA = b"\x48\xc7\xc6", b"\x48\x8d\x35"
"""``mov $imm32, %rsi`` and ``lea rel32(%rip), %rsi``, without their operands."""
_SETS = re.compile(rb"\x48(?:\xc7\xc6|\x8d\x35)")
_BRANCH = re.compile(rb"[\xe8\xe9]")
OPERAND = 4
"""The size of an operand that is an address, or a distance, in bytes."""
_SETTING = len(_MOV) + OPERAND
_EXECUTABLE = 4
_RELA = 4
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,255}\0")


@record
class ModuleRequest:
    """A call of request_module().

    ``formats`` are the constants that it may be given; there are none if its name is made at run time, or is
    not found in the code. ``function`` makes the call; ``owner`` is its module, or vmlinux.
    """

    formats: tuple[str, ...]
    function: str
    owner: str


def module_requests(elf: Elf, owner: str) -> list[ModuleRequest]:
    """Return the calls in a module for x86-64, in the order of the file; FormatError for a bad file."""
    if elf.machine != EM_X86_64 or elf.bits != 64:
        return []
    strings = elf.find(b".strtab")
    if strings is None or FUNCTION.encode() not in strings[1]:
        return []
    wanted = {one.index for one in elf.symbols if one.name.endswith(_FORWARDING) and one.shndx == SHN_UNDEF}
    found: list[ModuleRequest] = []
    for table in elf.sections if wanted else ():
        if table.type == _RELA and 0 < table.info < len(elf.sections):
            code = elf.sections[table.info]
            if code.flags & _EXECUTABLE:
                found += _Code(elf, table, code, owner).requests(wanted)
    return found


class _Code:
    """A section of code with its relocations."""

    def __init__(self, elf: Elf, table: Section, code: Section, owner: str) -> None:
        self._elf = elf
        self._index = code.index
        self._owner = owner
        self._data = elf.section_data(code)
        self._relocations = {
            offset: (symbol, addend) for offset, symbol, _kind, addend in elf.relocations(table)
        }
        self._functions = [
            one for one in elf.symbols if one.shndx == code.index and one.type == STT_FUNC and one.size
        ]

    def requests(self, wanted: set[int]) -> Iterator[ModuleRequest]:
        """Yield the calls of undefined symbols, and those of functions here that pass on a whole name."""
        forwarding = {one.value for one in self._functions if one.name.endswith(_FORWARDING)}
        for at, (symbol, _addend) in sorted(self._relocations.items()):
            if symbol in wanted and self._is_branch(at - 1):
                function = self._function(at)
                request = self._request(at - 1, function)
                yield request
                if request.formats == ("%s",) and function is not None:
                    forwarding.add(function.value)
        for found in _BRANCH.finditer(self._data) if forwarding else ():
            if self._target(found.start()) in forwarding:
                request = self._request(found.start(), self._function(found.start()))
                if request.formats:
                    yield request

    def _request(self, call: int, function: Symbol | None) -> ModuleRequest:
        start = max(0, call - _REACH) if function is None else function.value
        stop = call if function is None else function.value + function.size
        formats = formats_of_call(self._data, range(start, stop), call, self._text, self._is_call)
        return ModuleRequest(formats, "" if function is None else function.name, self._owner)

    def _function(self, offset: int) -> Symbol | None:
        inside = (one for one in self._functions if one.value <= offset < one.value + one.size)
        return next(inside, None)

    def _is_branch(self, at: int) -> bool:
        return 0 <= at < len(self._data) and self._data[at] in CALLS

    def _is_call(self, at: int) -> bool:
        return self._data[at] == _CALL and at + 1 in self._relocations

    def _target(self, at: int) -> int | None:
        """Return the offset in this section that a branch leads to; None if it leads elsewhere."""
        if at + 1 not in self._relocations:
            distance = int.from_bytes(self._data[at + 1 : at + 1 + OPERAND], "little", signed=True)
            return at + 1 + OPERAND + distance
        index, addend = self._relocations[at + 1]
        symbol = self._elf.symbols[index] if index < len(self._elf.symbols) else None
        if symbol is None or symbol.shndx != self._index:
            return None
        return symbol.value + addend + OPERAND

    def _text(self, place: int, is_relative: bool) -> str | None:  # noqa: FBT001 - the decoder's answer
        """Return the string at the symbol, or at the offset from it, that an operand stands for."""
        index, addend = self._relocations.get(place, (0, 0))
        elf = self._elf
        symbol = elf.symbols[index] if 0 < index < len(elf.symbols) else None
        if symbol is None or not 0 < symbol.shndx < len(elf.sections):
            return None
        at = symbol.value + addend + (OPERAND if is_relative else 0)
        return format_text(elf.section_data(elf.sections[symbol.shndx])[at : at + 256]) if at >= 0 else None


def formats_of_call(
    code: bytes,
    function: range,
    call: int,
    text: Callable[[int, bool], str | None],
    is_call: Callable[[int], bool],
) -> tuple[str, ...]:
    """Return the constant strings that rsi may hold at a call, which a function of these offsets makes.

    They are that of the last instruction that sets it, and those of others that jump to a place between the
    two: several calls that a compiler has made one. ``text`` returns the string that the operand at an offset
    into the code stands for, None if it is not one; its second argument says whether the operand is relative
    to the next instruction. ``is_call`` tells whether there is a call at an offset: what is set before
    another call is that call's.
    """
    found: dict[str, None] = {}
    tail = max(function.start, call - _TAIL)
    for at in range(call - 1, max(function.start, call - _REACH) - 1, -1):
        if is_call(at):
            break
        if at + _SETTING <= call and (constant := _constant(code, at, text)) is not None:
            found[constant] = None
            tail = at + _SETTING
            break
    for setting in _SETS.finditer(code, function.start, function.stop):
        behind = setting.start() + _SETTING
        if behind != tail and _jumps_into(code, behind, range(tail, call + 1)):
            constant = _constant(code, setting.start(), text)
            if constant is not None:
                found[constant] = None
    return tuple(found)


def _constant(code: bytes, at: int, text: Callable[[int, bool], str | None]) -> str | None:
    opcode = code[at : at + len(_MOV)]
    return text(at + len(_MOV), opcode == _LEA) if opcode in (_MOV, _LEA) else None


def _jumps_into(code: bytes, at: int, place: range) -> bool:
    """Tell whether one of the instructions at an offset is a jump to such a place."""
    for start in range(at, at + _AHEAD):
        opcode = code[start : start + 1]
        if (
            opcode == b"\xeb"
            and start + 2 + int.from_bytes(code[start + 1 : start + 2], "little", signed=True) in place
        ):
            return True
        distance = int.from_bytes(code[start + 1 : start + 1 + OPERAND], "little", signed=True)
        if opcode == b"\xe9" and start + 1 + OPERAND + distance in place:
            return True
    return False


def format_text(data: bytes) -> str | None:
    """Return the text that bytes begin with; None if they are not a string."""
    found = _PRINTABLE.match(data)
    return None if found is None else found[0][:-1].decode("ascii")
