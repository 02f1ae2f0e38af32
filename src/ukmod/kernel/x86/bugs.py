"""BUG() and WARN() in guest code, which are undefined instructions: lib/bug.c and handle_bug().

The entry of a ``ud2`` is found in __bug_table. WARN() with arguments is a ``ud1`` since v6.19: its register
operand holds the address of the entry, and the arguments of its format are those of a variadic function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.vsprintf import vformat
from ukmod.kernel.oops import Line
from ukmod.kernel.panic import CUT_HERE, TAINT_LETTERS, UD2_LENGTH
from ukmod.machine.memory import Fault
from ukmod.machine.registers import Registers
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.machine.types import Types

_UD2: Final = b"\x0f\x0b"
_UD1_WARN: Final = b"\x67\x48\x0f\xb9\x3a"
"""ud1 (%edx),%rdi."""
_ARGUMENTS: Final = ("rsi", "rdx", "rcx", "r8", "r9")
"""The registers with the arguments after the first one."""

# include/asm-generic/bug.h
BUGFLAG_WARNING: Final = 1 << 0
BUGFLAG_ONCE: Final = 1 << 1
BUGFLAG_DONE: Final = 1 << 2
BUGFLAG_NO_CUT_HERE: Final = 1 << 3
BUGFLAG_ARGS: Final = 1 << 4


@record
class BugLayout:
    """The size of a struct bug_entry and the offsets of its members in bytes. Pointers are relative."""

    size: int = 12
    address: int = 0
    file: int = 4
    line: int = 8
    flags: int = 10
    format: int | None = None

    def addresses(self, table: bytes, start: int) -> Iterator[tuple[int, int]]:
        """The address of each entry of a table at ``start``, and of the instruction that it is for."""
        for at in range(0, len(table) - self.size + 1, self.size):
            place = at + self.address
            yield start + at, start + place + int.from_bytes(table[place : place + 4], "little", signed=True)


def bug_layout(types: Types) -> BugLayout:
    """The layout of struct bug_entry; that of v6.1 if no type is known."""
    if not types.has("bug_entry", "file_disp"):
        return BugLayout()
    address, file, line, flags = (
        types.offset("bug_entry", name) for name in ("bug_addr_disp", "file_disp", "line", "flags")
    )
    text = types.offset("bug_entry", "format_disp") if types.has("bug_entry", "format_disp") else None
    return BugLayout(types.sizeof("bug_entry"), address, file, line, flags, text)


@record
class BugEntry:
    """struct bug_entry, with its relative addresses made absolute."""

    flags_at: int
    """The address of ``flags``."""
    file: int
    line: int
    flags: int
    format: int
    """The address of WARN()'s format; 0 if it has none."""


class _Arguments:
    """The arguments of a WARN(): __warn_args()."""

    def __init__(self, k: Core, registers: Registers) -> None:
        self._k = k
        self._stack = registers["rsp"]
        self._left = [registers[name] for name in _ARGUMENTS]
        called = k.image.get("__WARN_trap") if k.image is not None else None
        if registers.rip == called:
            self._stack += 8  # the address to return to

    def next(self) -> int:
        """The next argument's 8 bytes, unsigned."""
        if self._left:
            return self._left.pop(0)
        self._stack += 8
        return self._k.memory.u64(self._stack - 8)


def _entry(k: Core, layout: BugLayout, at: int) -> BugEntry:
    def pointed(offset: int) -> int:
        place = at + offset
        target = k.memory.s32(place)
        return place + target if target else 0

    return BugEntry(
        at + layout.flags,
        pointed(layout.file),
        k.memory.u16(at + layout.line),
        k.memory.u16(at + layout.flags),
        pointed(layout.format) if layout.format is not None else 0,
    )


def find_bug(k: Core, rip: int) -> int | None:
    """find_bug(): the address of the __bug_table entry of the ud2 at ``rip``, the image's or a module's."""
    if k.image is not None and (at := k.image.bugs.get(rip)):
        return at
    module = k.modules.of_code(rip)
    if module is None or (section := module.layout.sections.get("__bug_table")) is None:
        return None
    start, size = section
    entries = bug_layout(k.types).addresses(k.memory.read(start, size), start)
    return next((at for at, address in entries if address == rip), None)


def _decoded(k: Core, registers: Registers) -> tuple[int, int] | None:
    """decode_bug(): the address of the entry, and the length of the instruction; None if it is no bug's."""
    rip = registers.rip
    if k.memory.read(rip, UD2_LENGTH) == _UD2:
        at = find_bug(k, rip)
        return None if at is None else (at, UD2_LENGTH)
    if k.memory.read(rip, len(_UD1_WARN)) == _UD1_WARN:
        return registers["rdi"], len(_UD1_WARN)
    return None


@record
class Bug:
    """A BUG() that was reached."""

    header: tuple[Line, ...]


def report_bug(k: Core, registers: Registers) -> Registers | Bug | None:
    """report_bug(): print a warning, and return the registers to continue with. A BUG() is returned."""
    try:
        if (decoded := _decoded(k, registers)) is None:
            return None
        bug = _entry(k, bug_layout(k.types), decoded[0])
    except Fault:
        return None
    behind = replace(registers, rip=registers.rip + decoded[1])
    once = BUGFLAG_WARNING | BUGFLAG_ONCE
    if bug.flags & once == once:
        if bug.flags & BUGFLAG_DONE:
            return behind
        k.memory.set_u16(bug.flags_at, bug.flags | BUGFLAG_DONE)
    file = k.memory.cstring(bug.file, 4096).decode("utf-8", "replace") if bug.file else ""
    cut_here = not bug.flags & BUGFLAG_NO_CUT_HERE
    if bug.flags & BUGFLAG_WARNING:
        taint = bug.flags >> 8
        letter = TAINT_LETTERS[taint] if taint < len(TAINT_LETTERS) else "W"
        message = _message(k, bug, registers)
        k.crash.warn(message, file, bug.line, registers=registers, cut_here=cut_here, taint=letter)
        return behind
    header: tuple[Line, ...] = ((4, CUT_HERE.rstrip("\n")),) if cut_here else ()
    return Bug((*header, (2, f"kernel BUG at {file}:{bug.line}!")))


def _message(k: Core, bug: BugEntry, registers: Registers) -> str:
    """The message of a WARN(): its format, if it has no arguments."""
    if not bug.format:
        return ""
    text = k.memory.cstring(bug.format, 4096)
    if bug.flags & BUGFLAG_ARGS:
        text = vformat(k, text, _Arguments(k, registers))
    return text.decode("utf-8", "replace")
