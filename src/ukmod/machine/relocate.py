"""x86-64 relocations of ET_REL objects, as the kernel applies them: arch/x86/kernel/module.c."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ukmod.errors import FormatError
from ukmod.machine.registers import MASK64

_RELA = struct.Struct("<QQq")

# System V ABI AMD64 supplement, table 4.9. Types that kbuild never emits are left out, and are an error.
R_NONE, R_64, R_PC32, R_PLT32, R_32, R_32S, R_PC64 = 0, 1, 2, 4, 10, 11, 24
_32, _64 = struct.Struct("<I"), struct.Struct("<Q")
_FIELDS = {R_64: _64, R_PC32: _32, R_PLT32: _32, R_32: _32, R_32S: _32, R_PC64: _64}
_RULES = {
    kind: (field.size, kind in (R_PC32, R_PLT32, R_PC64), field.unpack_from, field.pack_into)
    for kind, field in _FIELDS.items()
}
"""By type: the number of bytes, whether it is relative to its place, and how to read and store it."""


class RelocationOverflowError(FormatError):
    """The value does not fit into its place: the code was not compiled with -mcmodel=kernel."""

    def __init__(self, kind: int, value: int, *, path: str, offset: int) -> None:
        super().__init__(f"overflow in relocation type {kind} val {value:x}", path=path, offset=offset)
        self.kind = kind
        self.value = value


class RelocationRefusedError(FormatError):
    """A relocation that no kernel applies. ``log`` is its message, with {module} and {loc}, the place."""

    def __init__(self, message: str, log: str, place: int = 0, *, path: str, offset: int) -> None:
        super().__init__(message, path=path, offset=offset)
        self.log = log
        self.place = place
        """The address of the place."""


def apply(
    section: bytearray, address: int, entries: bytes | memoryview, symbols: Sequence[int], *, path: str
) -> None:
    """Apply SHT_RELA ``entries`` to the bytes of a section that will be at virtual ``address``.

    ``symbols`` are the values of the symbol table's entries. Raises FormatError for an unknown type, a place
    outside the section or not empty, a symbol that is not in the table, or a value that does not fit.
    """
    size, count = len(section), len(symbols)
    for offset, info, addend in _RELA.iter_unpack(entries):
        kind, index = info & 0xFFFF_FFFF, info >> 32
        rule = _RULES.get(kind)
        if rule is None:
            if kind == R_NONE:
                continue
            log = f"module: {{module}}: Unknown rela relocation: {kind}"
            raise RelocationRefusedError(f"unknown relocation type {kind}", log, path=path, offset=offset)
        width, relative, load, store = rule
        if offset + width > size:
            raise FormatError(
                f"relocation outside of its section of {size:#x} bytes", path=path, offset=offset
            )
        if index >= count:
            raise FormatError(
                f"relocation against symbol {index}, which does not exist", path=path, offset=offset
            )
        value = symbols[index] + addend
        if relative:
            value -= address + offset
        value &= MASK64
        # Valid 32-bit values: R_32 zero-extends, R_32S and displacements sign-extend. The kernel does not
        # detect a displacement that overflows; this code does.
        fits = width == 8 or (value < 1 << 32 if kind == R_32 else value + (1 << 31) & MASK64 < 1 << 32)
        if not fits:
            raise RelocationOverflowError(kind, value, path=path, offset=offset)
        if load(section, offset)[0]:
            wrong = f"invalid relocation target, existing value is nonzero for type {kind}"
            raise RelocationRefusedError(
                f"{wrong}, val {value:x}",
                f"module: x86/modules: Skipping {wrong}, loc {{loc}}, val {value:x}",
                address + offset,
                path=path,
                offset=offset,
            )
        store(section, offset, value if width == 8 else value & 0xFFFF_FFFF)
