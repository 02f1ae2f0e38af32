"""ORC, the tables with which the kernel unwinds stacks: arch/x86/kernel/unwind_orc.c.

For each code address, ``.orc_unwind_ip`` and ``.orc_unwind`` give the distance of the caller's frame from the
stack pointer (or RBP). objtool generates them when a module is built, so they are exact even without frame
pointers.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from ukmod.machine.memory import Fault, Memory
from ukmod.record import field, record

# enum values of arch/x86/include/asm/orc_types.h
_REG_UNDEFINED: Final = 0
_REG_PREV_SP: Final = 1
_REG_BP: Final = 4
_REG_SP: Final = 5
_REG_BP_INDIRECT: Final = 8
_REG_SP_INDIRECT: Final = 9
_ENTRY = struct.Struct("<hhH")


@record
class OrcEntry:
    """The rule for finding the caller's frame: struct orc_entry."""

    sp_offset: int
    bp_offset: int
    sp_reg: int
    bp_reg: int
    call: bool
    """True for an ordinary function, False for an entry frame."""


@record
class OrcTable:
    """The two ORC sections of a module or the kernel. Entries are read on demand: few are ever needed."""

    memory: Memory
    ips: int
    """The address of ``.orc_unwind_ip``; each of its offsets is relative to its own position."""
    entries: int
    """The address of ``.orc_unwind``."""
    order: Sequence[int]
    """The indices of the entries, sorted by the address at which each begins to apply."""
    has_undefined_type: bool
    _found: dict[int, OrcEntry | None] = field(default_factory=dict)
    """Earlier results by code address: call traces are much alike."""

    def find(self, address: int) -> OrcEntry | None:
        """The entry for a code address, or None."""
        if address not in self._found:
            index = bisect.bisect_right(self.order, address, key=self._address) - 1
            self._found[address] = self._entry(self.order[index]) if index >= 0 else None
        return self._found[address]

    def _address(self, number: int) -> int:
        place = self.ips + 4 * number
        return place + self.memory.s32(place)

    def _entry(self, number: int) -> OrcEntry:
        raw = self.memory.read(self.entries + _ENTRY.size * number, _ENTRY.size)
        sp_offset, bp_offset, bits = _ENTRY.unpack(raw)
        kind = bits >> 8 & (7 if self.has_undefined_type else 3)
        call = 2 if self.has_undefined_type else 0
        return OrcEntry(sp_offset, bp_offset, bits & 15, bits >> 4 & 15, kind == call)


def read_table(
    memory: Memory,
    ips: tuple[int, int],
    entries: tuple[int, int],
    *,
    has_undefined_type: bool,
    in_order: bool = False,
) -> OrcTable:
    """The ORC table in two sections in memory, each given by its address and size in bytes.

    ``has_undefined_type``: since v6.4 (commit fb799447ae29) the types are UNDEFINED, END_OF_STACK, CALL, ...;
    before, CALL was the first. ``in_order``: the table was sorted at build time, as for vmlinux.
    """
    start, count = ips[0], min(ips[1] // 4, entries[1] // _ENTRY.size)
    order: Sequence[int] = range(count)
    if not in_order and count:
        offsets = struct.unpack(f"<{count}i", memory.read(start, 4 * count))
        order = sorted(order, key=lambda number: 4 * number + offsets[number])
    return OrcTable(memory, start, entries[0], order, has_undefined_type)


@record
class Position:
    """The state of an unwinder: a code address and the registers from which the caller is found."""

    ip: int
    sp: int
    bp: int
    at: int = 0
    """The stack address from which ``ip`` was read; 0 if it came from a register."""


class Words(Protocol):
    """Guest memory, or a captured part of a stack."""

    def u64(self, address: int) -> int:
        """The 8 bytes at ``address``. Raises Fault if they are not available."""


def step(memory: Words, position: Position, entry: OrcEntry) -> Position | None:
    """The caller's position, or None if the table does not define it or the stack cannot be read."""
    if not entry.call:
        return None
    try:
        if entry.sp_reg == _REG_SP:
            frame = position.sp + entry.sp_offset
        elif entry.sp_reg == _REG_BP:
            frame = position.bp + entry.sp_offset
        elif entry.sp_reg == _REG_SP_INDIRECT:
            frame = memory.u64(position.sp) + entry.sp_offset
        elif entry.sp_reg == _REG_BP_INDIRECT:
            frame = memory.u64(position.bp + entry.sp_offset)
        else:
            return None
        bp = position.bp
        if entry.bp_reg == _REG_PREV_SP:
            bp = memory.u64(frame + entry.bp_offset)
        elif entry.bp_reg == _REG_BP:
            bp = memory.u64(position.bp + entry.bp_offset)
        elif entry.bp_reg != _REG_UNDEFINED:
            return None
        return Position(memory.u64(frame - 8), frame, bp, frame - 8)
    except Fault:
        return None
