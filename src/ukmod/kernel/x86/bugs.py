"""BUG() and WARN() in guest code, which are undefined instructions: lib/bug.c and handle_bug().

The entry of a ``ud2`` is found in __bug_table. WARN() with arguments is a ``ud1`` since v6.19: its register
operand holds the address of the entry, and the arguments of its format are those of a variadic function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.vsprintf import vformat
from ukmod.kernel.oops import Line
from ukmod.kernel.panic import CUT_HERE, TAINT_LETTERS, UD2_LENGTH
from ukmod.kernel.x86.bug_table import (
    BUGFLAG_ARGS,
    BUGFLAG_DONE,
    BUGFLAG_NO_CUT_HERE,
    BUGFLAG_ONCE,
    BUGFLAG_WARNING,
    BugEntry,
    bug_entry,
    bug_layout,
)
from ukmod.machine.memory import Fault
from ukmod.machine.registers import Registers
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_UD2: Final = b"\x0f\x0b"
_UD1_WARN: Final = b"\x67\x48\x0f\xb9\x3a"
"""ud1 (%edx),%rdi."""
_ARGUMENTS: Final = ("rsi", "rdx", "rcx", "r8", "r9")
"""The registers with the arguments after the first one."""


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
        bug = bug_entry(k, bug_layout(k.types), decoded[0])
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
