"""Bytes to hexadecimal and back: lib/hexdump.c."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.lib.vsprintf_pointer import ptr_to_hashval
from ukmod.machine.abi import Bool, CStr, Int, Ptr, SizeT, UChar

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

DUMP_PREFIX_NONE, DUMP_PREFIX_ADDRESS, DUMP_PREFIX_OFFSET = range(3)
_DEFAULT_GROUP: Final = 1
_ROW_SIZES = (16, 32)


def row(data: bytes, row_size: int, group_size: int, *, ascii_column: bool) -> str:
    """One row of a dump: hex_dump_to_buffer(). Groups of 2, 4 and 8 bytes are shown as numbers."""
    if not data:
        return ""
    row_size, group = _shape(row_size, group_size)
    data = data[:row_size]
    if len(data) % group:
        group = _DEFAULT_GROUP
    words = [data[at : at + group][::-1].hex() for at in range(0, len(data), group)]
    text = " ".join(words)
    if not ascii_column:
        return text
    column = _column(row_size, group)
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return text.ljust(column) + shown


def _shape(row_size: int, group_size: int) -> tuple[int, int]:
    """The bytes per row and per group; invalid values become 16 and 1."""
    return (
        row_size if row_size in _ROW_SIZES else 16,
        group_size if group_size in {2, 4, 8} else _DEFAULT_GROUP,
    )


def _column(row_size: int, group: int) -> int:
    return row_size * 2 + row_size // group + 1


@export(native=True)
def hex_dump_to_buffer(
    k: Core, buf: Ptr, size: SizeT, row_size: Int, group: Int, line: Ptr, room: SizeT, ascii_column: Bool
) -> Int:
    """``int hex_dump_to_buffer(const void *, size_t, int, int, char *, size_t, bool)``: the row's length."""
    length = min(size, _shape(row_size, group)[0])
    if not length and not room:  # the kernel computes this length as for any other row
        return _column(*_shape(row_size, group)) if ascii_column else -1
    text = row(k.memory.read(buf, length), row_size, group, ascii_column=ascii_column).encode()
    if room:
        k.memory.write(line, text[: room - 1] + b"\0")
    return len(text)


@export(native=True)
def print_hex_dump(
    k: Core,
    level: CStr,
    prefix: CStr,
    kind: Int,
    row_size: Int,
    group: Int,
    buf: Ptr,
    size: SizeT,
    ascii_column: Bool,
) -> None:
    """``void print_hex_dump(level, prefix, prefix_type, rowsize, groupsize, buf, len, ascii)``."""
    row_size, _ = _shape(row_size, group)
    for offset in range(0, size, row_size):
        data = k.memory.read(buf + offset, min(row_size, size - offset))
        text = row(data, row_size, group, ascii_column=ascii_column)
        if kind == DUMP_PREFIX_ADDRESS:
            where = f"{ptr_to_hashval(buf + offset):016x}: "
        else:
            where = f"{offset:08x}: " if kind == DUMP_PREFIX_OFFSET else ""
        k.log.store(level + prefix + f"{where}{text}\n".encode())


def from_hex_digit(letter: int) -> int:
    """hex_to_bin(): the value of a hexadecimal digit, or -1."""
    at = b"0123456789abcdef".find(bytes((letter,)).lower())
    return at if at >= 0 else -1


@export(native=True)
def hex_to_bin(k: Core, letter: UChar) -> Int:
    """``int hex_to_bin(unsigned char ch)``: the digit's value, or -1."""
    del k
    return from_hex_digit(letter)


@export(native=True)
def hex2bin(k: Core, dst: Ptr, src: Ptr, count: SizeT) -> Int:
    """``int hex2bin(u8 *, const char *, size_t)``: 0, or -EINVAL after storing the bytes before the error."""
    for index in range(count):
        high = from_hex_digit(k.memory.u8(src + 2 * index))
        if high < 0:
            return -EINVAL
        low = from_hex_digit(k.memory.u8(src + 2 * index + 1))
        if low < 0:
            return -EINVAL
        k.memory.set_u8(dst + index, high << 4 | low)
    return 0


@export(native=True)
def bin2hex(k: Core, dst: Ptr, src: Ptr, count: SizeT) -> Ptr:
    """``char *bin2hex(char *dst, const void *src, size_t count)``: the end of the stored digits."""
    text = k.memory.read(src, count).hex().encode()
    k.memory.write(dst, text)
    return dst + len(text)


def export_digits(k: Core) -> None:
    """Export ``hex_asc`` and ``hex_asc_upper``."""
    for name, digits in (("hex_asc", b"0123456789abcdef"), ("hex_asc_upper", b"0123456789ABCDEF")):
        k.memory.write(k.symbols.add_variable(name, len(digits) + 1), digits)
