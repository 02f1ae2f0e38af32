"""Exception tables: the instructions that may fault, and where each continues (arch/x86/mm/extable.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.x86.insn_eval import memory_operand
from ukmod.machine.memory import Fault
from ukmod.machine.registers import GP_VECTOR, MASK64, CpuException, Registers
from ukmod.machine.stubs import REGISTERS
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

EIO: Final = 5
_ENTRY = struct.Struct("<iiI")
_IN_UACCESS: Final = Site("arch/x86/mm/extable.c", 135, "ex_handler_uaccess")
_IN_COPY: Final = Site("arch/x86/mm/extable.c", 142, "ex_handler_copy")
_CLEAR_AX, _CLEAR_DX = 1 << 12, 2 << 12


class FixupType(IntEnum):
    """EX_TYPE_*, arch/x86/include/asm/extable_fixup_types.h."""

    DEFAULT = 1
    FAULT = 2
    UACCESS = 3
    COPY = 4
    CLEAR_FS = 5
    WRMSR = 8
    RDMSR = 9
    WRMSR_SAFE = 10
    RDMSR_SAFE = 11
    DEFAULT_MCE_SAFE = 14
    FAULT_MCE_SAFE = 15
    POP_REG = 16
    IMM_REG = 17
    UCOPY_LEN = 19
    ZEROPAD = 20


@record
class ExceptionEntry:
    """struct exception_table_entry, with its relative addresses made absolute."""

    insn: int
    fixup: int
    data: int

    @property
    def type(self) -> int:
        """EX_DATA_TYPE_MASK."""
        return self.data & 0xFF

    @property
    def register(self) -> str:
        """EX_DATA_REG_MASK: the name of a register."""
        return REGISTERS[self.data >> 8 & 0xF]

    @property
    def immediate(self) -> int:
        """EX_DATA_IMM_MASK, signed."""
        value = self.data >> 16
        return value - (1 << 16) if value >> 15 else value


HANDLERS: Final = {
    "ex_handler_default": FixupType.DEFAULT,
    "ex_handler_fault": FixupType.FAULT,
    "ex_handler_uaccess": FixupType.UACCESS,
    "ex_handler_copy": FixupType.COPY,
    "ex_handler_clear_fs": FixupType.CLEAR_FS,
    "ex_handler_wrmsr_unsafe": FixupType.WRMSR,
    "ex_handler_rdmsr_unsafe": FixupType.RDMSR,
}
"""Until v5.15 an entry names the function that handles it; the types that replaced these functions."""


def handlers(k: Core) -> dict[int, FixupType] | None:
    """The types of the image's handlers, by their addresses; None if its entries have types themselves."""
    if k.image is None or not k.types.has("exception_table_entry", "handler"):
        return None
    found = ((k.image.get(name), kind) for name, kind in HANDLERS.items())
    return {address: kind for address, kind in found if address is not None}


def entries(
    table: bytes, address: int, handlers: Mapping[int, FixupType] | None = None
) -> Iterator[ExceptionEntry]:
    """The entries of a table at ``address`` in memory; an incomplete last one is ignored.

    ``handlers``: the types of handlers by address, for tables whose entries name one.
    """
    for n, (insn, fixup, data) in enumerate(_ENTRY.iter_unpack(table[: len(table) // 12 * 12])):
        at = address + 12 * n
        if handlers is not None:
            handler = at + 8 + data - (data >> 31 << 32)  # it is signed
            data = handlers.get(handler & MASK64, 0)  # noqa: PLW2901
        yield ExceptionEntry((at + insn) & MASK64, (at + 4 + fixup) & MASK64, data)


def search(k: Core, rip: int) -> ExceptionEntry | None:
    """search_exception_tables(): the entry for the instruction at ``rip``, in the kernel or any module."""
    if (after := k.user.fixups.get(rip)) is not None:
        return ExceptionEntry(rip, after, FixupType.DEFAULT)
    if k.image is not None and (known := k.image.fixups.get(rip)) is not None:
        return known
    module = k.modules.of_code(rip)
    if module is None or (section := module.layout.sections.get("__ex_table")) is None:
        return None
    address, size = section
    found = entries(k.memory.read(address, size), address, handlers(k))
    return next((entry for entry in found if entry.insn == rip), None)


def fixup(k: Core, raised: CpuException) -> Registers | None:
    """fixup_exception(): the registers to continue with, or None if no table has the instruction."""
    entry = search(k, raised.registers.rip)
    if entry is None:
        return None
    return apply(k, entry, raised)


def apply(k: Core, entry: ExceptionEntry, raised: CpuException) -> Registers | None:
    """The registers after the fixup that the entry's type requires; None for an unsupported type."""
    if (changed := _changes(k, entry, raised)) is None:
        return None
    if entry.data & _CLEAR_AX:
        changed["rax"] = 0
    if entry.data & _CLEAR_DX:
        changed["rdx"] = 0
    return with_registers(replace(raised.registers, rip=entry.fixup), changed)


def _changes(k: Core, entry: ExceptionEntry, raised: CpuException) -> dict[str, int] | None:
    """The registers that the entry's type sets, by name."""
    before, register = raised.registers, entry.register
    if raised.vector == GP_VECTOR and entry.type in (FixupType.UACCESS, FixupType.UCOPY_LEN, FixupType.COPY):
        site = _IN_COPY if entry.type == FixupType.COPY else _IN_UACCESS
        warn_once(k, site, "General protection fault in user access. Non-canonical address?")
    match entry.type:
        case (
            FixupType.DEFAULT
            | FixupType.DEFAULT_MCE_SAFE
            | FixupType.CLEAR_FS
            | FixupType.UACCESS
            | FixupType.WRMSR
        ):
            return {}
        case FixupType.FAULT | FixupType.FAULT_MCE_SAFE | FixupType.COPY:
            return {"rax": raised.vector}
        case FixupType.UCOPY_LEN:
            return {"rcx": entry.immediate * before["rcx"] + before[register]}
        case FixupType.IMM_REG:
            return {register: entry.immediate}
        case FixupType.POP_REG:
            return {"rsp": before["rsp"] + 8, register: entry.immediate}
        case FixupType.WRMSR_SAFE:
            return {register: -EIO}
        case FixupType.RDMSR:
            return {"rax": 0, "rdx": 0}
        case FixupType.RDMSR_SAFE:
            return {"rax": 0, "rdx": 0, register: -EIO}
        case FixupType.ZEROPAD:
            return _zeropad(k, raised)
    return None


def _zeropad(k: Core, raised: CpuException) -> dict[str, int] | None:
    """load_unaligned_zeropad() crossed into an unmapped page: bytes of that page count as zero."""
    before = raised.registers
    operand = memory_operand(k.memory.read(before.rip, 8), before)
    if operand is None or operand.opcode != 0x8B or operand.size != 8 or operand.address is None:
        return None
    offset, start = operand.address & 7, operand.address & ~7
    if raised.address != start + 8:
        return None
    try:
        return {REGISTERS[operand.register]: k.memory.u64(start) >> 8 * offset}
    except Fault:
        return None


def with_registers(registers: Registers, changed: dict[str, int]) -> Registers:
    """``registers`` with some of them changed, by name."""
    pairs = zip(REGISTERS, registers.gpr, strict=True)
    return replace(registers, gpr=tuple(changed.get(name, value) & MASK64 for name, value in pairs))
